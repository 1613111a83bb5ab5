"""The jobs' clock.

What belongs here: a clock that can be moved forward. Signatures and delays follow its wall time, jobs its own.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """The wall time of this machine."""
    return datetime.now(UTC)


class Clock:
    """Wall time, and the jobs' time, which runs ahead of it by what was added.

    Args:
        wall: the time now; aware of its zone.
        sleep: lets seconds of wall time pass.
        speed: how much faster than at the service jobs run.
    """

    def __init__(
        self, wall: Callable[[], datetime], sleep: Callable[[float], None], *, speed: float = 1.0
    ) -> None:
        self.wall, self.sleep, self.speed = wall, sleep, speed
        self._lock = threading.Lock()
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Now, by the jobs' time: wall time, and what `advance` added."""
        with self._lock:
            return self.wall() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the jobs' time forward."""
        with self._lock:
            self._ahead += timedelta(seconds=seconds)

    def lasts(self, seconds: float) -> timedelta:
        """How long something takes on this clock that takes `seconds` at the service."""
        return timedelta(seconds=seconds / self.speed)
