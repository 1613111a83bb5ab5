"""Invalid tasks and settings: the exception names the field, and the queue stays unchanged."""

import datetime as dt
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import (
    AwaitTimeoutError,
    BedrockPipelineError,
    ConfigurationError,
    InvalidInputError,
    JobNotFinalError,
    NotFoundError,
    StateError,
)
from bedrock_pipeline.ledger.queues import QueueModelError
from bedrock_pipeline.ledger.tasks import DuplicateTaskError
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, BedrockTask
from bedrock_pipeline.queue.task import InvalidTaskError, encoded, task_of
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline_tests.queue.test_queue import config, task

#: Those of a model whose bodies are not known.
_RULES = BedrockQueueConfig(model_id="nobody.knows").pipeline().body_rules
_RING: dict[str, Any] = {"text": "hidden-prompt"}
_RING["ring"] = _RING
_DEEP: Any = {}
for _ in range(200):
    _DEEP = {"a": [_DEEP]}


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"model_input": {"a": 1}}, "record_id", "missing"),
        ({"record_id": None, "model_input": {"a": 1}}, "record_id", "NoneType"),
        ({"record_id": 7, "model_input": {"a": 1}}, "record_id", "int"),
        ({"record_id": " ", "model_input": {"a": 1}}, "record_id", "empty"),
        ({"record_id": "x" * 257, "model_input": {"a": 1}}, "record_id", "longer than 256"),
        ({"record_id": "a\nb", "model_input": {"a": 1}}, "record_id", "control characters"),
        ({"record_id": "a\ud800", "model_input": {"a": 1}}, "record_id", "surrogate"),
        ({"record_id": "a", "recordId": "a", "model_input": {"a": 1}}, "record_id", "too"),
        ({"record_id": "a"}, "model_input", "missing"),
        ({"record_id": "a", "model_input": None}, "model_input", "NoneType"),
        ({"record_id": "a", "model_input": "text"}, "model_input", "str"),
        ({"record_id": "a", "model_input": {}}, "model_input", "empty"),
        ({"record_id": "a", "model_input": {"at": dt.date(2026, 1, 1)}}, "model_input", "date"),
        ({"record_id": "a", "model_input": {(1, 2): "x"}}, "model_input", "tuple"),
        ({"record_id": "a", "model_input": {"m": [{1: "x", "1": "y"}]}}, "model_input", "not a string"),
        ({"record_id": "a", "model_input": {None: "x"}}, "model_input", "not a string"),
        ({"record_id": "a", "model_input": {"n": math.nan}}, "model_input", "NaN"),
        ({"record_id": "a", "model_input": {"n": [-math.inf]}}, "model_input", "NaN or infinite"),
        ({"record_id": "a", "model_input": {"s": "\udfff"}}, "model_input", "surrogate"),
        ({"record_id": "a", "model_input": _RING}, "model_input", "in itself"),
        ({"record_id": "a", "model_input": _DEEP}, "model_input", "nested more than 200 deep"),
        (
            {"record_id": "a", "model_input": {"s": "hidden-prompt" * 1000}},
            "model_input",
            "max_file_size_bytes",
        ),
        ({"record_id": "a", "model_input": {"a": 1}, "modelID": "m"}, "task", "modelID"),
        ("hidden-prompt", "task", "str"),
    ],
)
def test_an_invalid_task_names_its_field(given: Any, field: str, said: str) -> None:
    limits = Limits(max_file_bytes=10_000)
    with pytest.raises(InvalidTaskError, match=said) as raised:
        encoded(task_of(given), limits, _RULES)
    assert raised.value.field == field
    assert str(raised.value).startswith(f"{field}: ")
    assert "hidden-prompt" not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        {"recordId": "日本 😀", "modelInput": {"s": 'ünï "code" \x00 \n'}},
        {"record_id": "x" * 256, "model_input": {"deep": [{"n": 1.5, "b": None}]}},
        {"record_id": "brackets", "model_input": {"flat": [[]] * 1000}},
    ],
)
def test_a_valid_task_is_one_line(given: dict[str, Any]) -> None:
    line = encoded(task_of(given), Limits(), _RULES).line
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")


def test_a_rejected_task_is_not_in_the_queue(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        with pytest.raises(InvalidTaskError):
            queue.enqueue(BedrockTask("a", {"n": math.nan}))

        def tasks() -> Iterator[BedrockTask]:
            yield from (task(number) for number in range(2500))
            yield BedrockTask("", {"a": 1})

        with pytest.raises(InvalidTaskError) as raised:
            queue.enqueue_many(tasks())
        assert raised.value.__notes__ == ["It is task 2501.", "2000 tasks of this call were added before."]
        assert queue.get_queue_size() in (0, 2000)  # a batch of 1000 makes a flush due


def test_a_record_id_that_waits_is_rejected_or_replaced(deployment: Deployment) -> None:
    first = config(batch_size=1000)
    with BedrockQueue(first) as queue:
        queue.enqueue_many([task("a", "old"), task("b")])
        with pytest.raises(DuplicateTaskError, match="'task-a'") as raised:
            queue.enqueue(task("a", "new"))
        assert raised.value.record_ids == ["task-a"]
        with pytest.raises(DuplicateTaskError):
            queue.enqueue_many([task("c"), task("b")])
        with pytest.raises(DuplicateTaskError):
            queue.enqueue_many([task("d"), task("d")])
        assert queue.get_queue_size() == 2, "all of a batch, or none"
    with BedrockQueue(first.model_copy(update={"on_duplicate": "replace"})) as queue:
        queue.enqueue(task("a", "newer"))
        added = queue.enqueue_many([task("b", "older"), task("c"), task("b", "newest")])
        assert added == 3
        waiting = list(deployment.ledger.tasks.in_order(queue.name, newest=2**62, limit=10))
    assert [one.record_id for one in waiting] == ["task-a", "task-b", "task-c"]
    assert b"newer" in waiting[0].line
    assert b"newest" in waiting[1].line


def test_a_queue_that_is_not_open_and_jobs_that_are_not_there(deployment: Deployment) -> None:
    queue = BedrockQueue(config())
    calls: list[Callable[[], object]] = [
        lambda: queue.enqueue(task(1)),
        lambda: queue.enqueue_many([task(1)]),
        queue.flush,
        queue.get_queue_size,
        lambda: queue.get_job_status("x"),
        lambda: queue.await_job("x"),
        lambda: list(queue.events()),
    ]
    for call in calls:
        with pytest.raises(StateError, match="initialize"):
            call()
    with queue:
        for job_id in ("x", "", "00000000-0000-0000-0000-000000000000"):
            for ask in (
                queue.get_job_status,
                queue.get_job_results,
                queue.get_job_results_table,
                queue.await_job,
                queue.cancel_job,
            ):
                with pytest.raises(NotFoundError):
                    ask(job_id)
        with pytest.raises(InvalidInputError, match="job-queued"):
            queue.on("job-done", print)  # type: ignore[arg-type]  # the mistake
        queue.initialize()
    with pytest.raises(StateError):
        queue.enqueue(task(1))
    queue.close()


def test_a_job_of_another_queue_and_one_that_is_not_final(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue, BedrockQueue(config()) as other:
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        with pytest.raises(NotFoundError):
            other.get_job_status(job_id)
        for ask in (queue.get_job_results, queue.get_job_results_table):
            with pytest.raises(JobNotFinalError, match="queued"):
                ask(job_id)
        with pytest.raises(AwaitTimeoutError, match=job_id) as raised:
            queue.await_job(job_id, timeout=0)
        assert isinstance(raised.value, TimeoutError)


def test_one_name_for_two_models_is_rejected(deployment: Deployment) -> None:
    first = config()
    with BedrockQueue(first), pytest.raises(QueueModelError, match="another name"):
        BedrockQueue(first.model_copy(update={"model_id": "amazon.nova-micro-v1:0"})).initialize()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "model_id"),
        ({"model_id": "m", "batch_size": 0}, "batch_size"),
        ({"model_id": "m", "max_batch_size": 150}, "twice"),
        ({"model_id": "m", "name": "no spaces"}, "name"),
        ({"model_id": "m", "retry_mode": "never"}, "retry_mode"),
        ({"model_id": "m", "on_duplicate": "both"}, "on_duplicate"),
        ({"model_id": "m", "batchSize": 100}, "batchSize"),
        ({"model_id": "m", "role_arn": "arn:aws:iam::1:role/r"}, "s3_input_bucket and role_arn"),
        ({"model_id": "m", "access_key_id": "hidden-key"}, "secret_access_key"),
        ({"model_id": "m", "dsn": "hidden-key", "db_host": "h"}, "either dsn or"),
        ({"model_id": "m", "throttle_backoff": {"jitter_ratio": 2}}, "jitter_ratio"),
    ],
)
def test_invalid_settings_name_their_field(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        BedrockQueueConfig.model_validate(settings)
    assert "hidden-key" not in str(raised.value)


def test_nothing_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(tmp_path))
    with pytest.raises(NotConfiguredError) as raised:
        BedrockQueue(BedrockQueueConfig(model_id="m")).initialize()
    assert isinstance(raised.value, BedrockPipelineError)


@pytest.mark.parametrize("depth", [201, 496, 700, 980])
@pytest.mark.parametrize("level", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_body_however_deep_is_an_invalid_task(depth: int, level: Callable[[object], object]) -> None:
    value: object = 1
    for _ in range(depth):
        value = level(value)
    with pytest.raises(InvalidTaskError, match=r"model_input: it is (nested|not JSON)"):
        encoded(BedrockTask("a", {"tools": value}), Limits(), _RULES)
