"""Jobs of a queue over several attempts, below the minimum, cancelled, rejected; and the publication of their day."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control, EmulatorProcess
from bedrock_pipeline.errors import JobStuckError
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.prepare.chunks.packer import TooFewRecordsError
from bedrock_pipeline.publish.publish_dataset import NotCompleteError, publish_dataset
from bedrock_pipeline.queue import BedrockQueue, BedrockTask
from bedrock_pipeline.queue.job_results import record_final_jobs
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S, until


@pytest.fixture
def control(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Control]:
    """A Bedrock of this test's own, so that its faults are nobody else's."""
    ends = stack_endpoints
    with EmulatorProcess(
        tmp_path_factory.mktemp("e"),
        ends.s3_endpoint_url,
        ends.access_key_id,
        ends.secret_access_key,
        ("--speed", "2000"),
    ) as emulator:
        monkeypatch.setenv("BEDROCK_PIPELINE_BEDROCK_ENDPOINT_URL", emulator.url)
        monkeypatch.setenv("BEDROCK_PIPELINE_BEDROCK_RUNTIME_ENDPOINT_URL", emulator.url)
        yield emulator.control


def move_clock(deployment: Deployment, minutes: int) -> None:
    deployment.ledger.database.execute(
        "UPDATE bedrock_pipeline.deployment SET clock_offset = clock_offset + make_interval(mins => %s)",
        (minutes,),
    )


def test_a_job_is_final_after_its_last_attempt_and_has_only_its_own_records(
    deployment: Deployment, control: Control
) -> None:
    """Two jobs contain the same record ids; their retryable records are sent again together."""
    control.add_fault(kind="line_missing", record_ids=["task-1", "task-2"])
    with BedrockQueue(config(batch_size=1000)) as queue:
        jobs = []
        for text in ("first", "second"):
            queue.enqueue_many(task(number, f"{text} {number}") for number in range(100))
            jobs += queue.flush()
        deadline = time.monotonic() + PATIENCE_S
        while any(job.chunk.collected_at is None for job in deployment.ledger.queues.jobs(queue.name, 2)):
            queue._now_open.worker.step()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        control.clear_faults()
        results = queue.await_jobs(jobs, timeout=PATIENCE_S)
        assert [(one.status, one.answered, one.failed) for one in results] == [("completed", 100, 0)] * 2
        for job in jobs:
            answers = list(queue.get_job_results(job))
            assert sorted(one.record_id for one in answers) == sorted(f"task-{n}" for n in range(100))
            assert {one.record_id for one in answers if one.attempt == 2} == {"task-1", "task-2"}
            assert queue.get_job_results_table(job).num_rows == 100
        day = deployment.ledger.datasets.get(queue.name, deployment.ledger.queues.today())
        assert day is not None
        published = publish_dataset(deployment, queue.config.pipeline(), day.dataset)
        assert published.records == 200


def test_the_results_of_a_job_have_one_schema_over_its_attempts(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    """The records that are sent again request other vectors than the others."""
    late = [f"t{number}" for number in range(3)]
    control.add_fault("record_error", error_code=500, message="later", record_ids=late, times=3)
    bodies: list[dict[str, Any]] = [
        {"inputText": f"text {n}", "dimensions": 512 if n < 3 else 256} for n in range(120)
    ]
    bodies[0]["embeddingTypes"] = ["float", "binary"]
    model = "amazon.titan-embed-text-v2:0"
    with BedrockQueue(config(batch_size=1000, model_id=model)) as queue:
        queue.enqueue_many(BedrockTask(f"t{number}", body) for number, body in enumerate(bodies))
        [job] = queue.flush()
        queue.await_job(job, timeout=PATIENCE_S)
        batches = list(queue.await_job(job, timeout=PATIENCE_S).final_results().batches())
        assert len(batches) > 1
        assert len({str(batch.schema) for batch in batches}) == 1
        rows = {row["record_id"]: row for row in queue.get_job_results_table(job).to_pylist()}
    assert {row["attempt"] for row in rows.values()} == {1, 2}
    assert {name: len(row["embedding"]) for name, row in rows.items()} == {
        f"t{number}": body["dimensions"] for number, body in enumerate(bodies)
    }
    assert [name for name, row in rows.items() if row["embedding_binary"]] == ["t0"]
    result = CliRunner().invoke(cli, ["results", job, "--out", str(tmp_path / "out.parquet")])
    assert result.exit_code == 0, result.output
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 120


@pytest.mark.parametrize(
    ("policy", "mode", "status"), [("on_demand", "on-demand", "completed"), ("pad", "batch", "completed")]
)
def test_too_few_tasks_are_sent_as_the_policy_says(
    deployment: Deployment, policy: str, mode: str, status: str
) -> None:
    with BedrockQueue(config(batch_size=1000, below_minimum=policy)) as queue:
        queue.enqueue_many(task(number) for number in range(7))
        [job_id] = queue.flush()
        result = queue.await_job(job_id, timeout=PATIENCE_S)
        assert (result.mode, result.status, result.record_count, result.answered) == (mode, status, 7, 7)
        assert sorted(one.record_id for one in queue.get_job_results(job_id)) == [
            f"task-{n}" for n in range(7)
        ]


def test_too_few_tasks_wait_in_the_queue_or_are_an_error(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000, below_minimum="hold")) as queue:
        queue.enqueue_many(task(number) for number in range(99))
        assert queue.flush() == []
        assert queue.get_queue_size() == 99
        queue.enqueue(task(99))
        assert len(queue.flush()) == 1
    with BedrockQueue(config(batch_size=1000, below_minimum="fail")) as queue:
        queue.enqueue(task(1))
        with pytest.raises(TooFewRecordsError, match="1 records"):
            queue.flush()
        assert queue.get_queue_size() == 1


def test_a_cancelled_job_ends_stopped_with_its_records_as_final_errors(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        failed: list[str] = []
        queue.on("job-failed", lambda job_id, _: failed.append(job_id))
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        queue.cancel_job(job_id)
        result = queue.await_job(job_id, timeout=PATIENCE_S)
        assert (result.status, result.answered, result.failed) == ("stopped", 0, 100)
        assert {one.error.code for one in queue.get_job_results(job_id) if one.error} == {"cancelled"}
        queue._now_open.events.deliver()
        assert failed == [job_id]


def test_a_job_that_bedrock_rejects_waits_for_an_operator(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000, model_id="anthropic.unknown")) as queue:
        errors: list[Any] = []
        queue.on("job-failed", lambda job_id, error: errors.append((job_id, str(error))))
        queue.on("error", lambda _: None)
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        with pytest.raises(JobStuckError, match="Batch inference is not supported"):
            queue.await_job(job_id, timeout=PATIENCE_S)
        assert queue.get_job_status(job_id) == "failed"
        [(failed_id, error)] = errors
        assert failed_id == job_id
        assert "not supported" in error


def test_the_day_is_published_again_when_jobs_have_finished_since(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        pipeline, day = queue.config.pipeline(), deployment.ledger.queues.today()

        def job(prefix: str) -> str:
            queue.enqueue_many(task(f"{prefix}{number}") for number in range(100))
            return queue.flush()[0]

        def due() -> list[str]:
            return [row.dataset for row in deployment.ledger.publications.due([queue.name], 10)]

        first = job("a")
        with pytest.raises(NotCompleteError, match="No job"):
            publish_dataset(deployment, pipeline, day)
        queue.await_job(first, timeout=PATIENCE_S)
        assert due() == [day]
        assert publish_dataset(deployment, pipeline, day).records == 100
        queue.await_job(job("b"), timeout=PATIENCE_S)
        assert due() == [], "not within a minute"
        move_clock(deployment, 1)
        third = job("c")
        assert due() == [], "there is something to wait for"
        move_clock(deployment, 14)
        assert due() == [day]
        published = publish_dataset(deployment, pipeline, day)
        assert (published.version, published.records, published.unchanged) == ("v1-2", 200, False)
        assert publish_dataset(deployment, pipeline, day).unchanged
        assert due() == []
        queue.await_job(third, timeout=PATIENCE_S)
        last = publish_dataset(deployment, pipeline, day)
        rows = 0
        for uri in last.files:
            with deployment.objects.random_access(uri) as stream:
                rows += pq.read_metadata(stream).num_rows
        assert (last.version, last.records, rows) == ("v1-3", 300, 300)


def test_a_day_whose_first_jobs_are_all_retryable_is_published_once_it_has_a_row(
    deployment: Deployment, control: Control
) -> None:
    control.add_fault(kind="record_error", error_code=429, record_ids=[f"task-{n}" for n in range(100)])
    with BedrockQueue(config(batch_size=1000)) as queue:
        pipeline, day = queue.config.pipeline(), deployment.ledger.queues.today()
        queue.enqueue_many(task(number) for number in range(100))
        [job] = queue.flush()

        def collected() -> bool:
            queue._now_open.worker.step()
            return deployment.ledger.queues.jobs(queue.name, 1)[0].chunk.collected_at is not None

        until(collected, "the collection of the first attempt")
        move_clock(deployment, 16)
        assert deployment.ledger.publications.due([queue.name], 10) == []
        with pytest.raises(NotCompleteError, match="No job"):
            publish_dataset(deployment, pipeline, day)
        control.clear_faults()
        assert queue.await_job(job, timeout=PATIENCE_S).answered == 100
        assert [row.dataset for row in deployment.ledger.publications.due([queue.name], 10)] == [day]
        assert publish_dataset(deployment, pipeline, day).records == 100


def test_a_job_whose_results_are_lost_keeps_no_other_from_becoming_final(
    deployment: Deployment, control: Control
) -> None:
    """Its counts come from its results, where some of its tasks were sent again."""
    control.add_fault(kind="line_missing", record_ids=["task-1", "task-2"])
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        queue.flush()
        [job] = deployment.ledger.queues.jobs(queue.name, 1)
        queue.await_job(str(job.chunk.chunk_id), timeout=PATIENCE_S)
        [job] = deployment.ledger.queues.jobs(queue.name, 1)
        lost = job.chunk
        assert lost.retryable == 2
        deployment.objects.delete([one.uri for one in deployment.objects.list(f"{lost.parsed_uri}part-")])
        # As if whoever saw that it is final had died before it wrote it down.
        deployment.ledger.database.execute("UPDATE bedrock_pipeline.queue_jobs SET final_at = NULL", ())
        reported: list[Exception] = []
        assert record_final_jobs(deployment, [queue.name], reported.append) == 0
        [error] = reported
        assert f"are not in {lost.parsed_uri}" in str(error)
        queue.enqueue_many(task(number) for number in range(100, 200))
        [later] = queue.flush()
        assert queue.await_job(later, timeout=PATIENCE_S).final
