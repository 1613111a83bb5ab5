"""Each safeguard of a submission by itself: what it prevents, seen at the service. `faults/mutants.py` takes them out."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_pipeline.aws.clients import creating_client
from bedrock_pipeline.aws.errors import AwsError, LeaseOverError
from bedrock_pipeline.aws.jobs import Found, JobSummary
from bedrock_pipeline.aws.objects import ObjectInfo
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import (
    InDoubt,
    NeedsResolutionError,
    Requeued,
    SubmissionRejectedError,
    Submitted,
    settle,
    submit_chunk,
)
from bedrock_pipeline.system import System
from bedrock_pipeline_tests.faults.worker import move_clock


@pytest.fixture
def intent(deployment: Deployment, work: Path) -> Intent:
    """A chunk of which this process has taken the slot."""
    return _intend(deployment, _packed(deployment, work))


def _packed(deployment: Deployment, work: Path) -> str:
    [key] = _packed_chunks(deployment, work, 1)
    return key


def _packed_chunks(deployment: Deployment, work: Path, chunks: int) -> list[str]:
    one = _pipeline(work, 100 * chunks)
    take_snapshot(deployment, one, "d")
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]


def _pipeline(work: Path, records: int) -> Pipeline:
    path = work / "rows.csv"
    path.write_text("id,text\n" + "".join(f"r{n},t{n}\n" for n in range(records)))
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=199),
        }
    )


def _intend(deployment: Deployment, chunk_key: str) -> Intent:
    chunk = deployment.ledger.chunks.by_key("p", chunk_key)
    taken = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)
    return taken


def _jobs_named(deployment: Deployment, name: str) -> int:
    return len(deployment.jobs.find(UUID(name[-36:])).jobs)


def test_nothing_is_sent_when_the_lease_is_over(deployment: Deployment, intent: Intent) -> None:
    with suppress(LeaseOverError):
        deployment.jobs.create(intent.request, intent.token, deadline=time.monotonic() - 1)
    assert _jobs_named(deployment, intent.request["jobName"]) == 0


def test_a_lease_that_is_over_holds_up_no_other_chunk(deployment: Deployment, work: Path) -> None:
    """This process was slow: the quota group was not throttled."""
    first, second = _packed_chunks(deployment, work, 2)
    clock = iter([0.0])
    late = System(monotonic=lambda: next(clock, 3600.0))
    outcome = submit_chunk(replace(deployment, system=late), "p", first)
    assert isinstance(outcome, Requeued)
    assert "lease" in outcome.reason
    [group] = deployment.ledger.quota_groups.all()
    assert (group.used, group.backoff_until) == (0, None)
    assert isinstance(submit_chunk(deployment, "p", second), Submitted)


def test_a_job_of_this_name_that_the_ledger_forgot_is_not_bought_again(
    deployment: Deployment, work: Path
) -> None:
    chunk_key = _packed(deployment, work)
    request = deployment.ledger.chunks.by_key("p", chunk_key).request
    deployment.jobs.create(request, "a-token-that-the-ledger-never-knew", deadline=time.monotonic() + 60)
    with suppress(NeedsResolutionError):
        submit_chunk(deployment, "p", chunk_key)
    assert _jobs_named(deployment, request["jobName"]) == 1
    assert deployment.ledger.chunks.by_key("p", chunk_key).status == "needs-resolution"


@pytest.mark.parametrize(
    ("tokens", "adopted"),
    [
        (["own"], True),
        ([None], True),  # List does not always show it
        (["another"], False),
        (["own", "another"], False),
        (["another", "own"], False),
        (["own", None], False),
    ],
    ids=str,
)
def test_only_a_single_job_of_the_token_is_adopted(
    deployment: Deployment, intent: Intent, tokens: list[str | None], adopted: bool
) -> None:
    jobs = [
        JobSummary(
            arn=f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{number}",
            name=intent.request["jobName"],
            model_id=intent.chunk.model_id,
            token=intent.token if token == "own" else token,
            status="Submitted",
            message=None,
            submitted_at=datetime.now(UTC),
            total=0,
            processed=0,
            succeeded=0,
            errors=0,
        )
        for number, token in enumerate(tokens)
    ]
    if adopted:
        assert isinstance(settle(deployment, intent, jobs), Submitted)
        assert deployment.ledger.chunks.by_key("p", intent.chunk.chunk_key).job_arn == jobs[0].arn
        return
    with pytest.raises(NeedsResolutionError, match=jobs[-1].arn):
        settle(deployment, intent, jobs)
    chunk = deployment.ledger.chunks.by_key("p", intent.chunk.chunk_key)
    assert (chunk.status, chunk.job_arn) == ("needs-resolution", None)


def test_a_job_whose_name_began_otherwise_is_the_chunks_all_the_same(
    deployment: Deployment, work: Path
) -> None:
    """The prefix of names was changed, and the ledger restored from before the job."""
    chunk = deployment.ledger.chunks.by_key("p", _packed(deployment, work))
    request = chunk.request | {"jobName": f"team-{chunk.request['jobName']}"}
    deployment.jobs.create(request, uuid4().hex, deadline=time.monotonic() + 60)
    with suppress(NeedsResolutionError):
        submit_chunk(deployment, "p", chunk.chunk_key)
    assert _jobs_named(deployment, request["jobName"]) == 1
    assert deployment.ledger.chunks.by_key("p", chunk.chunk_key).status == "needs-resolution"


def test_a_submission_in_doubt_is_left_alone_until_list_can_be_believed(
    deployment: Deployment, intent: Intent
) -> None:
    submissions, chunk_id = deployment.ledger.submissions, intent.chunk.chunk_id
    submissions.mark_in_doubt(chunk_id, intent.fence, reason="the answer was lost")
    consistency_window, lease = timedelta(minutes=20), timedelta(seconds=60)

    def acquired_after(waited: timedelta) -> tuple[int, bool]:
        deployment.ledger.database.execute(
            "UPDATE bedrock_pipeline.deployment SET clock_offset = %s", (waited,)
        )
        acquired = len(submissions.to_reconcile(consistency_window, 10))
        taken = submissions.intend_again(
            chunk_id, intent.fence, uuid4(), consistency_window=consistency_window, lease=lease
        )
        return acquired, taken is not None

    assert acquired_after(lease + consistency_window - timedelta(seconds=30)) == (0, False)
    assert acquired_after(lease + consistency_window + timedelta(seconds=1)) == (1, True)


def test_a_create_is_signed_with_version_4_even_where_a_bearer_token_is_set(
    deployment: Deployment, intent: Intent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bearer token does not expire within minutes, so that a delayed request could arrive after the consistency window."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-long-lived-key")
    client, seen = creating_client(deployment.settings), list[str]()

    def look(request: object, **_: object) -> None:
        header = getattr(request, "headers")["Authorization"]  # noqa: B009  # botocore's request has no public type
        seen.append(header.decode() if isinstance(header, bytes) else header)

    client.meta.events.register("before-send.bedrock.CreateModelInvocationJob", look)
    with suppress(ClientError, BotoCoreError):  # what is sent is looked at, not what comes back
        client.create_model_invocation_job(**intent.request, clientRequestToken=intent.token)
    assert [header.split()[0] for header in seen] == ["AWS4-HMAC-SHA256"]


@pytest.mark.parametrize(
    ("error", "became"),
    [
        ("ThrottlingException", "pending"),
        ("ServiceQuotaExceededException", "pending"),
        ("InternalServerException", "in-doubt"),
        ("ValidationException", "failed"),
        ("AccessDeniedException", "failed"),
        ("ResourceNotFoundException", "failed"),
        ("ConflictException", "in-doubt"),
    ],
)
def test_a_create_is_one_http_request_and_each_error_means_something(
    deployment: Deployment, work: Path, control: Control, error: str, became: str
) -> None:
    """The SDK would send a throttled or failed request again, at a time that the lease knows nothing of."""
    key = _packed(deployment, work)
    name = deployment.ledger.chunks.by_key("p", key).request["jobName"]
    control.add_fault("error", operation="CreateModelInvocationJob", error=error, job_name=name)
    with suppress(NeedsResolutionError, SubmissionRejectedError):
        submit_chunk(deployment, "p", key)
    assert [fault["struck"] for fault in control.faults()] == [1]
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert chunk.status == became
    assert error in (chunk.requeue_reason or chunk.status_message or "")
    [group] = deployment.ledger.quota_groups.all()
    assert (group.backoff_until is not None) == (became == "pending"), "the whole group waits"


@pytest.mark.parametrize(("minutes", "jobs"), [(-5, 0), (-3, 1), (3, 1), (5, 0)])
def test_nothing_is_sent_while_the_clocks_are_apart(
    deployment: Deployment, work: Path, minutes: int, jobs: int
) -> None:
    key = _packed(deployment, work)
    system = System(now=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    outcome = submit_chunk(replace(deployment, system=system), "p", key)
    assert isinstance(outcome, Submitted if jobs else Requeued)
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert _jobs_named(deployment, chunk.request["jobName"]) == jobs
    assert ("set the clock" in (chunk.requeue_reason or "")) == (not jobs)
    [group] = deployment.ledger.quota_groups.all()
    assert (group.backoff_until is not None) == (not jobs), "the clock is wrong for the whole group"


def test_a_chunk_that_has_its_job_says_which(deployment: Deployment, work: Path) -> None:
    key = _packed(deployment, work)
    first, again = (submit_chunk(deployment, "p", key) for _ in range(2))
    assert isinstance(first, Submitted)
    assert isinstance(again, Submitted)
    assert (again.chunk.chunk_key, again.job_arn) == (key, first.job_arn)


def test_fifty_clicks_at_once_make_one_job(deployment: Deployment, work: Path) -> None:
    key = _packed(deployment, work)
    together = threading.Barrier(50)

    def click(_: int) -> str:
        with Ledger(deployment.ledger.database.dsn, max_connections=1) as own:
            together.wait()
            return type(submit_chunk(replace(deployment, ledger=own), "p", key)).__name__

    with ThreadPoolExecutor(50) as clicks:
        outcomes = Counter(clicks.map(click, range(50)))
    assert set(outcomes) <= {"Submitted", "NotNow"}
    assert outcomes["Submitted"] >= 1
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert chunk.submissions == 1
    assert _jobs_named(deployment, chunk.request["jobName"]) == 1


@pytest.mark.parametrize("damage", ["deleted", "shortened", "lengthened"])
def test_input_that_is_not_what_was_packed_is_not_submitted(
    deployment: Deployment, work: Path, damage: str
) -> None:
    key = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    [file] = chunk.input_files
    if damage == "deleted":
        deployment.objects.delete([file.uri])
    else:
        data = deployment.objects.get(file.uri)
        deployment.objects.put(file.uri, data[:-1] if damage == "shortened" else data + b"\n")
    for _ in range(2):  # a second click says it too
        with pytest.raises(SubmissionRejectedError, match=f"Chunk {key} was not accepted: input file"):
            submit_chunk(deployment, "p", key)
        assert _jobs_named(deployment, chunk.request["jobName"]) == 0
        assert deployment.ledger.chunks.by_key("p", key).status == "failed"


@pytest.mark.parametrize(
    ("listed", "broken", "became"),
    [
        ([], "find", "in-doubt"),  # List fails
        ([], "head", "in-doubt"),  # List lags behind, and S3 fails
        (None, "head", "adopted"),  # List shows the job, and S3 fails
    ],
)
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_submission_that_may_have_a_job_is_not_closed_by_an_error_on_the_way(
    deployment: Deployment,
    work: Path,
    control: Control,
    monkeypatch: pytest.MonkeyPatch,
    listed: list[JobSummary] | None,
    broken: str,
    became: str,
    cancelled: bool,
) -> None:
    key = _packed(deployment, work)
    name = deployment.ledger.chunks.by_key("p", key).request["jobName"]
    control.add_fault("answer_lost", operation="CreateModelInvocationJob", job_name=name, times=1)
    assert isinstance(submit_chunk(deployment, "p", key), InDoubt)
    if cancelled:
        deployment.ledger.interventions.cancel("p", "d")
    move_clock(deployment, 3600)

    def failing(_: str) -> None:
        raise AwsError("Could not look it up: SlowDown.")

    with monkeypatch.context() as patch:
        if listed is not None:
            patch.setattr(deployment.jobs, "find", lambda _: Found(listed, None))
        patch.setattr(deployment.jobs if broken == "find" else deployment.objects, broken, failing)
        report = reconcile_in_doubt(deployment)
    chunk = deployment.ledger.chunks.by_key("p", key)
    if became == "in-doubt":
        assert (report.still_in_doubt, chunk.status) == ([key], "in-doubt")
        assert deployment.ledger.submissions.due(["p"], 9) == [], "it keeps its slot and its place"
        move_clock(deployment, 3600)
        report = reconcile_in_doubt(deployment)
    assert report.adopted == [key]
    assert deployment.ledger.chunks.by_key("p", key).job_arn
    assert _jobs_named(deployment, name) == 1


def test_a_slow_s3_is_not_a_wrong_clock(
    deployment: Deployment, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK may try a HEAD for minutes, in which AWS's clock, seen before, falls behind."""
    key = _packed(deployment, work)
    passed, head = [timedelta(0)], deployment.objects.head

    def slow(uri: str) -> ObjectInfo | None:
        passed[0] += timedelta(minutes=5)
        return head(uri)

    monkeypatch.setattr(deployment.objects, "head", slow)
    system = System(now=lambda: datetime.now(UTC) + passed[0])
    assert isinstance(submit_chunk(replace(deployment, system=system), "p", key), Submitted)


def test_a_submission_in_doubt_of_a_replaced_version_is_not_sent_again(
    deployment: Deployment, control: Control, work: Path
) -> None:
    key = _packed(deployment, work)
    name = deployment.ledger.chunks.by_key("p", key).request["jobName"]
    control.add_fault("error", operation="CreateModelInvocationJob", error="InternalServerException", times=1)
    assert isinstance(submit_chunk(deployment, "p", key), InDoubt)
    deployment.ledger.datasets.request("p", "d", {}, launch=False, new_version=True)
    move_clock(deployment, 3600)
    reconcile_in_doubt(deployment)
    assert deployment.ledger.chunks.by_key("p", key).status == "stopped"
    assert _jobs_named(deployment, name) == 0


def test_a_wrong_role_is_corrected_by_the_settings_alone(deployment: Deployment, work: Path) -> None:
    """The role is not content: a chunk that was packed with another one is the same, and is submitted with today's."""
    one = _pipeline(work, 100)
    wrong = "arn:aws:iam::999999999999:role/elsewhere"
    before = replace(deployment, settings=deployment.settings.model_copy(update={"role_arn": wrong}))
    take_snapshot(before, one, "d")
    [chunk] = pack_dataset(before, one, "d").chunks
    with pytest.raises(SubmissionRejectedError, match="Cross-account"):
        submit_chunk(before, "p", chunk.chunk_key)
    assert pack_dataset(deployment, one, "d").outcome == "unchanged"
    assert deployment.ledger.interventions.retry_rejected("p", "d") == 1
    assert isinstance(submit_chunk(deployment, "p", chunk.chunk_key), Submitted)
    now = deployment.ledger.chunks.by_key("p", chunk.chunk_key)
    assert (now.frozen_request or {})["roleArn"] == deployment.settings.role_arn
    assert QuotaGroup.of(now.quota_group).account == "123456789012", (
        "it uses a slot of the account in which it runs"
    )
