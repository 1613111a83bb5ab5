"""What is shown again and again in the same place of a terminal, as whole lines: the terminal breaks them, so they are copied whole."""

import shutil
from collections.abc import Sequence
from typing import Final, TextIO

#: Home, before a frame; the rest of a line, after each; all that is below, after the last.
_HOME, _REST_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR: Final = "\x1b[2J"


class Frames:
    """Frames of lines: on a terminal each replaces the one before it; elsewhere only those that differ are written.

    Args:
        out: where they go.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._before: Sequence[str] | None = None

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines now."""
        if self._out.isatty():
            size = shutil.get_terminal_size()
            begin = _CLEAR if self._before is None else ""
            fitting = [f"{line}{_REST_OF_LINE}" for line in that_fit(lines, size.columns, size.lines)]
            self._out.write(f"{begin}{_HOME}{chr(10).join(fitting)}\n{_BELOW}")
        elif lines != self._before:
            self._out.write("".join(f"{line}\n" for line in (*([""] if self._before else []), *lines)))
        self._out.flush()
        self._before = lines


def that_fit(lines: Sequence[str], width: int, height: int) -> list[str]:
    """The first lines, as many as fit a terminal that breaks them; and how many more there are."""
    rows = [max(1, -(-len(line) // width)) for line in lines]
    if sum(rows) < height:
        return list(lines)
    left, shown = height - 2, []  # for the line below, and for the cursor
    for line, needed in zip(lines, rows, strict=True):
        left -= needed
        if left < 0:
            break
        shown.append(line)
    return [*shown, f"… and {len(lines) - len(shown)} more lines"]
