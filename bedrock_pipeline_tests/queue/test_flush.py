"""A flush: when it is due, how tasks are packed, and that after any error each is in the queue or in a chunk."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import due_work, flush_reason
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.ledger.queues import Queues
from bedrock_pipeline.ledger.tasks import FlushLease, NewTask, Tasks, Waiting
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline.queue.flush_queue import FlushCheck, flush_queue, tasks_to_take
from bedrock_pipeline.queue.task import encoded
from bedrock_pipeline.queue_pipeline import FlushPolicy, QueuePipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S


def pipeline(**changes: Any) -> QueuePipeline:
    policy = FlushPolicy(**{name: changes.pop(name) for name in FlushPolicy.model_fields if name in changes})
    return QueuePipeline(name="q", model_id="amazon.nova-micro-v1:0", flush_policy=policy, **changes)


@pytest.mark.parametrize(
    ("waiting", "settings", "reason"),
    [
        (Waiting(0, 0, timedelta(0)), {"max_age_s": 1}, None),
        (Waiting(99, 10, timedelta(0)), {}, None),
        (Waiting(100, 10, timedelta(0)), {}, "100 tasks wait"),
        (Waiting(5, 1000, timedelta(0)), {"max_bytes": 1000}, "1000 bytes wait"),
        (Waiting(5, 999, timedelta(seconds=61)), {"max_bytes": 1000}, None),
        (Waiting(5, 999, timedelta(seconds=61)), {"max_age_s": 60}, "a task has waited for 61 s"),
        (Waiting(5, 999, timedelta(seconds=59)), {"max_age_s": 60}, None),
        (Waiting(99, 999, timedelta(hours=1)), {"max_age_s": 60, "below_minimum": "hold"}, None),
        (Waiting(99, 999, timedelta(0)), {"batch_size": 10, "below_minimum": "hold"}, None),
        (Waiting(100, 9, timedelta(0)), {"batch_size": 10, "below_minimum": "hold"}, "10 tasks wait"),
    ],
)
def test_a_flush_is_due_by_count_bytes_or_age(
    waiting: Waiting, settings: dict[str, Any], reason: str | None
) -> None:
    assert flush_reason(waiting, pipeline(**settings)) == reason


def test_tasks_that_must_wait_for_more_are_no_due_work(deployment: Deployment) -> None:
    held = config(batch_size=10, below_minimum="hold", max_age_s=0.001)
    with BedrockQueue(held) as queue:
        queue.enqueue_many(task(number) for number in range(99))
        assert due_work(deployment.ledger, [held.pipeline()], limit=10) == []
        queue.enqueue(task(99))
        assert queue.get_queue_size() == 0, "the enqueuing process counts as far as a job needs"


@pytest.mark.parametrize(
    ("waiting", "take"), [(0, 0), (99, 99), (300, 300), (301, 301), (599, 599), (600, 300), (10**9, 300)]
)
def test_what_is_packed_at_a_time_leaves_enough_for_a_job(waiting: int, take: int) -> None:
    assert tasks_to_take(waiting, Limits(min_records=100, max_records=300)) == take


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100, 50_000])
def test_one_process_finds_the_threshold_exactly_and_counts_rarely(batch_size: int) -> None:
    check = FlushCheck(pipeline(batch_size=batch_size))
    counts = 0
    for waiting in range(1, batch_size + 1):
        if check.due(1, 10):
            counts += 1
            check.counted(Waiting(waiting, 10 * waiting, timedelta(0)))
            last = waiting
    assert last == batch_size
    assert counts <= 50


def test_bytes_are_found_too() -> None:
    check = FlushCheck(pipeline(batch_size=10**6, max_bytes=10_000))
    counted = []
    for waiting in range(1, 101):
        if check.due(1, 100):
            check.counted(Waiting(waiting, 100 * waiting, timedelta(0)))
            counted.append(waiting)
    assert counted[-1] == 100


def _new(number: object) -> NewTask:
    return encoded(task(number), Limits(), config().pipeline().body_rules)


def records(deployment: Deployment, queue: BedrockQueue) -> list[str]:
    """Record ids of every chunk and every waiting task."""
    ids = []
    for job in deployment.ledger.queues.jobs(queue.name, 100):
        for file in job.chunk.input_files:
            lines = deployment.objects.get(file.uri).splitlines()
            assert len(lines) == file.records
            ids += [line.split(b'"', 4)[3].decode() for line in lines]
    waiting = deployment.ledger.tasks.in_order(queue.name, newest=2**62, limit=10**6)
    return sorted(ids + [one.record_id for one in waiting])


def test_several_jobs_if_the_limits_require_it_and_none_below_the_minimum(
    deployment: Deployment,
) -> None:
    with BedrockQueue(config(batch_size=300, max_batch_size=300)) as queue:
        deployment.ledger.tasks.add(queue.name, [_new(number) for number in range(1030)], replace=False)
        jobs = queue.flush()
        assert [queue.get_job(job).record_count for job in jobs] == [300, 300, 300, 130]
        keys = [queue.get_job(job).chunk_key for job in jobs]
        day = deployment.ledger.queues.today()
        assert keys == [f"{day}--{number:05}" for number in range(4)]
        assert queue.flush() == []
        deployment.ledger.tasks.add(queue.name, [_new(number) for number in range(100)], replace=False)
        [job] = queue.flush()
        assert queue.get_job(job).chunk_key == f"{day}--00004", "the same ids again, in the day's next chunk"
        assert len(records(deployment, queue)) == 1130


def test_a_job_of_several_files(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000, max_file_size_bytes=10_000)) as queue:
        queue.enqueue_many(task(number) for number in range(150))
        [job_id] = queue.flush()
        job = deployment.ledger.queues.jobs(queue.name, 1)[0]
        assert len(job.chunk.files) > 1
        assert queue.await_job(job_id, timeout=PATIENCE_S).status == "completed"
        assert len(list(queue.get_job_results(job_id))) == 150


@pytest.mark.parametrize(
    "changes", [{"batch_size": 100}, {"max_bytes": 100 * len(_new("0000").line)}, {"max_age_s": 60}]
)
def test_the_enqueuing_process_flushes_when_it_is_due(
    deployment: Deployment, changes: dict[str, Any]
) -> None:
    with BedrockQueue(config(**{"batch_size": 1000, **changes})) as queue:
        flushed: list[tuple[str, int]] = []
        queue.on("batch-flushed", lambda job_id, count: flushed.append((job_id, count)))
        for number in range(100):
            queue.enqueue(task(f"{number:04}"))
        if "max_age_s" in changes:
            assert flushed == []
            deployment.ledger.database.execute(
                "UPDATE bedrock_pipeline.deployment SET clock_offset = '1 minute'"
            )
            queue._now_open.worker.flush_if_due()
        assert queue.get_queue_size() == 0
        [job] = deployment.ledger.queues.jobs(queue.name, 10)
        assert job.chunk.records == 100
        queue._now_open.events.deliver()
        assert flushed == [(str(job.chunk.chunk_id), job.chunk.records)]


class Interrupt(BaseException):
    """Like KeyboardInterrupt: no Exception."""


_ERRORS = itertools.cycle([AwsError("S3 is away."), OSError(28, "disk full"), Interrupt()])
#: What a flush does, and at which call of it something goes wrong.
_STEPS = (
    (Tasks, "newest", 1),
    (Tasks, "waiting", 2),
    (Tasks, "in_order", 2),
    (S3Objects, "upload", 3),
    (Queues, "today", 2),
    (Queues, "enter_chunks", 1),
    (Queues, "enter_chunks", 2),
)


@pytest.mark.parametrize(
    ("package", "method", "call", "after", "error"),
    [(*step, after, next(_ERRORS)) for step in _STEPS for after in (False, True)],
)
def test_an_error_of_any_kind_leaves_each_task_in_the_queue_or_in_a_chunk(
    deployment: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    package: type,
    method: str,
    call: int,
    after: bool,
    error: BaseException,
) -> None:
    with BedrockQueue(config(batch_size=1000, max_batch_size=200)) as queue:
        queue.enqueue_many(task(number) for number in range(450))
        expected = sorted(f"task-{number}" for number in range(450))
        original = getattr(package, method)
        calls = []

        def broken(*values: Any, **named: Any) -> Any:
            calls.append(method)
            if len(calls) == call and not after:
                raise error
            result = original(*values, **named)
            if len(calls) == call:
                raise error
            return result

        with monkeypatch.context() as patch:
            patch.setattr(package, method, broken)
            with pytest.raises(type(error)):
                queue.flush()
        assert records(deployment, queue) == expected
        queue.flush()
        assert queue.get_queue_size() == 0
        assert records(deployment, queue) == expected


def test_a_flush_that_is_tried_again_uploads_the_same_objects(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        with monkeypatch.context() as patch:
            patch.setattr(Queues, "enter_chunks", lambda *_, **__: (_ for _ in ()).throw(AwsError("no")))
            for _ in range(2):
                with pytest.raises(AwsError):
                    queue.flush()
        queue.flush()
        base = deployment.settings.uri(deployment.settings.input_prefix, queue.name)
        assert len(list(deployment.objects.list(base))) == 2, "one file and its index"


def test_what_is_replaced_during_a_flush_is_not_lost(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BedrockQueue(config(batch_size=1000, on_duplicate="replace")) as queue:
        queue.enqueue_many(task(number, "old") for number in range(101))
        original = S3Objects.upload

        def upload(*values: Any) -> None:
            original(*values)
            queue.enqueue(task(7, "new"))

        with monkeypatch.context() as patch:
            patch.setattr(S3Objects, "upload", upload)
            [job_id] = queue.flush()
        assert queue.get_job(job_id).record_count == 100
        [left] = deployment.ledger.tasks.in_order(queue.name, newest=2**62, limit=10)
        assert (left.record_id, b"new" in left.line) == ("task-7", True)


def test_tasks_that_come_during_a_flush_wait_for_the_next(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BedrockQueue(config(batch_size=10_000, max_batch_size=200)) as queue:
        queue.enqueue_many(task(number) for number in range(250))
        original = S3Objects.upload

        def upload(*values: Any) -> None:
            original(*values)
            if queue.get_queue_size() < 600:
                queue.enqueue_many(task(number) for number in range(250, 600))

        with monkeypatch.context() as patch:
            patch.setattr(S3Objects, "upload", upload)
            assert [queue.get_job(job).record_count for job in queue.flush()] == [125, 125]
        assert queue.get_queue_size() == 350


def test_exactly_one_of_two_flushes_happens(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    first = config(batch_size=1000)
    with BedrockQueue(first) as queue, BedrockQueue(first) as other:
        queue.enqueue_many(task(number) for number in range(150))
        uploading, go_on = threading.Event(), threading.Event()
        original = S3Objects.upload

        def upload(*values: Any) -> None:
            uploading.set()
            go_on.wait(PATIENCE_S)
            original(*values)

        monkeypatch.setattr(S3Objects, "upload", upload)
        jobs: dict[str, list[str]] = {}
        threads = [
            threading.Thread(target=lambda one=one, name=name: jobs.update({name: one.flush()}))
            for name, one in (("queue", queue), ("other", other))
        ]
        threads[0].start()
        assert uploading.wait(PATIENCE_S)
        assert list(flush_queue(deployment, first.pipeline(), wait=False)) == [], "another is at it"
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(map(len, jobs.values())) == [0, 1]
        assert len(records(deployment, queue)) == 150


def test_two_flushes_that_both_think_they_are_alone_make_no_task_twice(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that expired during a long upload: the transaction that removes the tasks holds."""
    first = config(batch_size=1000)
    with BedrockQueue(first) as queue:
        queue.enqueue_many(task(number) for number in range(150))
        monkeypatch.setattr(Tasks, "flushing", _alone)
        original: Callable[..., Any] = Queues.enter_chunks
        inner: list[Any] = []

        def enter(self: Queues, *values: Any, **named: Any) -> Any:
            if not inner:
                inner.append(None)
                inner.extend(flush_queue(deployment, first.pipeline()))
            return original(self, *values, **named)

        monkeypatch.setattr(Queues, "enter_chunks", enter)
        assert queue.flush() in ([], [str(inner[1].chunks[0].chunk_id)])
        assert len(records(deployment, queue)) == 150


@contextmanager
def _alone(self: Tasks, queue: str, *, wait: bool) -> Iterator[FlushLease]:
    """Each process's own lease."""
    yield FlushLease(self._database, f"{queue} {uuid4()}")


def test_a_task_above_limits_that_were_lowered_is_named_and_stays(deployment: Deployment) -> None:
    first = config(batch_size=1000)
    with BedrockQueue(first) as queue:
        queue.enqueue(task("large", "x" * 5000))
        queue.enqueue_many(task(number) for number in range(100))
    with (
        BedrockQueue(first.model_copy(update={"max_file_size_bytes": 1000})) as queue,
        pytest.raises(InvalidInputError, match="task-large"),
    ):
        queue.flush()
    with BedrockQueue(first) as queue:
        assert queue.get_queue_size() == 101


def test_an_automatic_flush_that_fails_is_an_event_and_not_tried_at_once_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BedrockQueue(config(batch_size=100)) as queue:
        errors: list[Exception] = []
        queue.on("error", errors.append)
        with monkeypatch.context() as patch:
            patch.setattr(S3Objects, "upload", _away)
            for number in range(110):
                queue.enqueue(task(number))
        assert [str(error) for error in errors] == ["S3 is away."]
        assert queue.get_queue_size() == 110


def _away(*_: object) -> Iterator[None]:
    raise AwsError("S3 is away.")
