"""What happened, effect by effect: all that the judge knows of the processes.

What belongs here: the line and the list of lines. Nothing of the product is imported.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One effect, from when it was let go to when it had ended.

    Attributes:
        began: number of the step that let it go.
        ended: number of the step after which it had ended; later than `began` where it waited for a lock.
        at: seconds of the simulation's clock when it ended.
        who: the process.
        task: what the process was doing, as `process/number`; empty where it did nothing for the product.
        what: the effect, such as `COMMIT` or `PUT results/p/d/latest.json`.
        how: `ok`, or the name of the error.
        facts: what the judge needs besides; JSON.
    """

    began: int
    ended: int
    at: float
    who: str
    task: str
    what: str
    how: str = "ok"
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class History:
    """The lines in the order of their ends, and the clock by which they are dated."""

    lines: list[Line] = field(default_factory=list)
    step: int = 0
    at: float = 0.0

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def add(
        self, who: str, what: str, how: str = "ok", *, task: str = "", began: int | None = None, **facts: Any
    ) -> None:
        """An effect has ended."""
        first = self.step if began is None else began
        self.lines.append(Line(first, self.step, self.at, who, task, what, how, facts))
