"""Waiting for what must come.

A test waits for an event and not for a time: it looks again and again, until so late that only what never comes is
late, also on a machine that is busy with something else.
"""

import time
from collections.abc import Callable
from typing import Final

#: Below pytest's own limit for a test, so that what was waited for is in the message.
PATIENCE_S: Final = 600.0


def until(met: Callable[[], object], what: str | Callable[[], object], *, step: float = 0.1) -> None:
    """Return as soon as `met` is true.

    Args:
        met: looks whether it has come.
        what: it, for the message if it never comes; a function is called only then.
        step: seconds between two checks.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline, f"never came: {what() if callable(what) else what}"
        time.sleep(step)


class Progress:
    """Patience with work that goes on, however slowly: it ends when nothing has changed for `seconds`."""

    def __init__(self, seconds: float = PATIENCE_S) -> None:
        self._seconds = seconds
        self._seen: object = None
        self._deadline = 0.0

    def see(self, state: object) -> None:
        """Compare with what was seen last.

        Raises:
            AssertionError: it has been the same for too long.
        """
        if state != self._seen or not self._deadline:
            self._seen, self._deadline = state, time.monotonic() + self._seconds
        assert time.monotonic() < self._deadline, f"no progress: {state}"
