"""One meaning of a pattern, for local paths and keys in S3.

`*` and `?` stay in their folder, `**` is any number of folders, also none, and `[…]` one character of a set. What begins with
a dot or an underscore is not data, as in Spark and Hive: checkpoints, temporary files, logs.
"""

import re
from dataclasses import dataclass
from functools import cached_property

_SPECIAL = re.compile(r"[*?\[]")
_COPIES = ("._copying_", ".crc", ".tmp", ".swp", "~")


@dataclass(frozen=True)
class Pattern:
    """A pattern over paths with slashes."""

    text: str

    @cached_property
    def base(self) -> str:
        """The folder beneath which everything is that fits, with its slash; empty if there is none."""
        special = _SPECIAL.search(self.text)
        return self.text[: self.text.rfind("/", 0, special.start() if special else None) + 1]

    @cached_property
    def deep(self) -> bool:
        """Whether it fits paths in folders of any depth."""
        return "**" in self.text.split("/")

    @property
    def depth(self) -> int:
        """How many folders beneath the base a path has at most that fits, if the pattern is not deep."""
        return self.text.count("/") - self.base.count("/")

    @property
    def names_endings(self) -> bool:
        """Whether it says how files end: one that does not, such as `day/*`, means what a folder means."""
        return "." in self.text.rpartition("/")[2]

    def fits(self, path: str) -> bool:
        """Whether it is the pattern of a whole path."""
        return self._regex.fullmatch(path) is not None

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        segments = self.text.split("/")
        pieces = []
        for number, segment in enumerate(segments):
            last = number == len(segments) - 1
            if segment == "**":
                pieces.append(".*" if last else "(?:[^/]+/)*")
            else:
                pieces.append(_segment(segment) + ("" if last else "/"))
        return re.compile("".join(pieces), re.DOTALL)


def is_pattern(location: str) -> bool:
    """Whether a location has characters of a pattern."""
    return _SPECIAL.search(location) is not None


def why_hidden(path: str) -> str:
    """Why a path beneath a folder is not data; empty if it may be."""
    for segment in path.split("/"):
        if segment.startswith("."):
            return "begins with a dot"
        if segment.startswith("_") and "=" not in segment:
            return "begins with an underscore"
    return "is an unfinished or a backup copy" if path.lower().endswith(_COPIES) else ""


def _segment(text: str) -> str:
    found, place = "", 0
    while place < len(text):
        character = text[place]
        end = text.find("]", place + 2) if character == "[" else -1
        if character == "*":
            found += "[^/]*"
        elif character == "?":
            found += "[^/]"
        elif end > 0:
            inside = text[place + 1 : end].replace("\\", "\\\\")
            inside = "^/" + inside[1:] if inside.startswith("!") else inside.replace("^", "\\^")
            found += f"[{inside.replace('[', chr(92) + '[')}]"
            place = end
        else:
            found += re.escape(character)
        place += 1
    return found
