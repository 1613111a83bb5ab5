"""The queue over the real Postgres, S3 and emulator."""

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ArgumentError, NotFoundError
from bedrock_pipeline.queue import AsyncBedrockQueue, BedrockQueue, BedrockQueueConfig, BedrockTask
from bedrock_pipeline.queue.async_queue import _coroutine
from bedrock_pipeline.queue.events import JobEvents
from bedrock_pipeline.queue.worker import QueueWorker
from bedrock_pipeline.records.job_names import chunk_uuid, job_name
from bedrock_pipeline_tests.waiting import PATIENCE_S

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
_NAMES = (f"q{number}" for number in itertools.count())


def config(**changes: Any) -> BedrockQueueConfig:
    """A queue that does nothing by itself but flush, and polls the emulator often."""
    return BedrockQueueConfig.model_validate(
        {
            "model_id": CLAUDE,
            "name": next(_NAMES),
            "poll_interval_ms": 50,
            "enable_auto_polling": False,
            **changes,
        }
    )


def task(number: object, text: str = "Say hello") -> BedrockTask:
    content = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": content}
    return BedrockTask(f"task-{number}", body)


@pytest.fixture
def queue(deployment: Deployment) -> Iterator[BedrockQueue]:
    with BedrockQueue(config(batch_size=1000)) as opened:
        yield opened


def test_tasks_go_in_and_their_answers_come_out(queue: BedrockQueue) -> None:
    for number in range(120):
        queue.enqueue(task(number))
    assert queue.get_queue_size() == 120
    [job_id] = queue.flush()
    assert queue.get_queue_size() == 0
    assert queue.get_job_status(job_id) == "queued"
    result = queue.await_job(job_id, timeout=PATIENCE_S)
    assert (result.status, result.record_count, result.final) == ("completed", 120, True)
    answers = list(queue.get_job_results(job_id))
    assert sorted(one.record_id for one in answers) == sorted(f"task-{n}" for n in range(120))
    assert all(one.model_output["content"][0]["text"] == one.output_text for one in answers)
    assert queue.get_job_results_table(job_id).num_rows == 120


def test_a_queue_without_dagster_finds_jobs_that_its_ledger_does_not_know(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        orphan = chunk_uuid(deployment.ledger.deployment_id, "no", "such", "chunk")
        request = queue._job(job_id).chunk.request | {"jobName": job_name(queue.name, orphan)}
        arn = deployment.jobs.create(request, orphan.hex, deadline=time.monotonic() + 60)
        queue.step()
        assert [one["job_arn"] for one in deployment.ledger.interventions.orphans()] == [arn]


def test_threads_that_initialize_one_queue_at_once_open_it_once(deployment: Deployment) -> None:
    queue = BedrockQueue(config(enable_auto_polling=True))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: queue.initialize(), range(8)))
    assert [one.name for one in threading.enumerate()].count(f"queue {queue.name}") == 1
    queue.close()
    assert f"queue {queue.name}" not in [one.name for one in threading.enumerate()]


@pytest.mark.parametrize("job_id", ["x", "", 17, None, b"\x00"])
def test_what_is_not_the_id_of_a_job_is_not_found(deployment: Deployment, job_id: Any) -> None:
    with BedrockQueue(config()) as queue, pytest.raises(NotFoundError):
        queue.get_job(job_id)


@pytest.mark.parametrize("text", ["", "x", "1-2-3", "-".join("a" * 7), f"{UUID(int=0)}-x-1"])
def test_what_is_not_a_position_is_an_error_of_its_own(deployment: Deployment, text: str) -> None:
    with BedrockQueue(config()) as queue, pytest.raises(ArgumentError, match="not the position"):
        list(queue.events(text))


def test_the_jobs_of_a_cancelled_flush_are_returned_by_the_next_one(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    flush = QueueWorker.flush

    def slow(self: QueueWorker, *, wait: bool) -> None:
        begun.set()
        may_end.wait()
        flush(self, wait=wait)
        ended.set()

    async def flush_twice() -> tuple[list[str], set[str]]:
        async with AsyncBedrockQueue(config(batch_size=1000)) as queue:
            await queue.enqueue_many(task(number) for number in range(100))
            with monkeypatch.context() as patched:
                patched.setattr(QueueWorker, "flush", slow)
                waiting = asyncio.ensure_future(queue.flush())
                await asyncio.to_thread(begun.wait)
                waiting.cancel()
                may_end.set()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            await asyncio.to_thread(ended.wait)
            job_ids = await queue.flush()
            return job_ids, {str(event.job_id) async for event in queue.events()}

    job_ids, followed = asyncio.run(flush_twice())
    assert len(job_ids) == 1
    assert set(job_ids) == followed


def test_a_queue_whose_opening_is_cancelled_is_closed(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    initialize = BedrockQueue.initialize
    one = AsyncBedrockQueue(config(enable_auto_polling=True))

    def slow(self: BedrockQueue) -> None:
        begun.set()
        may_end.wait()
        initialize(self)

    async def use() -> None:
        async with one:
            raise AssertionError("it was cancelled before")

    async def cancelled() -> None:
        using = asyncio.ensure_future(use())
        await asyncio.to_thread(begun.wait)
        using.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await using

    monkeypatch.setattr(AsyncBedrockQueue, "initialize", _coroutine(slow))
    asyncio.run(cancelled())
    assert begun.is_set()
    assert f"queue {one.name}" not in [thread.name for thread in threading.enumerate()]


def test_a_queue_brings_the_tables_of_its_ledger(deployment: Deployment, empty_dsn: str) -> None:
    with BedrockQueue(config(dsn=empty_dsn)) as queue:
        queue.enqueue(task(1))
        assert queue.get_queue_size() == 1


def test_the_name_of_a_job_has_the_uuid_of_its_chunk(queue: BedrockQueue, deployment: Deployment) -> None:
    queue.enqueue_many(task(number) for number in range(100))
    [job_id] = queue.flush()
    chunk = deployment.ledger.chunks.by_id(UUID(job_id))
    assert chunk is not None
    assert chunk.request["jobName"] == job_name(queue.name, UUID(job_id))


def test_what_goes_wrong_at_the_end_is_an_event(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, seen = BedrockQueue(config()), list[object]()
    queue.initialize()
    queue.on("error", seen.append)
    error = NotFoundError("gone")

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(JobEvents, "deliver", fail)
    queue.close()
    assert seen == [error]


def test_callbacks_are_called_for_coroutines_too(deployment: Deployment) -> None:
    seen = list[object]()

    async def enqueue() -> None:
        async with AsyncBedrockQueue(config(batch_size=1000)) as queue:
            queue.on("task-queued", lambda given: seen.append(given.record_id))
            await queue.enqueue(task(1))

    asyncio.run(enqueue())
    assert seen == ["task-1"]
