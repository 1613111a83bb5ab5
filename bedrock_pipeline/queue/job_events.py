"""What happened to a queue's jobs, from the ledger: told to callbacks, or read by whoever asks.

What belongs here: reading the ledger's events in their order, as events of the original library's names.
"""

import threading
from collections.abc import Iterator
from typing import Final

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.events import JobEvent, Position
from bedrock_pipeline.queue.events import (
    Emitter,
    EventName,
    JobFailedError,
    QueueEvent,
    names_of,
    status_of,
)
from bedrock_pipeline.queue.results import JobResult, job_result

#: What to do about a job that waits for a person.
CURE: Final = "See docs/operating.md; then `bedrock-pipeline retry JOB` or `resolve`."
_OF_JOBS: Final[tuple[EventName, ...]] = (
    "batch-flushed",
    "job-queued",
    "job-status-changed",
    "job-completed",
    "job-failed",
)


class JobEvents:
    """The events of one queue, from now on for callbacks, from anywhere for readers.

    Args:
        deployment: the deployment.
        queue: its name.
        emitter: the callbacks.
    """

    def __init__(self, deployment: Deployment, queue: str, emitter: Emitter) -> None:
        self._deployment = deployment
        self._queue = queue
        self._emitter = emitter
        self._position = deployment.ledger.events.now()
        self._telling = threading.Lock()

    def tell(self) -> None:
        """Call back what happened since the last time, whoever did it; one thread at a time, in order."""
        if not self._emitter.wanted(*_OF_JOBS) or not self._telling.acquire(blocking=False):
            return
        try:
            while found := self._deployment.ledger.events.of_queue(self._queue, self._position):
                for event in found:
                    self._position = event.position
                    for result, told in self._told(event):
                        self._emitter.emit(told.name, told.job_id, *_arguments(result, told))
        finally:
            self._telling.release()

    def after(self, position: Position) -> tuple[list[QueueEvent], Position]:
        """Some events after a position, and the position after them; the same one where there are none."""
        found = self._deployment.ledger.events.of_queue(self._queue, position)
        told = [told for event in found for _, told in self._told(event)]
        return told, found[-1].position if found else position

    def _told(self, event: JobEvent) -> Iterator[tuple[JobResult, QueueEvent]]:
        job = self._deployment.ledger.queues.job(event.chunk_id)
        assert job  # events of a queue are read with their jobs
        result = job_result(self._deployment, job)
        for name in names_of(event, result.status):
            yield (
                result,
                QueueEvent(
                    position=event.position,
                    name=name,
                    at=event.at,
                    job_id=result.job_id,
                    status=status_of(event, result),
                    job_arn=event.job_arn,
                    record_count=event.records,
                    message=event.message,
                ),
            )


def _arguments(result: JobResult, event: QueueEvent) -> tuple[object, ...]:
    """What the original library gives a callback after the job's id."""
    if event.name == "batch-flushed":
        return (event.record_count,)
    if event.name == "job-queued":
        return (event.job_arn,)
    if event.name == "job-status-changed":
        return (event.status,)
    if event.name == "job-completed":
        return (result,)
    why = event.message or result.error_message or f"it is {result.status}"
    return (JobFailedError(f"Job {event.job_id}: {why}.", CURE if result.stuck else ""),)
