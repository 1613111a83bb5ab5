"""Nothing more is bought for a chunk that is withdrawn: it was cancelled, or its version was replaced."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from bedrock_pipeline.aws.errors import AwsError, classify
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.ledger.calls import Calls
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.waiting import until


def _launch(deployment: Deployment, **changes: Any) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True, **changes)


def _packed(deployment: Deployment, folder: Path, records: int) -> tuple[Pipeline, ChunkRow]:
    one = pipeline(folder, [f"text {n}" for n in range(records)])
    _launch(deployment)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    return one, _chunk(deployment)


def _chunk(deployment: Deployment) -> ChunkRow:
    [chunk] = deployment.ledger.chunks.of_dataset("p", "d", 1)
    return chunk


def _due(deployment: Deployment) -> list[ChunkRow]:
    return deployment.ledger.submissions.due(["p"], 10)


@pytest.mark.parametrize("withdrawn", ["cancelled", "replaced"])
def test_resolving_without_a_job_ends_a_withdrawn_chunk(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, withdrawn: str
) -> None:
    _, chunk = _packed(deployment, tmp_path, 120)

    def conflict(*_: Any, **__: Any) -> None:
        error = {"Error": {"Code": "ConflictException", "Message": "in use"}}
        raise AwsError("Create failed.", "", classify(ClientError(error, "CreateModelInvocationJob")))  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(BedrockJobs, "create", conflict)
        submit_chunk(deployment, "p", chunk.chunk_key)
        move_clock(deployment, 3600)
        reconcile_in_doubt(deployment)
    assert _chunk(deployment).status == "needs-resolution"
    if withdrawn == "cancelled":
        deployment.ledger.interventions.cancel("p", "d")
    else:
        _launch(deployment, new_version=True)
        shown = deployment.ledger.status_report.unresolved_of_replaced_versions()
        assert shown == [("p", chunk.chunk_key)]
    deployment.ledger.interventions.resolve_without_job(chunk.chunk_id)
    assert _chunk(deployment).status == "stopped"
    assert not _due(deployment)


def test_a_pending_chunk_of_an_earlier_version_is_ended_rather_than_submitted(
    deployment: Deployment, tmp_path: Path
) -> None:
    """However it became pending: it is due, and `intend` ends it; the database rejects any other way to a job."""
    _, chunk = _packed(deployment, tmp_path, 120)
    _launch(deployment, new_version=True)
    deployment.ledger.database.execute(
        """UPDATE bedrock_pipeline.chunks SET status = 'pending', ended_at = NULL, cancel_requested_at = NULL
           WHERE chunk_id = %s""",
        (chunk.chunk_id,),
    )
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
        deployment.ledger.database.execute(
            """UPDATE bedrock_pipeline.chunks
               SET status = 'submitting', intent_id = %s, lease_expires_at = now(), token = 't', frozen_request = '{}'
               WHERE chunk_id = %s""",
            (uuid4(), chunk.chunk_id),
        )
    assert [one.chunk_id for one in _due(deployment)] == [chunk.chunk_id]
    assert isinstance(submit_chunk(deployment, "p", chunk.chunk_key), NotNow)
    assert (_chunk(deployment).status, _chunk(deployment).job_arn) == ("stopped", None)
    assert not _due(deployment)


@pytest.mark.parametrize("dies", [False, True])
def test_responses_to_calls_in_flight_are_kept_when_the_version_is_replaced(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """The process that sends the calls ends the chunk; if it dies, the next one does."""
    one, chunk = _packed(deployment, tmp_path, 20)
    record, sent = Calls.record, 0

    def replaced_first(
        self: Calls, chunk_id: UUID, fence: int, answers: Sequence[tuple[int, bytes]], *, succeeded: int
    ) -> bool:
        nonlocal sent
        if not sent:
            _launch(deployment, new_version=True)
        sent += len(answers)
        recorded = record(self, chunk_id, fence, answers, succeeded=succeeded)
        if dies:
            raise KeyboardInterrupt
        return recorded

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Calls, "record", replaced_first)
        submit_chunk(deployment, "p", chunk.chunk_key)
    if dies:
        assert not _due(deployment)
        move_clock(deployment, 3600)
        assert [one.chunk_id for one in _due(deployment)] == [chunk.chunk_id]
        assert isinstance(submit_chunk(deployment, "p", chunk.chunk_key), NotNow)
    assert 0 < sent < 20
    assert _chunk(deployment).status == "stopped"
    with suppress(JobProblemError):
        collect_chunk(deployment, one, chunk.chunk_key)
    collected = _chunk(deployment)
    assert (collected.answered, bool(collected.cost_usd)) == (sent, True)
    assert not _due(deployment)


@pytest.mark.parametrize("whole", [False, True])
def test_records_that_wait_for_an_operator_end_when_their_chunk_is_cancelled(
    deployment: Deployment, tmp_path: Path, whole: bool
) -> None:
    one, chunk = _packed(deployment, tmp_path, 120)
    submit_chunk(deployment, "p", chunk.chunk_key)
    deployment.jobs.stop(_chunk(deployment).job_arn or "")
    until(lambda: [poll_jobs(deployment), _chunk(deployment).ended][1], "the job's end")
    with pytest.raises(JobProblemError):
        collect_chunk(deployment, one, chunk.chunk_key)
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert left.waits_for == "operator"
    assert _outcomes(deployment) == (left.records, left.records, 0)
    assert "retry them with" in str(deployment.ledger.status_report.chunks("p", "d")[0].why)
    with pytest.raises(JobProblemError):
        collect_chunk(deployment, one, chunk.chunk_key)
    shown = CliRunner().invoke(cli, ["cancel", "p", "d", *(() if whole else ("--chunk", chunk.chunk_key))])
    assert shown.stdout == "cancelled: 1 with retryable records\n", shown.output
    assert CliRunner().invoke(cli, ["cancel", "p", "d"]).stdout == "nothing to cancel\n"
    [ended] = start_retry_round(deployment, one, "d").chunks
    assert (ended.mode, ended.records) == ("none", left.records)
    assert not _due(deployment)
    assert _outcomes(deployment) == (0, 0, left.records)
    assert "retry them with" not in str(deployment.ledger.status_report.chunks("p", "d")[0].why)
    collect_chunk(deployment, one, chunk.chunk_key)  # again, without a problem


def _outcomes(deployment: Deployment) -> tuple[int | None, int, int]:
    """Of the first chunk, as `status` shows it, after a check that its records and those of its dataset add up."""
    report = deployment.ledger.status_report
    dataset, chunk = report.dataset("p", "d"), report.chunks("p", "d")[0]
    assert dataset is not None
    assert dataset.failed == sum(dataset.failed_by_code.values())
    assert (dataset.retryable, dataset.waiting_records) == (chunk.retryable, chunk.waiting_records)
    outcomes = (chunk.answered, sum(chunk.failed_by_code.values()), chunk.retryable, chunk.retried)
    assert chunk.records == sum(filter(None, outcomes))
    return chunk.retryable, chunk.waiting_records, chunk.retried


def test_cancel_names_a_chunk_that_does_not_exist_and_says_that_a_launch_is_cancelled(
    deployment: Deployment,
) -> None:
    _launch(deployment)
    typo = CliRunner().invoke(cli, ["cancel", "p", "d", "--chunk", "typo"])
    assert typo.exit_code != 0
    assert isinstance(typo.exception, NotFoundError | SystemExit)
    with pytest.raises(NotFoundError, match="no chunk 'typo'"):
        deployment.ledger.interventions.cancel("p", "d", "typo")
    assert CliRunner().invoke(cli, ["cancel", "p", "d"]).stdout == "cancelled: 1 launch\n"
