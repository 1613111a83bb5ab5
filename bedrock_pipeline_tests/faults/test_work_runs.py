"""A work run is killed in the middle of many chunks: the next one goes on, and what the dead one did is reported too.

What belongs here: the death of a process with many items. Deaths at every effect of one item are in `test_crashes.py`.
"""

from functools import partial
from pathlib import Path

import pytest

from bedrock_pipeline.carry_out import Report, carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, WorkItem
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.work import ALIVE, Failure, WorkLimits, do_due_work, renewed
from bedrock_pipeline_tests.faults.children import exit_code
from bedrock_pipeline_tests.faults.deployment import PATIENCE_TICKS, emulated_deployment
from bedrock_pipeline_tests.faults.invariants import SLOTS, dataset, settled
from bedrock_pipeline_tests.faults.worker import Death, move_clock, start_to

CHUNKS = 8
_LIMITS = Limits(min_records=50, max_records=100, max_jobs=SLOTS)
_DEATHS = [
    ("jobs.create", False, 3),
    ("jobs.create", True, 3),
    ("submissions.record_accepted", True, 2),
    ("chunks.record_collected", False, 2),
    ("chunks.record_collected", True, 2),
    ("publications.record", True, 0),
]


def work_runs(deployment: Deployment, one: Pipeline, reported: Path) -> None:
    """What the sensors request, until the dataset is published and nothing is left unreported."""
    leases = deployment.ledger.run_leases

    def report(item: WorkItem, _: Report) -> None:
        with reported.open("a") as lines:
            lines.write(f"{item.kind} {item.key}\n")

    for _ in range(PATIENCE_TICKS):
        reconcile_in_doubt(deployment)
        poll_jobs(deployment)
        for kind, pipeline, key in leases.unfinished([one.name], WITHOUT_CODE, 50):
            item = WorkItem(kind, pipeline, key)
            assert leases.acquire(kind, [(pipeline, key)], ALIVE)
            with renewed(deployment, kind, pipeline, key):
                report(item, carry_out(deployment, one, item))
        for found in do_due_work(deployment, [one], WorkLimits(3, 300), report):
            assert not isinstance(found, Failure), found
        row = deployment.ledger.datasets.ensure(one.name, "d")
        if row.published_at and not leases.valid():
            return
        move_clock(deployment, 61)
    raise AssertionError(f"{row.state}, {leases.valid()}")


@pytest.mark.faults
@pytest.mark.parametrize(("effect", "after", "passed"), _DEATHS)
def test_a_work_run_that_is_killed_loses_nothing_and_leaves_nothing_unreported(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    effect: str,
    after: bool,
    passed: int,
) -> None:
    one, reported, log = dataset(tmp_path, 100 * CHUNKS, _LIMITS), tmp_path / "reported", tmp_path / "log"
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        take_snapshot(here, one, "d")
        pack_dataset(here, one, "d")
        act = partial(work_runs, one=one, reported=reported)
        first = start_to(here.settings, act, death=Death(effect, after=after, passed=passed), log=log)
        assert exit_code(first) == -9, log.read_text()
        move_clock(here, 61)
        second = start_to(here.settings, act, death=None, log=log)
        assert exit_code(second) == 0, log.read_text()
        entry = settled(here, one, control.url, records=100 * CHUNKS)
        lines = reported.read_text().splitlines()
        for chunk in here.ledger.chunks.of_dataset("p", "d", 1):
            submitted, collected = f"submit {chunk.chunk_key}", f"collect {chunk.chunk_key}"
            assert {submitted, collected} <= set(lines)
            assert lines[::-1].index(collected) < lines[::-1].index(submitted), "collected is reported last"
        assert "publish d" in lines
    point = f"{'after' if after else 'before'} {effect}, after {passed} others"
    report.append({"point": point, "scenario": "work run", "kills": 1, **entry})
