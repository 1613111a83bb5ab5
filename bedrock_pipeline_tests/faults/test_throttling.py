"""Bedrock throttles for hours: no storm of requests, no slot held, no run that waits; and then everything is done."""

import json
import time
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.submit_chunk import SubmissionRejectedError, Submitted, submit_chunk
from bedrock_pipeline.throttle_backoff import ThrottleBackoff
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, until_published
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.worker import move_clock

HOURS, CHUNKS, SLOTS = 6, 20, 5
#: Simulated seconds between two ticks of the sensor.
_EVERY_S = 30
#: A run that waited would be asleep for longer than this.
_MOST_S = 20.0
_LIMITS = Limits(min_records=50, max_records=100, max_jobs=SLOTS)
_THROTTLED = {
    "kind": "error",
    "operation": "CreateModelInvocationJob",
    "error": "ThrottlingException",
    "message": "Too many requests",
}


def _packed(deployment: Deployment, folder: Path) -> Pipeline:
    one = dataset(folder, 100 * CHUNKS, _LIMITS)
    take_snapshot(deployment, one, "d")
    assert len(pack_dataset(deployment, one, "d").chunks) == CHUNKS
    return one


def _look(deployment: Deployment, one: Pipeline) -> list[str]:
    """One look of the sensor that submits; chunks that went red."""
    red = []
    for chunk in deployment.ledger.submissions.due([one.name], 50):
        began = time.monotonic()
        try:
            assert not isinstance(submit_chunk(deployment, one.name, chunk.chunk_key), Submitted)
        except SubmissionRejectedError as error:
            red.append(str(error))
        assert time.monotonic() - began < _MOST_S
    statuses = {chunk.status for chunk in deployment.ledger.chunks.of_dataset(one.name, "d", 1)}
    assert statuses <= {"pending", "failed"}, "a slot is held"
    return red


def _most_holds(backoff: ThrottleBackoff) -> int:
    """How often a group may be throttled in `HOURS`, were every wait as short as the jitter can make it."""
    seconds, count = 0.0, 0
    while seconds < HOURS * 3600:
        wait = min(backoff.base_delay_ms * backoff.multiplier**count, backoff.max_delay_ms) / 1000
        seconds += wait * (1 - backoff.jitter_ratio)
        count += 1
    return count


def _creates(control: Control) -> int:
    return sum(fault["struck"] for fault in control.faults())


@pytest.mark.faults
def test_throttling_for_six_hours(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, report: list[dict[str, object]]
) -> None:
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        one = _packed(here, tmp_path)
        control.add_fault(**_THROTTLED)
        for _ in range(HOURS * 3600 // _EVERY_S):
            assert _look(here, one) == []
            move_clock(here, _EVERY_S)
        creates = _creates(control)
        # The first burst takes every slot before anybody knows; from then on there is one at a time.
        assert HOURS < creates <= SLOTS + _most_holds(here.settings.throttle_backoff)
        assert not control.jobs()
        longest = here.settings.throttle_backoff.max_delay_ms // 1000
        for _ in range(
            2 * longest // _EVERY_S
        ):  # until a wait begins: just after one has ended, nothing waits
            if _creates(control) > creates:
                break
            move_clock(here, _EVERY_S)
            assert _look(here, one) == []
        assert _creates(control) > creates
        waiting = here.ledger.chunks.requeued()["p", "d"]
        assert "Too many requests" in waiting["why"]
        assert waiting["until"] - waiting["since"] > timedelta(hours=HOURS)
        shown = CliRunner().invoke(cli, ["status", "--json"]).stdout
        assert f"{waiting['count']} requeued: ThrottlingException: Too many requests" in shown
        page = json.loads(CliRunner().invoke(cli, ["status", "p", "d", "--json"]).stdout)
        assert sum("Too many requests" in chunk["why"] for chunk in page["chunks"]) == CHUNKS, (
            "every chunk says why it waits"
        )
        control.clear_faults()
        ticks = until_published(here, one)
        entry = settled(here, one, control.url, records=100 * CHUNKS, slots=SLOTS)
    report.append(
        {
            "point": f"throttled for {HOURS} h, {creates} Creates",
            "scenario": "service",
            "ticks": ticks,
            **entry,
        }
    )


@pytest.mark.faults
def test_after_the_configured_age_it_is_red_with_the_reason(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, report: list[dict[str, object]]
) -> None:
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data", give_up_h=2) as (here, control):
        one = _packed(here, tmp_path)
        control.add_fault(**_THROTTLED)
        red: list[str] = []
        minutes = 0
        while not red:
            red = _look(here, one)
            move_clock(here, 60)
            minutes += 1
            assert minutes < 3 * 60, "nothing went red"
        assert minutes > 2 * 60, "too early"
        assert "Too many requests" in red[0]
        assert "since" in red[0]
        control.clear_faults()
        assert here.ledger.interventions.retry_rejected(one.name, "d") == len(red)
        ticks = until_published(here, one)
        entry = settled(here, one, control.url, records=100 * CHUNKS, slots=SLOTS)
    report.append({"point": "given up, and retried", "scenario": "service", "ticks": ticks, **entry})


@pytest.mark.faults
def test_the_quota_is_lowered_while_it_is_full(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path, report: list[dict[str, object]]
) -> None:
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        one = _packed(here, tmp_path)
        due = here.ledger.submissions.due([one.name], SLOTS)
        assert len(due) == SLOTS
        for chunk in due:
            assert isinstance(submit_chunk(here, one.name, chunk.chunk_key), Submitted)
        control.set_quota(1)
        ticks = until_published(here, one)
        entry = settled(here, one, control.url, records=100 * CHUNKS, slots=SLOTS)
    report.append({"point": "the quota is lowered", "scenario": "service", "ticks": ticks, **entry})
