"""Records without a response are retried, and only these; every record ends once."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import _pools, start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.emulator.faults import Fault, Faults, Kind
from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.ledger.retry_rounds import RetryableRecords
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.prepare.chunks.create_request import output_folder
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.publish.publish_dataset import NotCompleteError, publish_dataset
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.result_schema import ORIGIN, WIRE_ID
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.journey.driven import (
    CLAUDE,
    asked,
    chunks,
    finish,
    pipeline,
    retryable,
    table,
)

RECORDS = 8_000
#: 1 % of them.
REJECTED = [f"r{n}" for n in range(7, RECORDS, 100)]


def texts(count: int) -> list[str]:
    return [f"Write about number {n} {'and more ' * (n % 7)}" for n in range(count)]


def emulated_tokens(body: Any) -> tuple[int, int]:
    reply = Models().answer(CLAUDE, body)
    return reply.input_tokens, reply.output_tokens


def test_eight_thousand_records_through_every_kind_of_failure(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("record_error", record_ids=REJECTED, error_code=400, message="Malformed input request")
    control.add_fault("record_error", rate=0.03, error_code=429, message="Too many requests")
    control.add_fault("line_missing", rate=0.01)
    control.add_fault("line_repeated", rate=0.01)
    control.add_fault("job_ends", status="Expired", at=0.5, times=1)
    control.add_fault("job_ends", status="PartiallyCompleted", at=0.5, times=1)
    one = pipeline(tmp_path, texts(RECORDS))
    rows = finish(deployment, one)

    assert Counter(row["record_id"] for row in rows) == Counter(f"r{n}" for n in range(RECORDS))
    assert all(row["record_id"] == f"r{row['n']}" for row in rows)
    first = chunks(deployment, 1)
    assert Counter(chunk.status for chunk in first) == {
        "completed": 6,
        "expired": 1,
        "partially-completed": 1,
    }
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["error_code"] for row in failed} == {"400"}, "only what is wrong with the record itself"
    assert {row["record_id"] for row in failed} <= set(REJECTED)
    assert 40 <= len(failed) <= 80, "those of the expired job were retried, and answered"
    _each_round_has_the_retryable_records(deployment, len(first))
    _tokens_and_cost_are_the_emulators(deployment, rows)
    progress = deployment.ledger.datasets.progress("p", "d")
    assert (progress.records, progress.answered, progress.final_errors, progress.retryable) == (
        RECORDS,
        RECORDS - len(failed),
        len(failed),
        0,
    )
    assert all(deployment.ledger.chunks.is_final(chunk.chunk_id) for chunk in first)


def _each_round_has_the_retryable_records(deployment: Deployment, first: int) -> None:
    original = {
        id_: body for chunk in chunks(deployment, 1) for id_, body in asked(deployment, chunk).items()
    }
    assert len(original) == RECORDS
    last = max(chunk.attempt for chunk in chunks(deployment))
    for number in range(1, last + 1):
        left = {id_ for chunk in chunks(deployment, number) for id_ in retryable(deployment, chunk)}
        sent = [pair for chunk in chunks(deployment, number + 1) for pair in asked(deployment, chunk).items()]
        assert Counter(id_ for id_, _ in sent) == Counter(left)
        assert all(original[id_] == body for id_, body in sent)
        assert bool(left) == (number < last), (
            "those without a response after three attempts went on by an operator"
        )
    assert chunks(deployment, 2)[0].chunk_key == "d--r2-00000"
    assert first == 8


def _tokens_and_cost_are_the_emulators(deployment: Deployment, rows: list[dict[str, Any]]) -> None:
    bodies = {id_: body for chunk in chunks(deployment, 1) for id_, body in asked(deployment, chunk).items()}
    succeeded = [row for row in rows if row["status"] == "succeeded"]
    price = price_of(CLAUDE, datetime.now(UTC))
    assert price is not None
    cost = 0.0
    for row in succeeded:
        counted = emulated_tokens(bodies[row["record_id"]])
        assert (row["input_tokens"], row["output_tokens"]) == counted
        cost += float(price.cost(*counted, "batch" if row["job_arn"] else "on-demand"))
    assert sum(row["cost_usd"] for row in succeeded) == pytest.approx(cost) != 0
    for chunk in chunks(deployment):
        if chunk.status == "completed" and chunk.job_arn:
            dropped = _answers_without_a_line(deployment, chunk, rows)
            counts = manifest(deployment, chunk)
            for name, number in (("inputTokenCount", 0), ("outputTokenCount", 1)):
                column = ("input_tokens", "output_tokens")[number]
                paid = sum(row[column] for row in succeeded if row["job_arn"] == chunk.job_arn)
                paid += sum(emulated_tokens(bodies[id_])[number] for id_ in dropped)
                assert counts[name] == paid
    progress = deployment.ledger.datasets.progress("p", "d")
    assert progress.input_tokens == sum(row["input_tokens"] for row in succeeded)
    assert progress.output_tokens == sum(row["output_tokens"] for row in succeeded)
    price = price_of(CLAUDE, datetime(2026, 11, 24, tzinfo=UTC))
    assert price is not None
    tokens = [(row["input_tokens"], row["output_tokens"], row["job_arn"]) for row in succeeded]
    assert progress.cost_usd == sum(
        price.cost(read, written, "batch" if job else "on-demand") for read, written, job in tokens
    )
    assert progress.on_demand_cost_usd == sum(
        price.cost(read, written, "on-demand") for read, written, _ in tokens
    )
    assert sum(row["cost_usd"] for row in succeeded) == pytest.approx(float(progress.cost_usd))


def _answers_without_a_line(deployment: Deployment, chunk: ChunkRow, rows: list[dict[str, Any]]) -> list[str]:
    """Records whose response the emulator counted, and whose line it dropped."""
    missing = {id_ for id_, why in retryable(deployment, chunk).items() if why == "missing"}
    missing |= {
        row["record_id"]
        for row in rows
        if (row["error_code"], row["chunk_key"]) == ("missing", chunk.chunk_key)
    }
    faults = Faults()
    faults.add(Fault(Kind.RECORD_ERROR, record_ids=REJECTED))
    faults.add(Fault(Kind.RECORD_ERROR, rate=0.03))
    failing = faults.of_job(chunk.request["jobName"])
    index = table(deployment, chunk.index_uri).to_pylist()
    return [
        row["record_id"]
        for row in index
        if row["record_id"] in missing
        and not failing.of_record(Kind.RECORD_ERROR, row.get(WIRE_ID, row["record_id"]))
    ]


def manifest(deployment: Deployment, chunk: ChunkRow) -> dict[str, int]:
    base = chunk.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    found: dict[str, int] = json.loads(
        deployment.objects.get(f"{base}{str(chunk.job_arn).rpartition('/')[2]}/manifest.json.out")
    )
    return found


def test_two_processes_start_a_round_at_once_and_a_third_finds_nothing(
    deployment: Deployment, control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.add_fault("record_error", record_ids=[f"r{n}" for n in range(0, 300, 2)], error_code=503)
    one = pipeline(tmp_path, texts(300), limits={"min_records": 100, "max_records": 199})
    _collected(deployment, one)
    enter, entered = deployment.ledger.retry_rounds.enter, []

    def another_first(*positional: Any, **named: Any) -> bool:
        """The other process has packed the same, and is faster."""
        monkeypatch.setattr(deployment.ledger.retry_rounds, "enter", enter)
        entered.append(start_retry_round(deployment, one, "d"))
        return enter(*positional, **named)

    monkeypatch.setattr(deployment.ledger.retry_rounds, "enter", another_first)
    slower = start_retry_round(deployment, one, "d")
    assert (len(slower.chunks), len(entered[0].chunks)) == (0, 1)
    assert start_retry_round(deployment, one, "d").records == 0
    [second] = chunks(deployment, 2)
    assert second.records == 150
    assert table(deployment, second.index_uri)[ORIGIN].unique().to_pylist() == [
        str(chunk.chunk_id) for chunk in chunks(deployment, 1)
    ]
    assert not deployment.ledger.chunks.is_final(chunks(deployment, 1)[0].chunk_id)


def _collected(deployment: Deployment, one: Any) -> None:
    """Round 1, up to its results."""
    take_snapshot(deployment, one, "d")
    for chunk in pack_dataset(deployment, one, "d").chunks:
        assert isinstance(submit_chunk(deployment, "p", chunk.chunk_key), Submitted)
    while poll_jobs(deployment).in_flight:
        pass
    for row in chunks(deployment, 1):
        collect_chunk(deployment, one, row.chunk_key)


@pytest.mark.parametrize(
    ("changes", "pools"),
    [
        ({}, 1),
        ({"attempt": 2}, 1),
        ({"model_id": "another"}, 2),
        ({"quota_group": "another in us-east-1"}, 2),
        ({"settings_digest": "another"}, 2),
    ],
    ids=str,
)
def test_records_of_other_settings_are_not_sent_in_one_job(
    deployment: Deployment, tmp_path: Path, changes: dict[str, Any], pools: int
) -> None:
    """They would be judged, and paid for, as those of the first chunk are."""
    one = pipeline(tmp_path, texts(120))
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    [chunk] = chunks(deployment)
    row = deployment.ledger.datasets.ensure("p", "d")
    left = [
        RetryableRecords(each, 1, None, None, frozenset({each.chunk_id}), frozenset())
        for each in (chunk, replace(chunk, chunk_id=uuid4(), **changes))
    ]
    found = list(_pools(left, row))
    assert len(found) == pools
    assert sorted((one for pool in found for one in pool), key=left.index) == left
    ending = replace(left[1], cancelled=left[1].origins)
    assert len(list(_pools([left[0], ending], row))) == 2, "those of a cancelled job end by themselves"


def test_a_chunk_with_retryable_records_is_no_problem_and_is_not_published(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("record_error", record_ids=["r1", "r2"], error_code=429)
    one = pipeline(tmp_path, texts(120))
    _collected(deployment, one)
    [chunk] = chunks(deployment)
    report = collect_chunk(deployment, one, chunk.chunk_key)
    assert (report.tally.answered, report.tally.final_errors, report.tally.retryable) == (118, 0, 2)
    assert retryable(deployment, chunk) == {"r1": "429", "r2": "429"}
    assert deployment.ledger.publications.due(["p"], 1) == []
    with pytest.raises(NotCompleteError, match="2 records of dataset 'd' wait for the next attempt"):
        publish_dataset(deployment, one, "d")
    deployment.ledger.database.execute("UPDATE bedrock_pipeline.retryable_records SET retried_at = now()")
    with pytest.raises(NotCompleteError, match="118 are answered and 0 have a final error; the others"):
        publish_dataset(deployment, one, "d")  # whatever lost them


def test_no_round_starts_before_every_chunk_is_collected(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("record_error", record_ids=["r1", "r2"], error_code=429)
    one = pipeline(tmp_path, texts(200), limits=Limits(min_records=50, max_records=100, max_jobs=20))
    take_snapshot(deployment, one, "d")
    keys = [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]
    for key in keys:
        assert isinstance(submit_chunk(deployment, "p", key), Submitted)
    while poll_jobs(deployment).in_flight:
        pass
    first, second = keys
    collect_chunk(deployment, one, first)
    assert deployment.ledger.retry_rounds.due(["p"], 1) == []
    assert start_retry_round(deployment, one, "d").chunks == []
    collect_chunk(deployment, one, second)
    assert [row.dataset for row in deployment.ledger.retry_rounds.due(["p"], 1)] == ["d"]
    assert [chunk.records for chunk in start_retry_round(deployment, one, "d").chunks] == [2]


@pytest.mark.parametrize(("rounds", "codes"), [(1, {"503": 2}), (2, {"503": 2})])
def test_in_the_last_attempt_the_errors_of_a_record_are_final(
    deployment: Deployment, control: Control, tmp_path: Path, rounds: int, codes: dict[str, int]
) -> None:
    control.add_fault("record_error", record_ids=["r1", "r2"], error_code=503)
    control.add_fault("error", operation="InvokeModel", error="InternalServerException")
    one = pipeline(tmp_path, texts(120), max_record_attempts=rounds)
    rows = finish(deployment, one)
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["record_id"] for row in failed} == {"r1", "r2"}
    assert {row["attempt"] for row in failed} == {rounds}
    assert Counter(row["error_code"] for row in failed) == (codes if rounds == 1 else {"500": 2})


@pytest.mark.parametrize(
    ("message", "again"),
    [("Internal server error. Please try again.", True), ("Access denied to s3://b/k. Try again.", False)],
)
def test_a_failed_job_is_retried_only_if_that_may_help(
    deployment: Deployment, control: Control, tmp_path: Path, message: str, again: bool
) -> None:
    control.add_fault("job_ends", status="Failed", message=message, at=0.5, times=1)
    one = pipeline(tmp_path, texts(240))
    if again:
        assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}
        assert len(chunks(deployment, 2)) == 1
        return
    with pytest.raises(JobProblemError, match=r"Access denied to .* 120 records wait"):
        _collected(deployment, one)
    assert deployment.ledger.retry_rounds.due(["p"], 1) == []
    assert deployment.ledger.publications.due(["p"], 1) == []
    assert chunks(deployment, 2) == [], "nothing is sent again unasked"
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


@pytest.mark.parametrize("cause", ["throttled", "lost"])
def test_after_the_last_attempt_records_that_were_throttled_or_lost_wait_for_an_operator(
    deployment: Deployment, control: Control, tmp_path: Path, cause: str
) -> None:
    fault = {"throttled": ("record_error", {"error_code": 429}), "lost": ("line_missing", {})}[cause]
    control.add_fault(fault[0], record_ids=["r1", "r2"], **fault[1])
    one = pipeline(tmp_path, texts(120), max_record_attempts=1)
    with pytest.raises(JobProblemError, match="2 records wait"):
        _collected(deployment, one)
    assert deployment.ledger.publications.due(["p"], 1) == []
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert (left.records, left.waits_for) == (2, "operator")
    control.clear_faults()
    assert CliRunner().invoke(cli, ["retry", "p", "d"]).exit_code == 0
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


def test_a_completed_job_without_any_output_is_not_bought_again_unasked(
    deployment: Deployment, tmp_path: Path
) -> None:
    """A lifecycle rule has deleted the output, or it was written elsewhere."""
    one = pipeline(tmp_path, texts(120))
    take_snapshot(deployment, one, "d")
    [packed] = pack_dataset(deployment, one, "d").chunks
    submitted = submit_chunk(deployment, "p", packed.chunk_key)
    assert isinstance(submitted, Submitted)
    while poll_jobs(deployment).in_flight:
        pass
    folder = output_folder(packed.request, submitted.job_arn)
    deployment.objects.delete([item.uri for item in deployment.objects.list(folder)])
    with pytest.raises(
        JobProblemError, match=f"its output folder {folder} holds neither a manifest nor a line"
    ):
        collect_chunk(deployment, one, packed.chunk_key)
    assert deployment.ledger.retry_rounds.due(["p"], 1) == []
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert (left.records, left.waits_for) == (120, "operator")


def test_a_job_stopped_from_outside_waits_for_an_operator(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("job_ends", status="Stopped", message="by somebody", at=0.5, times=1)
    one = pipeline(tmp_path, texts(240))
    with pytest.raises(JobProblemError, match=r"stopped outside of this pipeline\. 120 records wait"):
        _collected(deployment, one)
    assert deployment.ledger.retry_rounds.due(["p"], 1) == []
    shown = json.loads(CliRunner().invoke(cli, ["status", "p", "d", "--json"]).stdout)
    assert "retry p d" in shown["chunks"][0]["why"]
    shown = CliRunner().invoke(cli, ["retry", "p", "d"])
    assert "120 retryable" in shown.stdout
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


def test_retryable_records_of_a_cancelled_dataset_end_as_cancelled(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("record_error", record_ids=["r1", "r2"], error_code=429)
    one = pipeline(tmp_path, texts(120))
    _collected(deployment, one)
    deployment.ledger.interventions.cancel("p", "d")
    rows = finish(deployment, one)
    assert Counter(row["error_code"] for row in rows) == {None: 118, "cancelled": 2}
