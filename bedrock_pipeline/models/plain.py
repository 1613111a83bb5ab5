"""Where an ordinary answer has what is read out of it.

What belongs here: paths, which a family declares beside its `answer`, so that answers that are nothing but text are
read many at a time (`collect.fast_parser`). What they do not fit is read by `answer`; where they fit, both give the same.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str, ...]
#: In a path: the one element of a list that has just one.
ONLY: Final = "[]"


@dataclass(frozen=True, slots=True)
class Plain:
    """Paths in the output of a model.

    Attributes:
        text: the text; an answer without one is not plain.
        stop_reason: in the model's own word; may be missing.
        input_tokens: may be missing.
        output_tokens: may be missing.
        block_type: must be `text`; None where blocks have no type.
        unless: keys that make an output something else, wherever in it they stand.
    """

    text: Path
    stop_reason: Path
    input_tokens: Path
    output_tokens: Path
    block_type: Path | None = None
    unless: tuple[bytes, ...] = ()
