"""A job of a queue is cancelled, or rejected, in a later attempt; other jobs may be in the same retry round."""

from collections import Counter
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control, EmulatorProcess
from bedrock_pipeline.errors import JobStuckError
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.queue import BedrockQueue
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.queue.test_queue import config, task
from bedrock_pipeline_tests.waiting import PATIENCE_S, until

#: From this hour on, hours that a test lets pass would end in another day of its queue.
_LATE = 20


@pytest.fixture
def control(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Control]:
    """A Bedrock of this test's own, so that its faults are nobody else's; and a day of which some hours are left."""
    hour = int(
        deployment.ledger.database.fetch(
            "SELECT extract(hour FROM bedrock_pipeline.now() AT TIME ZONE 'UTC') AS hour"
        )[0]["hour"]
    )
    if hour >= _LATE:
        move_clock(deployment, (24 - hour) * 3600)
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


def _flushed(queue: BedrockQueue, tasks: int, prefix: str = "task") -> str:
    queue.enqueue_many(task(number, f"{prefix} {number}") for number in range(tasks))
    [job] = queue.flush()
    return job


def _collect(deployment: Deployment, queue: BedrockQueue, attempt: int) -> None:
    """Until every chunk of an attempt is collected; no retry round is started."""
    day, worker = deployment.ledger.queues.today(), queue._now_open.worker

    def done() -> bool:
        worker._submit()
        worker._poll()
        worker._collect()
        chunks = [c for c in deployment.ledger.chunks.of_dataset(queue.name, day, 1) if c.attempt == attempt]
        return bool(chunks) and all(chunk.collected_at for chunk in chunks)

    until(done, f"the collection of attempt {attempt}")


def _codes(queue: BedrockQueue, job: str) -> Counter[str | None]:
    return Counter(one.error.code if one.error else None for one in queue.get_job_results(job))


def test_a_job_whose_later_attempt_is_rejected_says_so_and_is_continued_as_a_whole(
    control: Control,
) -> None:
    control.add_fault(kind="record_error", error_code=429, record_ids=["task-1", "task-2"])
    control.add_fault(kind="error", operation="InvokeModel", error="AccessDeniedException")
    with BedrockQueue(config(batch_size=1000)) as queue:
        failed: list[str] = []
        queue.on("job-failed", lambda job_id, error: failed.append(f"{job_id} {error}"))
        queue.on("error", lambda _: None)
        job = _flushed(queue, 100)
        with pytest.raises(JobStuckError, match="--r2-00000 is failed: AccessDeniedException"):
            queue.await_job(job, timeout=PATIENCE_S)
        queue._now_open.events.deliver()
        [report] = failed
        assert report.startswith(job)
        assert "AccessDenied" in report
        assert [one.name for one in queue.events() if one.job_id == job][-1] == "job-failed"
        control.clear_faults()
        retried = CliRunner().invoke(cli, ("retry", job))
        assert "1 rejected chunks" in retried.stdout, retried.output
        result = queue.await_job(job, timeout=PATIENCE_S)
        assert (result.status, result.answered, result.stuck) == ("completed", 100, None)


@pytest.mark.parametrize(
    ("policy", "left", "retrying"), [("hold", 2, True), ("on_demand", 150, False), ("on_demand", 150, True)]
)
def test_a_job_that_is_cancelled_buys_nothing_more_and_is_final(
    deployment: Deployment, control: Control, policy: str, left: int, retrying: bool
) -> None:
    """Its retryable records wait for others, for the next retry round, or in a pending chunk of that round."""
    control.add_fault(kind="line_missing", record_ids=[f"task-{number}" for number in range(left)])
    with BedrockQueue(config(batch_size=1000, below_minimum=policy)) as queue:
        job = _flushed(queue, 300)
        _collect(deployment, queue, 1)
        if retrying:
            queue._now_open.worker._retry()
        assert (queue.get_job(job).stuck is not None) == (policy == "hold")
        queue.cancel_job(job)
        control.clear_faults()
        result = queue.await_job(job, timeout=PATIENCE_S)
        assert (result.final, result.answered, result.failed) == (True, 300 - left, left)
        assert _codes(queue, job) == {None: 300 - left, "cancelled": left}
        assert len(control.jobs()) == 1


def test_a_day_that_is_cancelled_stays_cancelled_when_more_is_flushed(
    deployment: Deployment, control: Control
) -> None:
    control.add_fault(kind="line_missing", record_ids=[f"task-{number}" for number in range(150)])
    with BedrockQueue(config(batch_size=1000)) as queue:
        first = _flushed(queue, 300)
        _collect(deployment, queue, 1)
        day = deployment.ledger.queues.today()
        assert CliRunner().invoke(cli, ("cancel", queue.name, day)).exit_code == 0
        control.clear_faults()
        second = _flushed(queue, 120, "second")
        results = queue.await_jobs([first, second], timeout=PATIENCE_S)
        assert [(one.answered, one.failed) for one in results] == [(150, 150), (120, 0)]
        assert _codes(queue, first) == {None: 150, "cancelled": 150}
        assert len(control.jobs()) == 2


@pytest.mark.parametrize("policy", ["on_demand", "pad", "fail"])
def test_of_two_jobs_in_one_retry_round_only_the_cancelled_one_ends(
    deployment: Deployment, control: Control, policy: str
) -> None:
    """What is left of the other is below the minimum, and follows the policy."""
    control.add_fault(kind="line_missing", record_ids=[f"task-{number}" for number in range(120)])
    with BedrockQueue(config(batch_size=1000, max_record_attempts=5, below_minimum=policy)) as queue:
        jobs = [_flushed(queue, 200, prefix) for prefix in ("first", "second")]
        _collect(deployment, queue, 1)
        move_clock(deployment, 3600)
        queue._now_open.worker._retry()
        control.clear_faults()
        control.add_fault(kind="line_missing", rate=0.5)
        _collect(deployment, queue, 2)
        day = deployment.ledger.queues.today()
        [shared] = [c for c in deployment.ledger.chunks.of_dataset(queue.name, day, 1) if c.attempt == 2]
        assert shared.records == 240
        assert shared.retryable
        queue.cancel_job(jobs[0])
        control.clear_faults()
        cancelled, other = queue.await_jobs(jobs, timeout=PATIENCE_S)
        others = _codes(queue, jobs[1])
        unsent = others["below-minimum"]
        assert (unsent > 0) == (policy == "fail")
        assert others == Counter({None: 200 - unsent, "below-minimum": unsent})
        assert (other.final, other.answered, other.failed) == (True, 200 - unsent, unsent)
        codes = _codes(queue, jobs[0])
        assert set(codes) == {None, "cancelled"}
        assert (cancelled.answered, cancelled.failed) == (codes[None], codes["cancelled"])
        sent = sum(
            chunk.records
            for chunk in deployment.ledger.chunks.of_dataset(queue.name, day, 1)
            if chunk.attempt == 3 and chunk.mode != "none"
        )
        assert sent + codes["cancelled"] + unsent == shared.retryable
