"""What ledger and service know alone: a ledger restored from a backup, jobs of other deployments, jobs of nobody."""

import time
import uuid
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.job_names import chunk_of_job, chunk_uuid, job_name
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.reconcile import ReconcileReport, adopt_job, sweep_account
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk


def _packed(deployment: Deployment, folder: Path) -> list[str]:
    path = folder / "rows.csv"
    path.write_text("id,text\n" + "".join(f"r{n},t{n}\n" for n in range(250)))
    one = Pipeline.model_validate(
        {
            "name": "p",
            "model_id": "anthropic.claude-3-haiku-20240307-v1:0",
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=200),
        }
    )
    take_snapshot(deployment, one, "d")
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]


@pytest.fixture
def restored(
    deployment: Deployment, stack_endpoints: Endpoints, work: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Deployment, list[str], list[str]]:
    """A ledger as it was before two chunks were submitted: it, the chunks' keys, the ARNs of their jobs."""
    keys = _packed(deployment, work)
    source = conninfo_to_dict(deployment.settings.database_dsn.get_secret_value())["dbname"]
    backup = sql.Identifier(f"test_{uuid.uuid4().hex}")
    with psycopg.connect(stack_endpoints.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source]
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(backup, sql.Identifier(str(source)))
        )
    arns = []
    for key in keys:
        outcome = submit_chunk(deployment, "p", key)
        assert isinstance(outcome, Submitted)
        arns.append(outcome.job_arn)
    monkeypatch.setenv("BEDROCK_PIPELINE_DATABASE_DSN", stack_endpoints.dsn(backup.as_string().strip('"')))
    return open_deployment(Settings.resolve()), keys, arns


def test_a_restored_ledger_takes_its_jobs_back(restored: tuple[Deployment, list[str], list[str]]) -> None:
    deployment, keys, arns = restored
    with deployment:
        report = sweep_account(deployment)
        assert sorted(report.adopted) == sorted(keys)
        assert str(report).startswith("adopted: ")
        rows = [deployment.ledger.chunks.by_key("p", key) for key in keys]
        jobs = {row.job_arn: deployment.jobs.get(row.job_arn or "") for row in rows}
        assert set(jobs) == set(arns)
        assert [row.submitted_at for row in rows] == [jobs[row.job_arn].submitted_at for row in rows]
        assert sweep_account(deployment).adopted == []


def test_nothing_is_launched_or_given_up_in_a_restored_ledger_before_its_jobs_are_looked_for(
    restored: tuple[Deployment, list[str], list[str]],
) -> None:
    """A chunk that waits in the backup may have a job that is paid for."""
    deployment, keys, arns = restored
    ledger = deployment.ledger
    for act in (
        lambda: ledger.interventions.cancel("p", "d"),
        lambda: ledger.datasets.request("p", "d", {}, launch=True),
        lambda: ledger.datasets.request("p", "new", {}, launch=True),
    ):
        with pytest.raises(StateError, match=r"restored from a backup, and jobs .* are not looked for yet"):
            act()
    assert sorted(sweep_account(deployment).adopted) == sorted(keys)
    assert ledger.datasets.request("p", "new", {}, launch=True).version == 1
    assert {chunk.job_arn for chunk in ledger.interventions.cancel("p", "d")} == set(arns)


def test_a_chunk_submitted_from_a_restored_ledger_finds_its_job(
    restored: tuple[Deployment, list[str], list[str]],
) -> None:
    deployment, keys, arns = restored
    with deployment:
        for key, arn in zip(keys, arns, strict=True):
            outcome = submit_chunk(deployment, "p", key)
            assert isinstance(outcome, Submitted)
            assert outcome.job_arn == arn


@pytest.mark.parametrize("repeated", [False, True])
def test_a_job_of_ours_without_a_chunk_is_an_orphan_and_another_deployments_is_not(
    deployment: Deployment, work: Path, control: Control, repeated: bool
) -> None:
    keys = _packed(deployment, work)
    if repeated:
        control.add_fault("list_repeated")
    chunk = deployment.ledger.chunks.by_key("p", keys[0])
    orphan = chunk_uuid(deployment.ledger.deployment_id, "no", "such", "chunk")
    for stranger in (orphan, chunk_uuid(uuid.uuid4(), "theirs")):
        request = chunk.request | {"jobName": job_name("p", stranger)}
        deployment.jobs.create(request, stranger.hex, deadline=time.monotonic() + 60)
    report = sweep_account(deployment)
    assert len(report.orphans) == 1
    assert deployment.jobs.find(orphan).jobs[0].arn == report.orphans[0]


@pytest.mark.parametrize(
    "state",
    [
        *("submitting", "in-doubt", "failed", "failed, of another token"),
        *("needs-resolution", "collected", "of another token"),
    ],
)
def test_a_sweep_adopts_a_job_for_a_chunk_that_has_neither_one_nor_results(
    deployment: Deployment, work: Path, state: str
) -> None:
    """Nor can the operator name a job for a chunk that was collected: its records may have been sent again since."""
    submissions = deployment.ledger.submissions
    [key, _] = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    intent = submissions.intend(
        chunk.chunk_id, uuid.uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(intent, Intent)
    if state == "in-doubt":
        assert submissions.mark_in_doubt(chunk.chunk_id, intent.fence, reason="no response")
    elif state == "needs-resolution":
        assert submissions.need_resolution(chunk.chunk_id, intent.fence, reason="two jobs")
    elif state.startswith(("failed", "collected")):
        assert submissions.reject(chunk.chunk_id, intent.fence, reason="rejected")
    if state == "collected":
        deployment.ledger.interventions.cancel("p", chunk.dataset, key)
        tally = Tally(chunk.records, final_errors=chunk.records)
        assert deployment.ledger.chunks.record_collected(
            chunk.chunk_id, intent.fence, tally, parsed_uri="s3://b/parsed/"
        )
    token = uuid.uuid4().hex if "of another token" in state else intent.token
    arn = deployment.jobs.create(intent.request, token, deadline=time.monotonic() + 60)
    report = sweep_account(deployment)
    now = deployment.ledger.chunks.by_key("p", key)
    if state.startswith(("submitting", "in-doubt", "failed")):
        assert (report.adopted, report.orphans, now.job_arn, now.status) == ([key], [], arn, "queued")
        return
    orphans = [arn] if state == "collected" else []  # else it may be the chunk's
    assert (report.adopted, report.orphans, now.job_arn) == ([], orphans, None)
    if state == "collected":
        with pytest.raises(StateError, match="a job or results"):
            adopt_job(deployment, now, arn)
        assert deployment.ledger.chunks.by_key("p", key) == now


@pytest.mark.parametrize("state", ["pending", "submitting", "in-doubt", "failed", "stopped", "collected"])
def test_of_several_jobs_of_a_chunk_an_operator_says_which_it_is(
    deployment: Deployment, control: Control, work: Path, state: str
) -> None:
    control.set_behaviour(job_names="repeatable")
    submissions, interventions = deployment.ledger.submissions, deployment.ledger.interventions
    [key, _] = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    token = uuid.uuid4().hex
    if state in ("submitting", "in-doubt", "failed"):
        intent = submissions.intend(
            chunk.chunk_id, uuid.uuid4(), request=chunk.request, lease=timedelta(seconds=60)
        )
        assert isinstance(intent, Intent)
        token = intent.token
        if state == "in-doubt":
            assert submissions.mark_in_doubt(chunk.chunk_id, intent.fence, reason="no response")
        elif state == "failed":
            assert submissions.reject(chunk.chunk_id, intent.fence, reason="rejected")
    elif state in ("stopped", "collected"):
        interventions.cancel("p", chunk.dataset, key)
    if state == "collected":
        tally = Tally(chunk.records, final_errors=chunk.records)
        assert deployment.ledger.chunks.record_collected(
            chunk.chunk_id, 0, tally, parsed_uri="s3://b/parsed/"
        )
    arns = [
        deployment.jobs.create(chunk.request, one, deadline=time.monotonic() + 60)
        for one in (token, uuid.uuid4().hex)
    ]
    for _ in range(2):
        report = sweep_account(deployment)
        assert report.adopted == []
        assert sorted(report.orphans) == (sorted(arns) if state == "collected" else [])
        now = deployment.ledger.chunks.by_key("p", key)
        # What is in doubt is settled where its lease has ended.
        expected = state if state in ("submitting", "in-doubt") else "needs-resolution"
        assert now.status == ("stopped" if state == "collected" else expected)
    if state == "collected":
        return
    [shown] = deployment.ledger.status_report.datasets("p")
    if now.status == "needs-resolution":
        command = f"bedrock-pipeline resolve p {key}"
        said = f"With the ARN of its job: {command} --job ARN. If it has none: {command} --no-job"
        assert (shown.why or "").endswith(said)
        assert (deployment.ledger.status_report.chunks("p", chunk.dataset)[0].why or "").endswith(said)
    elif state == "in-doubt":
        assert (shown.next or "").startswith("submissions in doubt: 1; its job is looked up")
    adopt_job(deployment, now, arns[1])
    assert sweep_account(deployment).orphans == [arns[0]]
    now = deployment.ledger.chunks.by_key("p", key)
    assert (now.status, now.job_arn) == ("queued", arns[1])


def test_a_job_whose_name_only_contains_the_chunks_is_not_the_chunks(
    deployment: Deployment, work: Path
) -> None:
    [key, _] = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    request = chunk.request
    longer = request | {"jobName": f"{request['jobName']}x"}
    theirs = deployment.jobs.create(longer, uuid.uuid4().hex, deadline=time.monotonic() + 60)
    assert deployment.jobs.find(chunk.chunk_id).jobs == []
    outcome = submit_chunk(deployment, "p", key)
    assert isinstance(outcome, Submitted)
    assert not outcome.adopted
    assert outcome.job_arn != theirs
    assert [job.arn for job in deployment.jobs.find(chunk.chunk_id).jobs] == [outcome.job_arn]


def test_a_job_name_tells_its_chunk_to_its_own_deployment_alone() -> None:
    ours, theirs = uuid.uuid4(), uuid.uuid4()
    chunk = chunk_uuid(ours, "p", "d", 1)
    assert chunk_of_job(ours, job_name("reviews_2026", chunk)) == chunk
    assert chunk_of_job(theirs, job_name("reviews_2026", chunk)) is None
    assert chunk_of_job(ours, "a-job-of-somebody") is None


def test_a_job_that_bedrock_does_not_know_is_reported_and_one_that_cannot_be_asked_for_is_not(
    deployment: Deployment, control: Control, work: Path
) -> None:
    [key, _] = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", key)
    taken = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid.uuid4(), request=chunk.request, lease=timedelta(seconds=60)
    )
    assert isinstance(taken, Intent)
    arn = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/aaaaaaaaaaaa"
    assert deployment.ledger.submissions.record_accepted(chunk.chunk_id, taken.fence, arn)
    assert sweep_account(deployment).unknown_to_bedrock == [arn]
    control.add_fault("error", operation="GetModelInvocationJob", error="AccessDeniedException")
    try:
        report = sweep_account(deployment)
        assert report.unknown_to_bedrock == []
        assert "AccessDenied" in report.errors[0]
    finally:
        control.clear_faults()


def test_jobs_of_others_are_counted_and_no_more_than_what_they_leave_is_asked_for(
    deployment: Deployment, work: Path
) -> None:
    keys = _packed(deployment, work)
    chunk = deployment.ledger.chunks.by_key("p", keys[0])
    for number in range(19):  # of the 20 that the model may run
        request = chunk.request | {"jobName": f"somebody-elses-{uuid.uuid4()}"}
        deployment.jobs.create(request, f"theirs{number}{uuid.uuid4().hex}", deadline=time.monotonic() + 60)
    sweep_account(deployment)
    [group] = deployment.ledger.database.fetch("SELECT others, max_jobs FROM bedrock_pipeline.quota_groups")
    running = [
        job
        for job in deployment.jobs.list()
        if job.status in ("Submitted", "Validating", "Scheduled", "InProgress")
    ]
    assert len(running) <= group["others"]
    # Other tests have jobs in the account too, so the others may be more than the model may run.
    left = max(group["max_jobs"] - group["others"], 0)
    assert len(deployment.ledger.submissions.due(["p"], 50)) == min(left, len(keys))


def test_a_report_has_what_happened_and_to_what() -> None:
    report = ReconcileReport(sent_again=["d--00000"], still_in_doubt=["d--00001", "d--00002"])
    assert str(report) == "sent again: d--00000; still in doubt: d--00001, d--00002"
    assert str(ReconcileReport()) == ""
