"""The settings' region or account was changed: jobs stay where they were submitted, and are followed there."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.deployment import Bedrock, Deployment, open_deployment
from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.models.quota_group import JobPlace, QuotaGroup
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs, stop_jobs
from bedrock_pipeline.submit.reconcile import give_up_job, reconcile_in_doubt, sweep_account
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import CLAUDE, pipeline
from bedrock_pipeline_tests.waiting import until

_ROLE = "arn:aws:iam::999999999999:role/BedrockBatch"


@pytest.fixture
def moved(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The same deployment, whose settings name another region since; each region has an emulator of its own."""
    ends = stack_endpoints
    with EmulatorProcess(
        tmp_path_factory.mktemp("e"),
        ends.s3_endpoint_url,
        ends.access_key_id,
        ends.secret_access_key,
        ("--speed", "2000"),
        region="eu-west-1",
    ) as emulator:
        settings = deployment.settings.model_copy(
            update={"region": "eu-west-1", "bedrock_endpoint_url": emulator.url}
        )
        before = {"us-east-1": Bedrock(deployment.jobs, deployment.runtime)}
        with open_deployment(settings) as opened:
            yield replace(opened, elsewhere=before.__getitem__)


def _packed(deployment: Deployment, folder: Path, name: str, chunks: int) -> list[ChunkRow]:
    limits = Limits(min_records=50, max_records=100)
    one = pipeline(folder, [f"t{n}" for n in range(100 * chunks)], name=name, limits=limits)
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    return deployment.ledger.chunks.of_dataset(name, "d", 1)


def _submitted(deployment: Deployment, chunk: ChunkRow) -> str:
    outcome = submit_chunk(deployment, chunk.pipeline, chunk.chunk_key)
    assert isinstance(outcome, Submitted)
    return outcome.job_arn


def _in_doubt(deployment: Deployment, chunk: ChunkRow) -> None:
    """A process died between its intent and its Create."""
    taken = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)
    move_clock(deployment, 3600)


def test_jobs_are_followed_in_the_region_in_which_they_were_submitted(
    deployment: Deployment, moved: Deployment, work: Path
) -> None:
    deployment.ledger.quota_groups.set_max_jobs(QuotaGroup(CLAUDE, "us-east-1", "123456789012"), 1)
    first, second, third = _packed(deployment, work, "before", 3)
    [new] = _packed(moved, work, "after", 1)
    old = _submitted(moved, first)
    assert moved.ledger.submissions.due(["before"], 9) == []
    assert [chunk.pipeline for chunk in moved.ledger.submissions.due(["after"], 9)] == ["after"]
    arns = {old, _submitted(moved, new)}
    assert {JobPlace.of(arn).region for arn in arns} == {"us-east-1", "eu-west-1"}
    assert sweep_account(moved).unknown_to_bedrock == []
    ended: set[str | None] = set()

    def all_ended() -> bool:
        report = poll_jobs(moved)
        assert (report.unknown, report.errors, report.unreachable) == ([], [], [])
        ended.update(chunk.job_arn for chunk in report.changed if chunk.ended)
        return ended == arns

    until(all_ended, "the end of both jobs")
    _in_doubt(moved, second)
    assert reconcile_in_doubt(moved).sent_again == [second.chunk_key]
    assert (
        JobPlace.of(moved.ledger.chunks.by_key("before", second.chunk_key).job_arn or "").region
        == "us-east-1"
    )
    assert third.chunk_key not in {chunk.chunk_key for chunk in moved.ledger.submissions.due(["before"], 9)}


def test_a_region_that_cannot_be_listed_concerns_its_own_jobs_and_is_named_by_status(
    deployment: Deployment, moved: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = _packed(deployment, work, "before", 1)
    [after] = _packed(moved, work, "after", 1)
    old, new = _submitted(deployment, before), _submitted(moved, after)

    def denied(**_: object) -> list[object]:
        raise AwsError("Could not list Bedrock's jobs: AccessDeniedException.")

    with monkeypatch.context() as patch:
        patch.setattr(deployment.jobs, "list", denied)
        until(
            lambda: new in {one.job_arn for one in poll_jobs(moved).changed if one.ended}, "the new job's end"
        )
        report = poll_jobs(moved)
        assert ["AccessDenied" in str(error) for error in report.errors] == [True]
        assert old in {job.job_arn for job in moved.ledger.jobs.in_flight()}
        assert "AccessDenied" in sweep_account(moved).errors[0]
        shown = CliRunner().invoke(cli, ("status",))
        assert "The jobs in us-east-1 could not be listed since" in shown.stdout
    assert report.in_flight == 1
    until(lambda: not poll_jobs(moved).in_flight, "the old job's end")
    assert "could not be listed" not in CliRunner().invoke(cli, ("status",)).stdout


def test_jobs_of_another_account_are_named_and_given_up_by_an_operator_alone(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [chunk, doubtful] = _packed(deployment, work, "before", 2)
    arn = _submitted(deployment, chunk)
    _in_doubt(deployment, doubtful)
    monkeypatch.setenv("BEDROCK_PIPELINE_ROLE_ARN", _ROLE)
    changed = replace(deployment, settings=deployment.settings.model_copy(update={"role_arn": _ROLE}))
    report = poll_jobs(changed)
    assert (report.in_flight, report.unreachable, report.unknown) == (1, [arn], [])
    assert str(sweep_account(changed)) == ""
    assert str(reconcile_in_doubt(changed)) == "", "only its own account's List can settle it"
    assert changed.ledger.chunks.by_key("before", doubtful.chunk_key).status == "submitting"
    [error] = stop_jobs(changed, [arn])
    assert "another account" in str(error)
    assert f"resolve before {chunk.chunk_key} --lost" in CliRunner().invoke(cli, ("status",)).stdout
    given_up = CliRunner().invoke(cli, ("resolve", "before", chunk.chunk_key, "--lost"))
    assert given_up.exit_code == 0, given_up.output
    assert changed.ledger.chunks.by_key("before", chunk.chunk_key).status == "stopped"
    assert f"resolve before {doubtful.chunk_key} --lost" in CliRunner().invoke(cli, ("status",)).stdout
    given_up = CliRunner().invoke(cli, ("resolve", "before", doubtful.chunk_key, "--lost"))
    assert given_up.exit_code == 0, given_up.output
    assert changed.ledger.chunks.by_key("before", doubtful.chunk_key).status == "stopped"
    assert "--lost" not in CliRunner().invoke(cli, ("status",)).stdout


@pytest.mark.parametrize("needs_resolution", [False, True])
def test_a_submission_in_a_region_that_cannot_be_listed_may_be_given_up(
    deployment: Deployment,
    moved: Deployment,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    needs_resolution: bool,
) -> None:
    """While it can be listed, List settles the submission; afterwards an operator decides what its records wait for."""
    [chunk] = _packed(deployment, work, "before", 1)
    _in_doubt(deployment, chunk)
    if needs_resolution:
        assert deployment.ledger.submissions.need_resolution(chunk.chunk_id, 1, reason="two jobs")
    with pytest.raises(StateError, match="has no job"):
        give_up_job(moved, chunk)

    def denied(*_: object) -> list[object]:
        raise AwsError("Could not list Bedrock's jobs: AccessDeniedException.")

    monkeypatch.setattr(deployment.jobs, "find", denied)
    moved.ledger.jobs.record_reached("us-east-1", "AccessDeniedException")
    reach = moved.settings.region, moved.settings.account
    assert [one.chunk_key for one in moved.ledger.submissions.out_of_reach(*reach)] == [chunk.chunk_key]
    give_up_job(moved, chunk)
    assert moved.ledger.submissions.out_of_reach(*reach) == []
    one = pipeline(work, [f"t{n}" for n in range(100)], name="before")
    with pytest.raises(JobProblemError):
        collect_chunk(moved, one, chunk.chunk_key)
    [left] = moved.ledger.retry_rounds.open_of("before", "d", 1)
    assert (left.records, left.waits_for) == (100, "operator")
