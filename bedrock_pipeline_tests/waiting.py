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
