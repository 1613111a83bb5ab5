"""Where an ordinary output has its text and token counts.

What belongs here: paths, which a family declares beside its `answer`, so that responses with only text are read many at
a time (`collect.fast_parser`). `answer` reads every output that they do not fit; if they fit, both give the same.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str, ...]
#: In a path: the element of a list with one element.
ONLY: Final = "[]"


@dataclass(frozen=True, slots=True)
class Plain:
    """Paths in the output of a model.

    Attributes:
        text: the text; an output without it is not plain.
        stop_reason: may be missing.
        input_tokens: may be missing.
        output_tokens: may be missing.
        block_type: must be `text`; None if blocks have no type.
        unless: an output with one of these keys, at any depth, is not plain.
    """

    text: Path
    stop_reason: Path
    input_tokens: Path
    output_tokens: Path
    block_type: Path | None = None
    unless: tuple[bytes, ...] = ()
