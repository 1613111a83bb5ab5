"""Polling: every job in flight is followed, and what goes wrong with one job concerns that job alone."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from bedrock_pipeline.aws.errors import AwsError, Classification
from bedrock_pipeline.aws.jobs import JobSummary
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import ENDED
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs, stop_jobs
from bedrock_pipeline.submit.reconcile import sweep_account
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.journey.driven import pipeline

_NO_JOB = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/aaaaaaaaaaaa"
_LIMITS = Limits(min_records=50, max_records=100, max_jobs=5)


def packed(
    deployment: Deployment, folder: Path, chunks: int, name: str = "p", limits: Limits = _LIMITS
) -> list[ChunkRow]:
    one = pipeline(folder, [f"t{n}" for n in range(100 * chunks)], name=name, limits=limits)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    return deployment.ledger.chunks.of_dataset(name, "d", 1)


def submitted(deployment: Deployment, chunk: ChunkRow) -> str:
    outcome = submit_chunk(deployment, chunk.pipeline, chunk.chunk_key)
    assert isinstance(outcome, Submitted)
    return outcome.job_arn


def lost(deployment: Deployment, chunk: ChunkRow) -> None:
    """The ledger has a job that Bedrock does not know, as after a move to another account."""
    taken = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)
    assert deployment.ledger.submissions.record_accepted(chunk.chunk_id, taken.fence, _NO_JOB)


def test_a_stop_that_fails_does_not_keep_other_jobs_from_being_stopped(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = packed(deployment, work, 3)
    lost(deployment, first)
    arns = {submitted(deployment, chunk) for chunk in (second, third)}
    requested: list[str] = []
    stop = deployment.jobs.stop

    def recorded(job_arn: str) -> None:
        requested.append(job_arn)
        stop(job_arn)

    monkeypatch.setattr(deployment.jobs, "stop", recorded)
    listed = [replace(job, status="InProgress") for job in deployment.jobs.list() if job.arn in arns]
    monkeypatch.setattr(deployment.jobs, "list", lambda **_: iter(listed))  # they run for long
    deployment.ledger.interventions.cancel("p", "d")
    report = poll_jobs(deployment)
    assert set(requested) == {_NO_JOB, *arns}
    assert report.unknown == [_NO_JOB]
    assert [_NO_JOB in str(error) for error in report.errors] == [True]


def test_a_get_that_is_denied_is_reported_and_the_others_are_recorded(
    deployment: Deployment, control: Control, work: Path
) -> None:
    first, second = packed(deployment, work, 2)
    lost(deployment, first)
    arn = submitted(deployment, second)
    control.add_fault("error", operation="GetModelInvocationJob", error="AccessDeniedException")
    while not deployment.ledger.chunks.by_key("p", second.chunk_key).ended:
        report = poll_jobs(deployment)
        assert report.unknown == []
        assert ["AccessDenied" in str(error) for error in report.errors] == [True]
        assert arn not in str(report.errors)


def test_a_connection_that_is_lost_during_a_poll_ends_it(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each further job would wait for it as long."""
    [chunk] = packed(deployment, work, 1)
    lost(deployment, chunk)

    def away(_: str) -> None:
        found = Classification(ErrorKind.TRANSIENT, "EndpointConnectionError", "nobody responds")
        raise AwsError("Could not get the job.", "", found)

    monkeypatch.setattr(deployment.jobs, "get", away)
    with pytest.raises(AwsError, match="Could not get the job"):
        poll_jobs(deployment)
    monkeypatch.setattr(deployment.jobs, "stop", away)
    with pytest.raises(AwsError, match="Could not get the job"):
        stop_jobs(deployment, [_NO_JOB])


def test_a_status_that_is_new_counts_as_in_flight(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = packed(deployment, work, 2)
    new, known = submitted(deployment, first), submitted(deployment, second)
    statuses = {new: "Hibernating", known: "Completed"}

    def listed(**_: object) -> Iterator[JobSummary]:
        job = deployment.jobs.get(new)
        yield replace(job, arn="theirs", name="theirs", status="Hibernating")
        for arn, status in statuses.items():
            yield replace(deployment.jobs.get(arn), status=status)

    monkeypatch.setattr(deployment.jobs, "list", listed)
    report = poll_jobs(deployment)
    assert [chunk.job_arn for chunk in report.changed] == [known]
    assert ["'Hibernating'" in str(error) and new in str(error) for error in report.errors] == [True]
    assert deployment.ledger.chunks.by_key("p", first.chunk_key).ended_at is None
    assert sweep_account(deployment).errors == []
    [group] = deployment.ledger.database.fetch("SELECT others FROM bedrock_pipeline.quota_groups")
    assert group["others"] == 1


def test_jobs_of_a_pipeline_that_no_code_knows_give_their_slots_back(
    deployment: Deployment, work: Path
) -> None:
    """Nobody names the pipelines whose jobs are polled, reconciled or swept."""
    [removed] = packed(deployment, work, 1)
    [waiting] = packed(deployment, work, 1, name="renamed")
    deployment.ledger.quota_groups.set_max_jobs(QuotaGroup.of(removed.quota_group), 1)
    submitted(deployment, removed)
    assert deployment.ledger.submissions.due(["renamed"], 9) == []
    while not deployment.ledger.submissions.due(["renamed"], 9):
        poll_jobs(deployment)
    submitted(deployment, waiting)


def test_a_job_that_bedrock_does_not_know_is_given_up_by_an_operator(
    deployment: Deployment, work: Path
) -> None:
    first, second = packed(deployment, work, 2)
    lost(deployment, first)
    submitted(deployment, second)
    rejected = CliRunner().invoke(cli, ("resolve", "p", second.chunk_key, "--lost"))
    assert rejected.exit_code == 1
    assert "Bedrock has job" in rejected.output
    assert "wait for its end" in rejected.output
    assert sweep_account(deployment).unknown_to_bedrock == [_NO_JOB]
    given_up = CliRunner().invoke(cli, ("resolve", "p", first.chunk_key, "--lost"))
    assert given_up.exit_code == 0, given_up.output
    assert _NO_JOB not in {job.job_arn for job in deployment.ledger.jobs.in_flight()}
    one = pipeline(work, [f"t{n}" for n in range(200)], limits=_LIMITS)
    with pytest.raises(JobProblemError, match="100 records wait"):
        collect_chunk(deployment, one, first.chunk_key)
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert left.waits_for == "operator", "nothing is bought again unasked"
    assert deployment.ledger.interventions.release("p", "d") == (100, False)


def test_a_job_that_has_ended_is_not_given_up(deployment: Deployment, work: Path) -> None:
    [chunk] = packed(deployment, work, 1)
    submitted(deployment, chunk)
    while (found := deployment.ledger.chunks.by_key("p", chunk.chunk_key)).status not in ENDED:
        poll_jobs(deployment)
    rejected = CliRunner().invoke(cli, ("resolve", "p", chunk.chunk_key, "--lost"))
    assert (rejected.exit_code, "A job that has ended is not lost" in rejected.output) == (1, True)
    assert deployment.ledger.chunks.by_key("p", chunk.chunk_key) == found


def test_only_a_job_of_the_chunk_resolves_it(deployment: Deployment, work: Path) -> None:
    first, second = packed(deployment, work, 2)
    taken = deployment.ledger.submissions.intend(
        first.chunk_id, uuid4(), request=first.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)
    deployment.ledger.submissions.need_resolution(first.chunk_id, taken.fence, reason="two jobs")
    other = submitted(deployment, second)
    rejected = CliRunner().invoke(cli, ("resolve", "p", first.chunk_key, "--job", other))
    assert rejected.exit_code == 1
    said = " ".join(rejected.output.split())
    assert f"the name of the job of chunk {first.chunk_key} ends in {first.chunk_id}" in said
    arn = deployment.jobs.create(first.request, "anothertoken" + uuid4().hex, deadline=time.monotonic() + 60)
    assert CliRunner().invoke(cli, ("resolve", "p", first.chunk_key, "--job", arn)).exit_code == 0
    chunk = deployment.ledger.chunks.by_key("p", first.chunk_key)
    assert (chunk.job_arn, chunk.submitted_at) == (arn, deployment.jobs.get(arn).submitted_at)
