"""Fewer records than a job may have: a dataset, and retryable records, with each of the four policies; on-demand calls."""

import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.calls import Claim
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline.prepare.chunks.packer import BelowMinimumError
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.invoke_on_demand import Answered, answer_chunk
from bedrock_pipeline.submit.submit_chunk import SubmissionRejectedError, submit_chunk
from bedrock_pipeline.system import System
from bedrock_pipeline_tests.faults.invariants import jobs_of
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import asked, chunks, finish, pipeline

FEW, LEFT = 37, 5


def few(folder: Path, policy: str = "on_demand", count: int = FEW, **changes: Any) -> Any:
    return pipeline(folder, [f"Number {n}" for n in range(count)], below_minimum=policy, **changes)


def packed(deployment: Deployment, one: Any) -> list[str]:
    take_snapshot(deployment, one, "d")
    return [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]


def answered(rows: list[dict[str, Any]], count: int) -> bool:
    """Every record once, with its own answer."""
    assert Counter(row["record_id"] for row in rows) == Counter(f"r{n}" for n in range(count))
    assert all(str(row["output_text"]).endswith(f"Number {row['n']}") for row in rows), rows[0]
    return {row["status"] for row in rows} == {"succeeded"}


def test_few_records_are_answered_on_demand_without_a_job(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    rows = finish(deployment, few(tmp_path))
    assert answered(rows, FEW)
    assert {row["job_arn"] for row in rows} == {None}
    assert jobs_of(control, deployment.settings.bucket) == []
    [chunk] = chunks(deployment)
    assert (chunk.mode, chunk.status, chunk.processed_count, chunk.success_count) == (
        "on-demand",
        "completed",
        FEW,
        FEW,
    )
    assert chunk.input_tokens == sum(row["input_tokens"] for row in rows)
    assert deployment.ledger.calls.repeated(chunk.chunk_id) == 0
    assert deployment.ledger.calls.lines(chunk.chunk_id) == [], "answers are in S3 now"


def test_few_records_are_padded_and_the_fillers_stay_out_of_the_results(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    rows = finish(deployment, few(tmp_path, "pad"))
    assert answered(rows, FEW)
    [job] = jobs_of(control, deployment.settings.bucket)
    assert job["totalRecordCount"] == 100
    [chunk] = chunks(deployment)
    assert (chunk.records, chunk.answered, len(asked(deployment, chunk))) == (FEW, FEW, 100)
    assert chunk.input_tokens is not None
    assert chunk.input_tokens > sum(row["input_tokens"] for row in rows), "fillers are paid for"
    assert chunk.problem is None


def test_few_records_wait_until_an_operator_decides(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    one = few(tmp_path, "hold")
    [key] = packed(deployment, one)
    assert deployment.ledger.submissions.due(["p"], 10) == []
    outcome = submit_chunk(deployment, "p", key)
    assert isinstance(outcome, NotNow)
    assert "37 records are fewer than a job's 100: waiting" in outcome.reason
    assert all(_HOW_TO_SEND in why for why in _reasons(deployment))
    assert deployment.ledger.publications.due(["p"], 1) == []
    assert deployment.ledger.interventions.release("p", "d", "on_demand") == (0, True)
    assert [row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 1)] == ["d"]
    assert pack_dataset(deployment, one, "d").outcome == "replaced"
    assert answered(finish(deployment, one), FEW)
    assert jobs_of(control, deployment.settings.bucket) == []


@pytest.mark.parametrize(
    ("change", "version", "prompt"),
    [
        ("nothing", 1, "Number"),
        ("input", 1, "Number"),
        ("input is gone", 1, "Number"),
        ("launch", 2, "Now: Other"),
    ],
)
def test_what_waited_is_sent_as_it_was_launched_unless_it_is_launched_again(
    deployment: Deployment, tmp_path: Path, change: str, version: int, prompt: str
) -> None:
    """Neither another input nor another prompt is bought by an operator's decision about the records that wait."""
    one = few(tmp_path, "hold")
    packed(deployment, one)
    if change != "nothing":
        one = pipeline(tmp_path, ["Other"] * FEW, below_minimum="hold", prompt="Now: {{ text }}")
    if change == "input is gone":
        (tmp_path / "rows.jsonl").unlink()
    if change == "launch":
        deployment.ledger.datasets.request("p", "d", {}, launch=True)
    assert deployment.ledger.interventions.release("p", "d", "on_demand") == (0, True)
    report = take_snapshot(deployment, one, "d")
    assert (report.version, report.unchanged) == (version, version == 1)
    assert (report.records, report.rejected, report.schema.names) == (FEW, 0, ["record_id", "text", "n"])
    [chunk] = pack_dataset(deployment, one, "d").chunks
    assert chunk.mode == "on-demand"
    entered = deployment.ledger.chunks.by_key("p", chunk.chunk_key)
    assert all(prompt in str(body) for body in asked(deployment, entered).values())
    assert deployment.ledger.datasets.to_launch(["p"], 1) == []


def test_few_records_are_rejected_with_the_numbers(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(BelowMinimumError, match=r"37 records.*at least 100.*below_minimum"):
        packed(deployment, few(tmp_path, "fail"))


def test_packing_few_records_again_changes_nothing(deployment: Deployment, tmp_path: Path) -> None:
    one = few(tmp_path)
    keys = packed(deployment, one)
    assert pack_dataset(deployment, one, "d").outcome == "unchanged"
    assert isinstance(submit_chunk(deployment, "p", keys[0]), Answered)
    assert pack_dataset(deployment, one, "d").outcome == "unchanged"


@pytest.mark.parametrize(
    ("policy", "mode", "jobs", "codes"),
    [
        ("on_demand", "on-demand", 1, {None: 150}),
        ("pad", "batch", 2, {None: 150}),
        ("fail", "none", 1, {None: 150 - LEFT, "below-minimum": LEFT}),
    ],
)
def test_few_retryable_records_by_each_policy(
    deployment: Deployment,
    control: Control,
    tmp_path: Path,
    policy: str,
    mode: str,
    jobs: int,
    codes: dict[str | None, int],
) -> None:
    control.add_fault("record_error", record_ids=[f"r{n}" for n in range(LEFT)], error_code=503)
    rows = finish(deployment, few(tmp_path, policy, 150))
    assert Counter(row["error_code"] for row in rows) == codes
    assert [(chunk.mode, chunk.records) for chunk in chunks(deployment, 2)] == [(mode, LEFT)]
    assert len(jobs_of(control, deployment.settings.bucket)) == jobs


def test_few_retryable_records_wait_until_an_operator_decides(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    control.add_fault("record_error", record_ids=[f"r{n}" for n in range(LEFT)], error_code=503)
    one = few(tmp_path, "hold", 150)
    finish(deployment, one, until_waiting=True)
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert (left.records, left.waits_for) == (LEFT, "minimum")
    assert "5 records are fewer than a job's 100" in str(left.wait_reason)
    assert all(_HOW_TO_SEND in why for why in _reasons(deployment))
    assert deployment.ledger.retry_rounds.due(["p"], 1) == []
    assert deployment.ledger.interventions.release("p", "d", "on_demand") == (LEFT, False)
    assert answered(finish(deployment, one), 150)


_HOW_TO_SEND = "To send them all the same: bedrock-pipeline retry p d --below-minimum on_demand"


def _reasons(deployment: Deployment) -> list[str]:
    """Why the dataset waits, and why its first chunk does, as `status` says it."""
    report = deployment.ledger.status_report
    found = report.dataset("p", "d")
    return [str(found and found.why), str(report.chunks("p", "d")[0].why)]


def test_after_a_crash_only_the_calls_in_flight_are_repeated_and_counted(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    [key] = packed(deployment, few(tmp_path))
    chunk = deployment.ledger.chunks.by_key("p", key)
    lease, apart = timedelta(minutes=2), timedelta(0)
    claim = deployment.ledger.calls.claim(chunk.chunk_id, lease)
    assert isinstance(claim, Claim)
    for positions in (range(8), range(8, 16)):  # two waves were sent, and the answers to the second lost
        wave = uuid4()
        for _ in range(2):  # a commit whose acknowledgement was lost counts once
            waited = deployment.ledger.calls.begin(
                chunk.chunk_id, claim.fence, positions, wave=wave, lease=lease, apart=apart
            )
            assert waited is not None
        if positions[0] == 0:
            lines = [(n, b'{"recordId":"r%d","modelOutput":{"content":[]}}\n' % n) for n in positions]
            assert deployment.ledger.calls.record(chunk.chunk_id, claim.fence, lines, succeeded=8)
    assert isinstance(submit_chunk(deployment, "p", key), NotNow), "somebody asks"
    move_clock(deployment, 3600)
    outcome = submit_chunk(deployment, "p", key)
    assert isinstance(outcome, Answered)
    assert outcome.chunk.chunk_key == key
    assert (outcome.calls, outcome.repeated) == (FEW - 8, 8)
    assert not deployment.ledger.calls.record(chunk.chunk_id, claim.fence, [(9, b"late")], succeeded=1), (
        "who slept changes nothing"
    )


def test_calls_are_apart_over_all_processes_and_so_many_at_once(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key] = packed(deployment, few(tmp_path))
    slow = replace(
        deployment,
        settings=deployment.settings.model_copy(
            update={"on_demand_calls_per_s": 4.0, "on_demand_concurrency": 4}
        ),
        system=System(sleep=(slept := list[float]()).append),
    )
    invoke, lock, now, most = deployment.runtime.invoke, threading.Lock(), [0], [0]

    def counted(*positional: Any, **named: Any) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return invoke(*positional, **named)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(deployment.runtime, "invoke", counted)
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert isinstance(answer_chunk(slow, chunk), Answered)
    assert most[0] <= 4
    # Nobody really slept, so each wave of four has to wait for a second more than the one before.
    assert slept[0] == 0
    assert sum(slept) > 0.5 * sum(range(10))


def test_no_other_process_may_take_the_chunk_while_a_call_may_still_respond(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key] = packed(deployment, few(tmp_path))
    chunk, invoke, left = (
        deployment.ledger.chunks.by_key("p", key),
        deployment.runtime.invoke,
        list[timedelta](),
    )

    def looking(*positional: Any, **named: Any) -> bytes:
        expires_at = deployment.ledger.chunks.by_key("p", key).lease_expires_at
        assert expires_at is not None
        left.append(expires_at - deployment.ledger.run_leases.now())
        return invoke(*positional, **named)

    monkeypatch.setattr(deployment.runtime, "invoke", looking)
    assert isinstance(answer_chunk(deployment, chunk), Answered)
    assert len(left) == FEW
    assert min(left) > deployment.settings.call_timeout


@pytest.mark.parametrize("error", ["ThrottlingException", "ServiceUnavailableException"])
def test_a_model_that_is_busy_for_a_moment_is_asked_again_at_once(
    deployment: Deployment, control: Control, tmp_path: Path, error: str
) -> None:
    [key] = packed(deployment, few(tmp_path))
    control.add_fault("error", operation="InvokeModel", error=error, times=10)
    chunk, slept = deployment.ledger.chunks.by_key("p", key), list[float]()
    outcome = answer_chunk(replace(deployment, system=System(sleep=slept.append)), chunk)
    assert isinstance(outcome, Answered)
    assert outcome.repeated == 0, "what was throttled was not in flight"
    assert max(slept) >= 0.3
    now = deployment.ledger.chunks.by_key("p", key)
    assert (now.success_count, now.error_count) == (FEW, 0)


def test_a_model_that_stays_busy_is_asked_later(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    one = few(tmp_path)
    [key] = packed(deployment, one)
    control.add_fault("error", operation="InvokeModel", error="ThrottlingException")
    chunk = deployment.ledger.chunks.by_key("p", key)
    outcome = answer_chunk(replace(deployment, system=System(sleep=lambda _: None)), chunk)
    assert isinstance(outcome, NotNow)
    assert "ThrottlingException" in outcome.reason
    assert outcome.until is not None
    assert deployment.ledger.submissions.due(["p"], 1) == []
    control.clear_faults()
    move_clock(deployment, 3600)
    assert answered(finish(deployment, one), FEW)


def test_calls_that_bedrock_denies_are_red_and_can_be_retried(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    one = few(tmp_path)
    [key] = packed(deployment, one)
    control.add_fault("error", operation="InvokeModel", error="AccessDeniedException", message="no access")
    for _ in range(2):
        with pytest.raises(SubmissionRejectedError, match=f"Chunk {key} was not accepted: .*no access"):
            submit_chunk(deployment, "p", key)
    control.clear_faults()
    assert deployment.ledger.interventions.retry_rejected("p", "d") == 1
    assert answered(finish(deployment, one), FEW)


def test_what_was_answered_before_a_cancellation_is_kept(deployment: Deployment, tmp_path: Path) -> None:
    one = few(tmp_path)
    [key] = packed(deployment, one)
    chunk = deployment.ledger.chunks.by_key("p", key)
    claim = deployment.ledger.calls.claim(chunk.chunk_id, timedelta(minutes=2))
    assert isinstance(claim, Claim)
    deployment.ledger.calls.begin(
        chunk.chunk_id, claim.fence, [0], wave=uuid4(), lease=timedelta(0), apart=timedelta(0)
    )
    line = b'{"recordId":"r0","modelOutput":{"content":[{"type":"text","text":"kept"}]}}\n'
    assert deployment.ledger.calls.record(chunk.chunk_id, claim.fence, [(0, line)], succeeded=1)
    deployment.ledger.interventions.cancel("p", "d")
    rows = finish(deployment, one)
    assert Counter(row["error_code"] for row in rows) == {None: 1, "cancelled": FEW - 1}


def test_responses_that_arrive_after_a_cancellation_are_kept_and_counted(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are paid for."""
    one = few(tmp_path)
    [key] = packed(deployment, one)
    invoke, lock, sent = deployment.runtime.invoke, threading.Lock(), [0]

    def cancelling(*positional: Any, **named: Any) -> bytes:
        output = invoke(*positional, **named)
        with lock:
            sent[0] += 1
            if sent[0] == 12:  # in the middle of the second wave of 8
                deployment.ledger.interventions.cancel("p", "d")
        return output

    monkeypatch.setattr(deployment.runtime, "invoke", cancelling)
    assert isinstance(submit_chunk(deployment, "p", key), NotNow)
    assert deployment.ledger.chunks.by_key("p", key).status == "stopped"
    rows = finish(deployment, one)
    assert Counter(row["error_code"] for row in rows) == {None: sent[0], "cancelled": FEW - sent[0]}
    cost = deployment.ledger.chunks.by_key("p", key).cost_usd
    assert float(cost or 0) == pytest.approx(sum(row["cost_usd"] or 0 for row in rows)) != 0


def test_a_cancelled_chunk_whose_process_died_ends_when_its_lease_has_expired(
    deployment: Deployment, tmp_path: Path
) -> None:
    one = few(tmp_path)
    [key] = packed(deployment, one)
    chunk = deployment.ledger.chunks.by_key("p", key)
    assert isinstance(deployment.ledger.calls.claim(chunk.chunk_id, timedelta(minutes=2)), Claim)
    [now] = deployment.ledger.interventions.cancel("p", "d")
    assert now.status == "pending", "its calls may be in flight"
    assert deployment.ledger.submissions.due(["p"], 9) == []
    move_clock(deployment, 180)
    assert Counter(row["error_code"] for row in finish(deployment, one)) == {"cancelled": FEW}
