"""Events of a queue's jobs, from the ledger: passed to callbacks, or read by any process."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Literal, get_args

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, InvalidInputError, JobFailedError
from bedrock_pipeline.ledger.events import JobEvent, Position
from bedrock_pipeline.outages import OUTAGES
from bedrock_pipeline.queue.job_results import NOT_ACCEPTED, JobResult, JobStatus, job_result

EventName = Literal[
    "task-queued", "batch-flushed", "job-queued", "job-status-changed", "job-completed", "job-failed", "error"
]
Callback = Callable[..., object]

_LOG = logging.getLogger(__name__)
_NAMES: Final = frozenset(get_args(EventName))
#: Events that are in the ledger; the others are of this process only.
_OF_JOBS: Final = _NAMES - {"task-queued", "error"}
#: Final statuses of a job that are not a success.
FAILED: Final = frozenset({"failed", "expired", "stopped"})
#: What to do about a job that waits for an operator.
OPERATOR_FIX: Final = (
    "See docs/operating.md; then `bedrock-pipeline retry JOB` or `bedrock-pipeline resolve`."
)


class CallbackError(BedrockPipelineError):
    """A callback raised an exception, which is the cause of this one."""


@dataclass(frozen=True, slots=True)
class QueueEvent:
    """A change of a job.

    Attributes:
        position: `events(since=position)` continues after it.
        name: as in `on`.
        at: when it happened, by the ledger's clock.
        status: the job's status at that time.
        job_arn: ARN of Bedrock's job; None before it was accepted, and for on-demand calls.
        message: the reason, if there is one.
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
    """Callbacks of this process, by event. An exception in a callback stops nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[str, list[Callback]] = {}

    def on(self, event: EventName, callback: Callback) -> None:
        """Call `callback` whenever the event happens; InvalidInputError if there is no event of this name."""
        if event not in _NAMES:
            raise InvalidInputError(
                f"There is no event {event!r}.", f"The events are: {', '.join(sorted(_NAMES))}."
            )
        with self._lock:
            self._callbacks.setdefault(event, []).append(callback)

    def wants_jobs(self) -> bool:
        """Whether an event of jobs has a callback."""
        return not _OF_JOBS.isdisjoint(self._callbacks)

    def emit(self, event: EventName, *values: Any) -> None:
        """Call the callbacks of an event, in the order in which they were added."""
        with self._lock:
            callbacks = list(self._callbacks.get(event, ()))
        if event == "error" and not callbacks and OUTAGES.is_to_be_logged(values[0]):
            _LOG.error("%s", values[0])
        for callback in callbacks:
            try:
                callback(*values)
            except Exception as error:  # it is the caller's, and may be anything
                self._callback_raised(event, error)

    def _callback_raised(self, event: EventName, error: Exception) -> None:
        # Its message may contain a response, so only its type is logged.
        _LOG.error("A callback of %r raised %s.", event, type(error).__name__)
        if event != "error":
            report = CallbackError(f"A callback of {event!r} raised {type(error).__name__}.")
            report.__cause__ = error
            self.emit("error", report)


class JobEvents:
    """The events of one queue: from now on for callbacks, from any position for readers."""

    def __init__(self, deployment: Deployment, queue: str, emitter: Emitter) -> None:
        self._deployment = deployment
        self._queue = queue
        self._emitter = emitter
        self._position = deployment.ledger.events.now()
        self._delivering = threading.Lock()

    def deliver(self) -> None:
        """Call back for everything since the last call, whichever process did it; one thread at a time, in order.

        An event whose job cannot be read, since Postgres is away, is delivered by a later call.
        """
        if not self._emitter.wants_jobs() or not self._delivering.acquire(blocking=False):
            return
        try:
            while events := self._deployment.ledger.events.of_queue(self._queue, self._position):
                for position, together in _changes(events):
                    read = [self._read(event) for event in together]
                    self._position = position
                    for result, named in read:
                        for one in named:
                            self._emitter.emit(one.name, one.job_id, *_arguments(result, one))
        finally:
            self._delivering.release()

    def since(
        self, position: Position, *, follow: bool, closed: Callable[[], bool], pause: Callable[[], object]
    ) -> Iterator[QueueEvent]:
        """Every event after a position; with `follow` also those to come, until the queue is closed."""
        while True:
            try:
                events, following = self._after(position)
            except BedrockPipelineError:
                if follow and closed():
                    return
                raise
            yield from events
            if following == position:
                if not follow or closed():
                    return
                pause()
            position = following

    def _after(self, position: Position) -> tuple[list[QueueEvent], Position]:
        """Some events after a position, and the position after them; the same position if there are none.

        One change in the ledger may be several events; each has a position of its own.
        """
        found: list[QueueEvent] = []
        events = self._deployment.ledger.events.of_queue(self._queue, position)
        for behind, together in _changes(events):
            named = [one for event in together for one in self._read(event)[1]]
            before = replace(behind, event_id=behind.event_id - 1)
            read = position.within if replace(position, within=0) == before else 0
            numbered = [
                replace(one, position=replace(before, within=number)) for number, one in enumerate(named, 1)
            ]
            found += [*numbered[read:-1], *named[-1:]]
            position = behind
        return found, position

    def _read(self, event: JobEvent) -> tuple[JobResult, list[QueueEvent]]:
        job = self._deployment.ledger.queues.job(event.chunk_id)
        assert job  # events of a queue are read with their jobs
        result = job_result(self._deployment, job)
        return result, [
            QueueEvent(
                position=event.position,
                name=name,
                at=event.at,
                job_id=result.job_id,
                status=_status_of(event, result),
                job_arn=event.job_arn,
                record_count=event.records,
                message=event.message,
            )
            for name in _names_of(event, result.status)
        ]


def _changes(events: Sequence[JobEvent]) -> Iterator[tuple[Position, list[JobEvent]]]:
    """Events by the change in the ledger that they are, always in the same order."""
    for position, together in groupby(events, key=attrgetter("position")):
        yield position, sorted(together, key=attrgetter("chunk_id"))


def _names_of(event: JobEvent, status: JobStatus) -> Iterator[EventName]:
    """The events that a change in the ledger is; `status` is the job's present one."""
    if event.later or event.status == "waiting":
        yield "job-failed"
    elif event.previous is None:
        yield "batch-flushed"
    elif event.status == "final":
        yield "job-failed" if status in FAILED else "job-completed"
    elif event.status == "failed" and event.job_arn is None:
        yield from ("job-status-changed", "job-failed")
    elif event.status == "queued":
        yield from ("job-queued", "job-status-changed")
    elif event.status not in NOT_ACCEPTED:
        yield "job-status-changed"


def _status_of(event: JobEvent, result: JobResult) -> JobStatus:
    if event.status in ("final", "waiting") or event.later:
        return result.status
    return "queued" if event.status in NOT_ACCEPTED else event.status  # type: ignore[return-value]  # the ten


def _arguments(result: JobResult, event: QueueEvent) -> tuple[object, ...]:
    """What the original library passes to a callback after the job's id."""
    match event.name:
        case "batch-flushed":
            return (event.record_count,)
        case "job-queued":
            return (event.job_arn,)
        case "job-status-changed":
            return (event.status,)
        case "job-completed":
            return (result,)
    reason = event.message or result.error_message or f"it is {result.status}"
    return (JobFailedError(f"Job {event.job_id}: {reason}.", OPERATOR_FIX if result.stuck else ""),)
