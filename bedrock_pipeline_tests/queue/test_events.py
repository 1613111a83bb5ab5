"""Events: which are delivered, to whom, and that none is missed."""

import logging
import queue as queue_module
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import JobFailedError, JobStuckError, StateError
from bedrock_pipeline.ledger.database import DatabaseUnreachableError
from bedrock_pipeline.ledger.events import Position
from bedrock_pipeline.ledger.queues import Queues
from bedrock_pipeline.queue import BedrockQueue, BedrockTask
from bedrock_pipeline.queue.events import CallbackError
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S


def filled(queue: BedrockQueue, count: int = 100, prefix: str = "") -> str:
    queue.enqueue_many(task(f"{prefix}{number}") for number in range(count))
    [job_id] = queue.flush()
    return job_id


def test_the_events_of_a_job_reach_callbacks_and_any_reader(deployment: Deployment) -> None:
    heard: list[tuple[Any, ...]] = []
    first = config(batch_size=1000)
    with BedrockQueue(first) as queue:
        queue.on("task-queued", lambda task: heard.append(("task-queued", task.record_id)))
        for name in ("batch-flushed", "job-queued", "job-status-changed", "job-completed", "job-failed"):
            queue.on(name, lambda *values, name=name: heard.append((name, *values)))
        job_id = filled(queue)
        result = queue.await_job(job_id, timeout=PATIENCE_S)
        queue._now_open.events.deliver()
        assert [one[1] for one in heard[:100]] == [f"task-{number}" for number in range(100)]
        of_job = heard[100:]
        assert of_job[0] == ("batch-flushed", job_id, 100)
        assert ("job-queued", job_id, result.job_arn) in of_job
        assert ("job-status-changed", job_id, "completed") in of_job
        name, id_of_event, result = of_job[-1]
        assert (name, id_of_event, result.status, len(result.results)) == (
            "job-completed",
            job_id,
            "completed",
            100,
        )
        assert not any(name == "job-failed" for name, *_ in heard)
    with BedrockQueue(first) as another:
        events = list(another.events())
        assert [(one.name, one.job_id) for one in events] == [(one[0], job_id) for one in of_job]
        middle = events[len(events) // 2].position
        rest = [
            one.position
            for one in events
            if (one.position.transaction, one.position.event_id) > (middle.transaction, middle.event_id)
        ]
        assert [one.position for one in another.events(since=str(middle))] == rest
        assert Position.of(str(middle)) == middle


def test_a_job_is_recorded_as_final_once(deployment: Deployment) -> None:
    """Sensors and the workers of every queue look for it at the same time."""
    with BedrockQueue(config(batch_size=1000)) as queue:
        job_id = filled(queue)
        assert queue.await_job(job_id, timeout=PATIENCE_S).final
        queues, events = deployment.ledger.queues, list(queue.events())
        before = queues.job(UUID(job_id))
        assert not queues.record_final(UUID(job_id), answered=0, failed=0, input_tokens=0, output_tokens=0)
        assert queues.job(UUID(job_id)) == before
        assert list(queue.events()) == events


def test_no_event_row_and_no_notification_for_a_task(deployment: Deployment, postgres_dsn: str) -> None:
    with (
        BedrockQueue(config(batch_size=1000)) as queue,
        psycopg.connect(postgres_dsn, autocommit=True) as listener,
    ):
        listener.execute("LISTEN bedrock_pipeline")
        for number in range(50):
            queue.enqueue(task(number))
        queue.enqueue_many(task(number) for number in range(50, 100))
        with psycopg.connect(postgres_dsn, autocommit=True) as other:
            other.execute("NOTIFY bedrock_pipeline, 'the next'")  # they come in the order of their commits
        assert [one.payload for one in listener.notifies(timeout=PATIENCE_S, stop_after=1)] == ["the next"]
        assert listener.execute("SELECT count(*) FROM bedrock_pipeline.events").fetchone() == (0,)
        job_id = queue.flush()[0]
        assert [one.payload for one in listener.notifies(timeout=PATIENCE_S, stop_after=1)] == [job_id]


def test_an_event_that_is_committed_late_is_not_missed(deployment: Deployment, postgres_dsn: str) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        first, second = filled(queue, prefix="a"), filled(queue, prefix="b")
        position = [one.position for one in queue.events()][-1]

        def change(connection: psycopg.Connection, job_id: str) -> None:
            connection.execute(
                """UPDATE bedrock_pipeline.chunks SET status = 'stopped', ended_at = bedrock_pipeline.now()
                   WHERE chunk_id = %s""",
                (job_id,),
            )

        with psycopg.connect(postgres_dsn) as early, psycopg.connect(postgres_dsn) as late:
            change(early, first)  # takes the smaller id, and commits last
            change(late, second)
            late.commit()
            seen = list(queue.events(since=position))
            position = seen[-1].position if seen else position
            early.commit()
            seen += queue.events(since=position)
        assert [one.job_id for one in seen] == [first, second]


def test_a_callback_that_raises_stops_nothing(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        errors: list[Exception] = []

        def broken(*_: object) -> None:
            raise RuntimeError("hidden-answer")

        for name in ("task-queued", "batch-flushed", "job-queued", "job-completed"):
            queue.on(name, broken)
        queue.on("error", errors.append)
        queue.on("error", broken)
        with caplog.at_level(logging.INFO):
            job_id = filled(queue)
            assert queue.await_job(job_id, timeout=PATIENCE_S).final
            queue._now_open.events.deliver()
        assert len(errors) == 103
        assert all(isinstance(error, CallbackError) for error in errors)
        assert isinstance(errors[0].__cause__, RuntimeError)
        assert "hidden-answer" not in caplog.text


def test_a_callback_may_use_the_queue(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        sizes: list[int] = []

        def flushed(job_id: str, _: int) -> None:
            sizes.append(queue.get_queue_size())
            queue.enqueue(task(f"after-{job_id}"))
            assert queue.get_job_status(job_id) == "queued"

        queue.on("batch-flushed", flushed)
        filled(queue)
        queue._now_open.events.deliver()
        assert (sizes, queue.get_queue_size()) == ([0], 1)


def test_a_failed_job_is_reported_with_bedrocks_message(deployment: Deployment) -> None:
    failed: list[tuple[str, Exception]] = []
    with BedrockQueue(config(batch_size=1000, min_batch_size=10)) as queue:
        queue.on("job-failed", lambda job_id, error: failed.append((job_id, error)))
        job_id = filled(queue, 20)
        with pytest.raises(JobStuckError, match=r"less records \(20\)"):
            queue.await_job(job_id, timeout=PATIENCE_S)
        queue._now_open.events.deliver()
        [(failed_id, error)] = failed
        assert failed_id == job_id
        assert isinstance(error, JobFailedError)
        assert "less records (20)" in str(error)
        queue.cancel_job(job_id)
        assert queue.await_job(job_id, timeout=PATIENCE_S).failed == 20
        codes = {one.error.code for one in queue.get_job_results(job_id) if one.error}
        assert codes == {"cancelled"}, "an operator gave it up"


def test_the_thread_of_a_queue_does_the_work_and_delivers_events(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=100, enable_auto_polling=True)) as queue:
        told: dict[str, Any] = {}
        queue.on("job-completed", lambda job_id, result: told.update({job_id: result}))
        queue.enqueue_many(BedrockTask(f"r{number}", task(0).model_input) for number in range(100))
        for event in queue.events(follow=True):
            if event.name == "job-completed":
                break
        assert UUID(event.job_id)
        assert (event.status, event.record_count) == ("completed", 100)
        assert queue.get_job(event.job_id).final


def test_a_callback_of_the_queues_thread_may_wait_for_a_job_but_not_close_the_queue(
    deployment: Deployment,
) -> None:
    ended: queue_module.Queue[object] = queue_module.Queue()
    with BedrockQueue(config(batch_size=100, enable_auto_polling=True)) as queue:

        def waits(job_id: str, *_: object) -> None:
            ended.put(queue.await_job(job_id, timeout=PATIENCE_S).status)

        def closes(*_: object) -> None:
            with pytest.raises(StateError, match="closed by a callback") as raised:
                queue.close()
            ended.put(type(raised.value))

        queue.on("job-queued", waits)
        queue.on("job-completed", closes)
        queue.enqueue_many(BedrockTask(f"r{number}", task(0).model_input) for number in range(100))
        assert [ended.get(timeout=PATIENCE_S) for _ in range(2)] == ["completed", StateError]
        assert queue.get_queue_size() == 0  # it is open


def test_a_reader_that_begins_anew_after_each_event_has_each_once(deployment: Deployment) -> None:
    """One change of the ledger can be several events: `job-queued` and the change of the job's status."""
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.await_job(filled(queue), timeout=PATIENCE_S)
        every = list(queue.events())
        assert {"job-queued", "job-status-changed", "job-completed"} <= {event.name for event in every}
        read, since = [], None
        while event := next(queue.events(since), None):
            read.append(event)
            since = str(event.position)
        assert read == every
        assert len({str(event.position) for event in every}) == len(every)
        for number, event in enumerate(every):
            assert list(queue.events(Position.of(str(event.position)))) == every[number + 1 :]


def test_a_reader_that_follows_ends_with_the_queue(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue, ThreadPoolExecutor(1) as pool:
        following = pool.submit(lambda: [event.name for event in queue.events(follow=True)])
        filled(queue)
        queue.close()
        assert following.result(PATIENCE_S)[:1] == ["batch-flushed"]


def test_an_event_whose_job_could_not_be_read_is_delivered_later(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[str] = []
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.on("batch-flushed", lambda job_id, _: delivered.append(job_id))
        with monkeypatch.context() as patch:
            patch.setattr(Queues, "job", _unreachable)
            with pytest.raises(DatabaseUnreachableError):
                filled(queue)
        assert delivered == []
        [job_id] = queue.flush()
        assert delivered == [job_id]


def _unreachable(*_: object) -> None:
    raise DatabaseUnreachableError("Postgres does not respond.")
