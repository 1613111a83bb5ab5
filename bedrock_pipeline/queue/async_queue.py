"""The queue for asyncio: the methods of `BedrockQueue` as coroutines.

Each runs in a thread (`asyncio.to_thread`), so the event loop never waits for Postgres, S3 or Bedrock. Cancelling a
coroutine ends the wait, not the call.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.ledger.events import Position
from bedrock_pipeline.queue.config import BedrockQueueConfig
from bedrock_pipeline.queue.events import Callback, EventName, QueueEvent
from bedrock_pipeline.queue.job_results import JobResult, JobStatus, TaskResult
from bedrock_pipeline.queue.queue import BedrockQueue
from bedrock_pipeline.queue.task import BedrockTask

T = TypeVar("T")
_READ = 500


class AsyncBedrockQueue:
    """`BedrockQueue` as coroutines; its docstrings say what each does and raises.

    Callbacks of `on` run in a thread; use `loop.call_soon_threadsafe` in them. Wait for several jobs with one
    `await_jobs`, since each waiting call occupies a thread.
    """

    def __init__(self, config: BedrockQueueConfig) -> None:
        self._queue = BedrockQueue(config)

    @property
    def config(self) -> BedrockQueueConfig:
        """The queue's settings."""
        return self._queue.config

    @property
    def name(self) -> str:
        """The name under which processes share the queue."""
        return self._queue.name

    async def initialize(self) -> None:
        """Connect; see `BedrockQueue.initialize`."""
        await asyncio.to_thread(self._queue.initialize)

    async def close(self) -> None:
        """End the thread and the connections; tasks and jobs remain."""
        await asyncio.to_thread(self._queue.close)

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def enqueue(self, task: BedrockTask | Mapping[str, Any]) -> None:
        """Add a task."""
        await asyncio.to_thread(self._queue.enqueue, task)

    async def enqueue_many(self, tasks: Iterable[BedrockTask | Mapping[str, Any]]) -> int:
        """Add tasks and return their number; the iterable is read in a thread."""
        return await asyncio.to_thread(self._queue.enqueue_many, tasks)

    async def get_queue_size(self) -> int:
        """The number of waiting tasks."""
        return await asyncio.to_thread(self._queue.get_queue_size)

    async def flush(self) -> list[str]:
        """Make jobs of the waiting tasks and return their ids."""
        return await asyncio.to_thread(self._queue.flush)

    async def get_job(self, job_id: str | UUID) -> JobResult:
        """A job in its present state."""
        return await asyncio.to_thread(self._queue.get_job, job_id)

    async def get_job_status(self, job_id: str | UUID) -> JobStatus:
        """A job's status."""
        return await asyncio.to_thread(self._queue.get_job_status, job_id)

    async def get_job_results(self, job_id: str | UUID) -> AsyncIterator[TaskResult]:
        """The results of a job, as a stream."""
        async for result in _streamed(await asyncio.to_thread(self._queue.get_job_results, job_id)):
            yield result

    async def get_job_results_table(self, job_id: str | UUID) -> pa.Table:
        """The results of a job as an Arrow table."""
        return await asyncio.to_thread(self._queue.get_job_results_table, job_id)

    async def await_job(self, job_id: str | UUID, timeout: float | None = None) -> JobResult:  # the method's
        """Wait for a job."""
        return await asyncio.to_thread(self._queue.await_job, job_id, timeout)

    async def await_jobs(
        self,
        job_ids: Sequence[str | UUID],
        timeout: float | None = None,  # the method's
    ) -> list[JobResult]:
        """Wait for several jobs."""
        return await asyncio.to_thread(self._queue.await_jobs, job_ids, timeout)

    async def cancel_job(self, job_id: str | UUID) -> None:
        """Cancel what a job has not answered yet."""
        await asyncio.to_thread(self._queue.cancel_job, job_id)

    def on(self, event: EventName, callback: Callback) -> None:
        """Call `callback`, in a thread, at every event of this name."""
        self._queue.on(event, callback)

    async def events(
        self, since: Position | str | None = None, *, follow: bool = False
    ) -> AsyncIterator[QueueEvent]:
        """Every event of the queue's jobs after a position."""
        async for event in _streamed(self._queue.events(since, follow=follow), 1):
            yield event


async def _streamed(items: Iterator[T], block: int = _READ) -> AsyncIterator[T]:
    """Items of a blocking iterator, a block at a time."""
    while taken := await asyncio.to_thread(lambda: list(itertools.islice(items, block))):
        for item in taken:
            yield item
