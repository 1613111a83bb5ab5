"""A service that is away for a while: which errors mean that, and how often one of them is logged.

What belongs here: the rule that sensors, runs and queues share. Whatever ticks every few seconds would log the same line
each time.
"""

from collections.abc import Callable
from typing import Final

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.system import SYSTEM

_QUIET_S: Final = 60.0


def cause_of(error: Exception) -> str | None:
    """What is away: the kind of error, the same for all calls of a service; None if the error does not pass by itself."""
    if isinstance(error, AwsError):
        return error.classification.code if error.classification.passes else None
    return type(error).__name__ if isinstance(error, ServiceUnavailableError) else None


class Outages:
    """The outages that this process has seen."""

    def __init__(self, monotonic: Callable[[], float] = SYSTEM.monotonic) -> None:
        self._monotonic = monotonic
        self._logged: dict[str, float] = {}
        self._concerned: set[str] = set()

    def is_to_be_logged(self, error: Exception) -> bool:
        """Whether to log the error: once a minute for each cause, and always if it does not pass by itself."""
        cause, now = cause_of(error), self._monotonic()
        if cause is None:
            return True
        if now - self._logged.get(cause, now - _QUIET_S) < _QUIET_S:
            return False
        self._logged[cause] = now
        return True

    def concern(self, work: str) -> None:
        """Work of this name was prevented."""
        self._concerned.add(work)

    def were_over(self, work: str) -> bool:
        """Whether work of this name was prevented and goes on now; true once."""
        was = work in self._concerned
        self._concerned.discard(work)
        return was


#: Shared by everything in this process: a service is away for all of it.
OUTAGES: Final = Outages()
