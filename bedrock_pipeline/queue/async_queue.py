"""The queue for asyncio: the methods of `BedrockQueue` as coroutines.

Each runs in a thread (`asyncio.to_thread`), so the event loop never waits for Postgres, S3 or Bedrock. Cancelling a
coroutine ends the wait, not the call.
"""

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from uuid import UUID

from bedrock_pipeline.ledger.events import Position
from bedrock_pipeline.queue.config import BedrockQueueConfig
from bedrock_pipeline.queue.events import Callback, EventName, QueueEvent
from bedrock_pipeline.queue.job_results import TaskResult
from bedrock_pipeline.queue.queue import BedrockQueue

P = ParamSpec("P")
T = TypeVar("T")
_READ = 500


def _coroutine(
    method: Callable[Concatenate[BedrockQueue, P], T],
) -> Callable[Concatenate["AsyncBedrockQueue", P], Coroutine[Any, Any, T]]:
    """A method of `BedrockQueue` as a coroutine that runs it in a thread."""

    @functools.wraps(method)
    async def in_thread(self: "AsyncBedrockQueue", /, *args: P.args, **options: P.kwargs) -> T:
        return await asyncio.to_thread(method, self._queue, *args, **options)

    return in_thread


class AsyncBedrockQueue:
    """`BedrockQueue` as coroutines; its docstrings say what each does and raises.

    Callbacks of `on` run in a thread; use `loop.call_soon_threadsafe` in them. Wait for several jobs with one
    `await_jobs`, since each waiting call occupies a thread.
    """

    def __init__(self, config: BedrockQueueConfig) -> None:
        self._queue = BedrockQueue(config)
        self.config = config
        self.name = self._queue.name

    initialize = _coroutine(BedrockQueue.initialize)
    close = _coroutine(BedrockQueue.close)
    enqueue = _coroutine(BedrockQueue.enqueue)
    enqueue_many = _coroutine(BedrockQueue.enqueue_many)
    get_queue_size = _coroutine(BedrockQueue.get_queue_size)
    get_job = _coroutine(BedrockQueue.get_job)
    get_job_status = _coroutine(BedrockQueue.get_job_status)
    get_job_results_table = _coroutine(BedrockQueue.get_job_results_table)
    await_job = _coroutine(BedrockQueue.await_job)
    await_jobs = _coroutine(BedrockQueue.await_jobs)
    cancel_job = _coroutine(BedrockQueue.cancel_job)
    step = _coroutine(BedrockQueue.step)

    async def __aenter__(self) -> Self:
        opening = asyncio.ensure_future(self.initialize())
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:  # the block is never left: what the thread opens is closed here
            await asyncio.gather(opening, return_exceptions=True)
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def flush(self) -> list[str]:
        """Make jobs of all waiting tasks, and return their ids; where it is cancelled, the next flush returns them."""
        await asyncio.to_thread(self._queue.make_jobs)
        return self._queue.take_job_ids()

    async def get_job_results(self, job_id: str | UUID) -> AsyncIterator[TaskResult]:
        """The results of a job, as a stream."""
        async for result in _streamed(await asyncio.to_thread(self._queue.get_job_results, job_id)):
            yield result

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
