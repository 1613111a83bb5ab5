"""The jobs' clock.

What belongs here: a clock that runs at a speed. Signatures are checked against real time, not this one.
"""

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Wall time, sped up from a fixed origin on, so that a restart goes on where it was."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self._lock = threading.Lock()
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """Now, by this clock: real time, and what `advance` added."""
        with self._lock:
            return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move it forward."""
        with self._lock:
            self._ahead += timedelta(seconds=seconds)

    def lasts(self, seconds: float) -> timedelta:
        """How long something takes on this clock that takes `seconds` at the service."""
        return timedelta(seconds=seconds / self.speed)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Real time passes."""
        time.sleep(seconds)
