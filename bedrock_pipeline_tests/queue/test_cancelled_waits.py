"""A job that is cancelled waits for nothing, whenever it is cancelled."""

from collections import Counter
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.retry_rounds import RetryRounds
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.queue.test_cancelled_jobs import _codes, _collect, _flushed, control
from bedrock_pipeline_tests.queue.test_queue import config
from bedrock_pipeline_tests.waiting import PATIENCE_S, until

__all__ = ["control"]  # the fixture
pytestmark = pytest.mark.usefixtures("control")


def _chunks(deployment: Deployment, queue: BedrockQueue, attempt: int) -> list[ChunkRow]:
    day = deployment.ledger.queues.today()
    return [c for c in deployment.ledger.chunks.of_dataset(queue.name, day, 1) if c.attempt == attempt]


def _stopped(deployment: Deployment, queue: BedrockQueue, attempt: int) -> None:
    """Somebody stops the jobs of an attempt in the console; they end before their results are collected."""
    worker = queue._now_open.worker

    def submitted() -> bool:
        worker._submit()
        return all(chunk.job_arn for chunk in _chunks(deployment, queue, attempt))

    def ended() -> bool:
        worker._poll()
        return all(chunk.ended for chunk in _chunks(deployment, queue, attempt))

    until(submitted, f"the jobs of attempt {attempt}")
    for chunk in _chunks(deployment, queue, attempt):
        queue._deployment.jobs.stop(chunk.job_arn or "")
    until(ended, f"the end of attempt {attempt}")


def test_a_job_that_is_cancelled_between_its_end_and_its_collection_is_final(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        job = _flushed(queue, 100)
        _stopped(deployment, queue, 1)
        queue.cancel_job(job)
        result = queue.await_job(job, timeout=PATIENCE_S)
        assert (result.final, result.stuck) == (True, None)


def test_a_job_that_is_cancelled_while_its_records_are_held_is_final(
    deployment: Deployment, control: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.add_fault(kind="line_missing", record_ids=["task-1", "task-2"])
    with BedrockQueue(config(batch_size=1000, below_minimum="hold")) as queue:
        job = _flushed(queue, 100)
        _collect(deployment, queue, 1)
        move_clock(deployment, 3600)
        hold = RetryRounds.hold

        def cancel_first(self: RetryRounds, *args: Any) -> None:
            queue.cancel_job(job)
            hold(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(RetryRounds, "hold", cancel_first)
            queue._now_open.worker._retry()
        assert queue.await_job(job, timeout=PATIENCE_S).final
        assert _codes(queue, job) == {None: 98, "cancelled": 2}


def test_of_two_jobs_that_wait_for_an_operator_in_one_chunk_only_the_cancelled_one_ends(
    deployment: Deployment, control: Any
) -> None:
    """The other goes on waiting, and is continued by `retry`."""
    control.add_fault(kind="line_missing")
    with BedrockQueue(config(batch_size=1000, max_record_attempts=5)) as queue:
        jobs = [_flushed(queue, 100, prefix) for prefix in ("first", "second")]
        _collect(deployment, queue, 1)
        day = deployment.ledger.queues.today()
        deployment.ledger.interventions.release(queue.name, day)
        move_clock(deployment, 3600)
        queue._now_open.worker._retry()
        assert [chunk.records for chunk in _chunks(deployment, queue, 2)] == [200]
        control.clear_faults()
        _stopped(deployment, queue, 2)
        _collect(deployment, queue, 2)
        waiting = Counter(one.waits_for for one in deployment.ledger.retry_rounds.open_of(queue.name, day, 1))
        assert waiting == {"operator": 1}
        left = _chunks(deployment, queue, 2)[0].retryable or 0
        queue.cancel_job(jobs[0])
        cancelled = queue.await_job(jobs[0], timeout=PATIENCE_S)
        assert (cancelled.final, cancelled.stuck) == (True, None)
        _collect(deployment, queue, 3)
        assert not queue.get_job(jobs[1]).final
        assert queue.get_job(jobs[1]).stuck
        [still] = deployment.ledger.retry_rounds.open_of(queue.name, day, 1)
        assert (still.waits_for, still.records + (cancelled.failed or 0)) == ("operator", left)
        deployment.ledger.interventions.release(queue.name, day)
        move_clock(deployment, 3600)
        other = queue.await_job(jobs[1], timeout=PATIENCE_S)
        assert (other.answered, other.failed) == (100, 0)


def test_a_completed_job_has_the_message_of_its_problem_and_of_nothing_else(
    deployment: Deployment, control: Any
) -> None:
    """That tasks are sent one by one is no problem; that every record of a completed job has failed is one."""
    with BedrockQueue(config(batch_size=1000)) as queue:
        few = _flushed(queue, 3, "few")
        assert queue.get_job(few).error_message is None
        answered = queue.await_job(few, timeout=PATIENCE_S)
        assert (answered.status, answered.answered, answered.error_message) == ("completed", 3, None)
        control.add_fault(kind="record_error", error_code=400)
        failed = queue.await_job(_flushed(queue, 100), timeout=PATIENCE_S)
        assert (failed.detail, failed.failed) == ("completed", 100)
        assert "every one of its 100 records failed" in str(failed.error_message)
