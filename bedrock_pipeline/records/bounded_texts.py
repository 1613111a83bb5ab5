"""Words of strangers in messages: names of members, codes and reasons, bounded in their length, form and number of kinds."""

import re
from collections.abc import MutableMapping
from typing import Final

#: Kinds that are counted by their names; others are counted together.
MOST_KINDS: Final = 200
OTHERS: Final = "others"
#: Of a reason, in characters.
LONGEST_REASON: Final = 500
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.$-]{1,64}")


def named(name: object) -> str:
    """A name that a row, task or response gives to a member, if it is an ordinary one; else only that it is not."""
    text = str(name)
    return text if _PLAIN_NAME.fullmatch(text) else "(a name that is not shown)"


def shortened(text: str, longest: int = LONGEST_REASON) -> str:
    """A text without its end, if it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def count_kind(counts: MutableMapping[str, int], kind: str, more: int = 1) -> None:
    """Count one or more of a kind: by its name, or with `OTHERS` if there are many already."""
    name = kind if kind in counts or len(counts) < MOST_KINDS else OTHERS
    counts[name] = counts.get(name, 0) + more
