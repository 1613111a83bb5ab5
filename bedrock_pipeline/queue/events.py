"""Events of a queue.

What belongs here: their names, callbacks in this process, and what the ledger's changes mean in these names.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.events import JobEvent, Position
from bedrock_pipeline.queue.results import JobResult, JobStatus

EventName = Literal[
    "task-queued",
    "batch-flushed",
    "job-queued",
    "job-status-changed",
    "job-completed",
    "job-failed",
    "error",
]
Callback = Callable[..., object]

_LOG = logging.getLogger(__name__)
_NAMES: Final = frozenset(get_args(EventName))
#: Ends of a job that are no success.
FAILED: Final = frozenset({"failed", "expired", "stopped"})
_BEFORE: Final = frozenset({"pending", "submitting", "in-doubt", "needs-resolution"})


class UnknownEventError(BedrockPipelineError):
    """There is no event of this name."""


class CallbackError(BedrockPipelineError):
    """A callback raised; what it raised is the cause of this."""


class JobFailedError(BedrockPipelineError):
    """A job failed, expired, was stopped, or was refused by Bedrock."""


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """Something that happened to a job.

    Attributes:
        position: `events(since=position)` goes on after it.
        name: as in `on`.
        record_count: of the job.
        message: why, where there is a reason.
    """

    position: Position
    name: EventName
    at: datetime
    job_id: str
    status: JobStatus
    job_arn: str | None
    record_count: int
    message: str | None


class Emitter:
    """Callbacks of this process, by event; a callback that raises stops nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, list[Callback]] = {}

    def on(self, event: EventName, callback: Callback) -> None:
        """Call it whenever the event happens.

        Raises:
            UnknownEventError: there is none of this name.
        """
        if event not in _NAMES:
            raise UnknownEventError(
                f"There is no event {event!r}.", f"The events are: {', '.join(sorted(_NAMES))}."
            )
        with self._lock:
            self._callbacks.setdefault(event, []).append(callback)

    def wanted(self, *events: EventName) -> bool:
        """Whether anything listens to one of them."""
        return any(self._callbacks.get(event) for event in events)

    def emit(self, event: EventName, *values: Any) -> None:
        """Call the callbacks, in the order in which they were added."""
        with self._lock:
            callbacks = list(self._callbacks.get(event, ()))
        if event == "error" and not callbacks:
            _LOG.error("%s", values[0])
        for callback in callbacks:
            try:
                callback(*values)
            except Exception as error:  # it is the caller's, and may be anything
                self._callback_raised(event, error)

    def _callback_raised(self, event: EventName, error: Exception) -> None:
        # Its message may hold an answer, so only its kind is logged.
        _LOG.error("A callback of %r raised %s.", event, type(error).__name__)
        if event != "error":
            told = CallbackError(f"A callback of {event!r} raised {type(error).__name__}.")
            told.__cause__ = error
            self.emit("error", told)


def names_of(event: JobEvent, status: JobStatus) -> tuple[EventName, ...]:
    """What a change in the ledger is called.

    Args:
        event: the change.
        status: of the job, once it is final.
    """
    if event.previous is None:
        return ("batch-flushed",)
    if event.status == "final":
        return ("job-failed",) if status in FAILED else ("job-completed",)
    if event.status == "failed" and event.job_arn is None:
        return ("job-status-changed", "job-failed")
    if event.status == "queued":
        return ("job-queued", "job-status-changed")
    return () if event.status in _BEFORE else ("job-status-changed",)


def status_of(event: JobEvent, result: JobResult) -> JobStatus:
    """A job's status when the event happened."""
    if event.status == "final":
        return result.status
    return "queued" if event.status in _BEFORE else event.status  # type: ignore[return-value]  # the ten
