"""The text of a query: where its statement ends. Pure."""

import re
from typing import Final

#: A piece of SQL, longest first: comments, strings and quoted names of any dialect, the end of a statement, or one character.
_PIECE: Final = re.compile(
    r"""(?P<nothing>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<end>;)
      | \b[eE]'(?:[^'\\]|\\.|'')*'
      | '(?:[^']|'')*'
      | "(?:[^"]|"")*"
      | `[^`]*`
      | (?P<tag>\$\w*\$).*?(?P=tag)
      | .""",
    re.DOTALL | re.VERBOSE,
)


def statement(query: str) -> str:
    """A query as a part of another one: without the semicolons after it, and what only comments stand behind.

    It ends with a line break, since its last line may be a comment.
    """
    ends: int | None = None
    for piece in _PIECE.finditer(query):
        if piece["end"]:
            ends = piece.start() if ends is None else ends
        elif not piece["nothing"]:
            ends = None
    return query[:ends].strip() + "\n"
