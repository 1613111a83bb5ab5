"""Conflicts on Create, and a List that fails: what the other chunks do meanwhile."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from bedrock_pipeline.aws.clients import reading_client
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.jobs import Found, JobSummary
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import (
    InDoubt,
    NeedsResolutionError,
    Requeued,
    Submitted,
    submit_chunk,
)
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline


def _packed(deployment: Deployment, work: Path) -> str:
    [key] = _packed_chunks(deployment, work, 1)
    return key


def _packed_chunks(deployment: Deployment, work: Path, chunks: int) -> list[str]:
    one = pipeline(
        work, [f"t{n}" for n in range(100 * chunks)], limits=Limits(min_records=50, max_records=100)
    )
    take_snapshot(deployment, one, "d")
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]


def _intend(deployment: Deployment, chunk_key: str) -> None:
    chunk = deployment.ledger.chunks.by_key("p", chunk_key)
    taken = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)


@pytest.mark.parametrize("after", ["current", "late", "denied"])
def test_a_conflict_with_the_chunks_own_job_is_settled_by_list(
    deployment: Deployment, work: Path, control: Control, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """The job appears between List and Create, as after a request that was on its way for long."""
    key = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    name, find, looks = chunk.request["jobName"], deployment.jobs.find, itertools.count()

    def found(asked: UUID) -> Found:
        if next(looks) == 0:
            token = deployment.ledger.chunks.by_key("p", key).token or ""
            deployment.jobs.create(chunk.request, token, deadline=time.monotonic() + 60)
            control.add_fault(
                "error",
                operation="CreateModelInvocationJob",
                error="ConflictException",
                job_name=name,
                times=1,
            )
            return Found([], None)
        if after == "denied":
            raise AwsError("Could not list Bedrock's jobs: AccessDeniedException.")
        return find(asked) if after == "current" else Found([], None)

    with monkeypatch.context() as patch:
        patch.setattr(deployment.jobs, "find", found)
        patch.setattr(deployment.jobs, "list", lambda **_: iter(()))
        outcome = submit_chunk(deployment, "p", key)
    if after != "current":
        assert isinstance(outcome, InDoubt)
        assert "ConflictException" in outcome.reason
        assert deployment.ledger.submissions.due(["p"], 9) == []
        move_clock(deployment, 3600)
        assert reconcile_in_doubt(deployment).adopted == [key]
    job_arn = deployment.ledger.chunks.by_key("p", key).job_arn
    assert [job.arn for job in deployment.jobs.find(chunk.chunk_id).jobs] == [job_arn]


def test_a_conflict_about_the_token_finds_the_job_that_has_it(
    deployment: Deployment, work: Path, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    control.add_fault("error", operation="CreateModelInvocationJob", error="ConflictException")
    listed = deployment.jobs.list
    other = JobSummary(
        "arn:1", "renamed", chunk.model_id, None, "Submitted", None, datetime.now(UTC), 0, 0, 0, 0
    )

    def with_another(**filters: Any) -> Iterator[JobSummary]:
        yield from listed(**filters)
        token = deployment.ledger.chunks.by_key("p", key).token
        yield from (
            other,
            replace(other, arn="arn:2", token="another"),
            replace(other, arn="arn:3", token=token),
        )

    monkeypatch.setattr(deployment.jobs, "list", with_another)
    outcome = submit_chunk(deployment, "p", key)
    assert isinstance(outcome, Submitted)
    assert (outcome.job_arn, outcome.adopted) == ("arn:3", True)


def test_a_conflict_that_list_never_explains_needs_an_operator(
    deployment: Deployment, work: Path, control: Control
) -> None:
    key = _packed(deployment, work)
    control.add_fault("error", operation="CreateModelInvocationJob", error="ConflictException")
    assert isinstance(submit_chunk(deployment, "p", key), InDoubt)
    assert str(reconcile_in_doubt(deployment)) == "", "not before the consistency window has ended"
    move_clock(deployment, 3600)
    assert reconcile_in_doubt(deployment).needs_resolution == [key]
    with pytest.raises(NeedsResolutionError, match="ConflictException"):
        submit_chunk(deployment, "p", key)


def test_chunks_of_a_group_do_not_each_call_list_while_it_is_throttled(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _packed_chunks(deployment, work, 4)
    looks: list[str] = []

    def throttled(name: str) -> Found:
        looks.append(name)
        raise AwsError("Could not list Bedrock's jobs: ThrottlingException.")

    monkeypatch.setattr(deployment.jobs, "find", throttled)
    assert isinstance(submit_chunk(deployment, "p", keys[0]), Requeued)
    assert all(isinstance(submit_chunk(deployment, "p", key), NotNow) for key in keys[1:])
    assert deployment.ledger.submissions.due(["p"], 9) == []
    move_clock(deployment, 3600)
    assert len(deployment.ledger.submissions.due(["p"], 9)) == 1, "one probe for all of them"
    assert len(looks) == 1


def test_submissions_in_doubt_do_not_each_wait_for_a_list_that_fails(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = _packed_chunks(deployment, work, 3)
    for key in keys:
        _intend(deployment, key)
    move_clock(deployment, 3600)
    looks: list[str] = []

    def throttled(name: str) -> Found:
        looks.append(name)
        raise AwsError("Could not list Bedrock's jobs: ThrottlingException.")

    with monkeypatch.context() as patch:
        patch.setattr(deployment.jobs, "find", throttled)
        assert len(reconcile_in_doubt(deployment).still_in_doubt) == 1
    assert len(looks) == 1
    assert len(reconcile_in_doubt(deployment).sent_again) == len(keys) - 1 > 0, "the others are not behind it"


@pytest.mark.parametrize("mode", ["adaptive", "standard", "legacy"])
def test_a_throttled_list_gives_up_within_a_tick(
    deployment: Deployment, control: Control, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The SDK sleeps between its attempts, and in adaptive mode before each request; Dagster ends a tick after a minute."""
    settings = deployment.settings.model_copy(update={"retry_mode": mode, "max_attempts": 10})
    control.add_fault("error", operation="ListModelInvocationJobs", error="ThrottlingException")
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with open_deployment(settings) as opened, pytest.raises(AwsError, match="Throttling"):
        opened.jobs.find(uuid4())
    assert [fault["struck"] for fault in control.faults()] == [3]
    assert sum(slept) < 20
    read_timeout: float = getattr(reading_client(settings).meta.config, "read_timeout")  # noqa: B009  # not in its stubs
    assert read_timeout * 3 + sum(slept) < 60
