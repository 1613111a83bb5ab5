"""Working through what is due: the order, the limits, whose turn it is, and what a failure means for the rest."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.carry_out import Report, carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, WorkItem
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger.run_leases import MOST_SHOWN
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.work import Failure, WorkLimits, do_due_work, failure_of, in_order
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline

CHUNKS = 8
_MANY = WorkLimits(100, 1e6)


@pytest.fixture
def packed(deployment: Deployment, tmp_path: Path) -> Pipeline:
    one = pipeline(
        tmp_path,
        [f"t{number}" for number in range(100 * CHUNKS)],
        limits=Limits(min_records=50, max_records=100, max_jobs=20),
    )
    take_snapshot(deployment, one, "d")
    assert len(pack_dataset(deployment, one, "d").chunks) == CHUNKS
    return one


def done(
    deployment: Deployment,
    pipelines: Sequence[BasePipeline],
    carried_out: Callable[..., Report] = carry_out,
) -> list[Any]:
    return list(do_due_work(deployment, pipelines, _MANY, lambda *_: None, carried_out=carried_out))


def keys(*numbers: int) -> list[str]:
    return [f"d--{number:05}" for number in numbers]


def test_what_fills_slots_comes_first_and_nothing_is_tried_twice() -> None:
    due = [WorkItem(kind, "p", "k") for kind in WITHOUT_CODE]
    assert [item.kind for item in in_order(due, set())] == ["submit", "publish", "collect", "retry"]
    assert [item.kind for item in in_order(due, {due[0], due[2]})] == ["publish", "collect"]


@pytest.mark.parametrize(
    ("limits", "expected"), [(WorkLimits(3, 1e6), 3), (WorkLimits(100, 5.0), 5), (_MANY, CHUNKS)]
)
def test_a_work_run_ends_after_so_many_items_or_seconds(
    deployment: Deployment, packed: Pipeline, limits: WorkLimits, expected: int
) -> None:
    """Each item takes a second of this clock."""
    clock = [0.0]

    def report(_: WorkItem, __: Report) -> None:
        clock[0] += 1

    timed = replace(deployment, system=replace(deployment.system, monotonic=lambda: clock[0]))
    found = list(do_due_work(timed, [packed], limits, report))
    assert found == [WorkItem("submit", "p", key) for key in keys(*range(expected))]
    if expected < CHUNKS:
        rest = done(deployment, [packed])
        assert [item.key for item in rest] == keys(*range(expected, CHUNKS)), "the next one goes on"


def test_an_item_is_reported_before_its_lease_is_released_and_not_taken_twice(
    deployment: Deployment, packed: Pipeline
) -> None:
    beside: list[WorkItem] = []

    def report(item: WorkItem, _: Report) -> None:
        assert deployment.ledger.run_leases.taken([("submit", "p", item.key)])
        if item.key == keys(0)[0]:
            beside.extend(done(deployment, [packed]))

    first = list(do_due_work(deployment, [packed], _MANY, report))
    assert first == [WorkItem("submit", "p", keys(0)[0])]
    assert [item.key for item in beside] == keys(*range(1, CHUNKS))


def failing(error: Callable[[str], BaseException], *which: str) -> Callable[..., Report]:
    def carried_out(deployment: Deployment, one: BasePipeline, item: WorkItem) -> Report:
        if item.key in which:
            raise error(item.key)
        return carry_out(deployment, one, item)

    return carried_out


def test_a_failure_concerns_its_item_alone_and_a_few_get_a_run_of_their_own(
    deployment: Deployment, packed: Pipeline
) -> None:
    bad = keys(*range(MOST_SHOWN + 2))
    broken = failing(lambda key: RuntimeError(f"chunk {key} of s3://b/{key} has 7 things"), *bad)
    found = done(deployment, [packed], broken)
    assert [one.item.key for one in found if isinstance(one, Failure)] == bad
    assert [one.key for one in found if isinstance(one, WorkItem)] == keys(MOST_SHOWN + 2)
    leases = deployment.ledger.run_leases
    own = leases.unfinished(["p"], WITHOUT_CODE, 50)
    assert own == [("submit", "p", key) for key in bad[:MOST_SHOWN]]
    assert done(deployment, [packed]) == [], "nobody tries it again at once"
    assert leases.acquire("submit", [(pipeline, key) for _, pipeline, key in own], timedelta(minutes=5))
    for lease in own:
        leases.fail(*lease, "chunk … of … has … things", timedelta(0))  # as the run of its own does
    assert leases.unfinished(["p"], WITHOUT_CODE, 50) == [], "each is shown once"
    move_clock(deployment, 61)
    assert {item.key for item in done(deployment, [packed])} == set(bad), "what is still due is tried again"
    assert leases.unfinished(["p"], WITHOUT_CODE, 50) == []


def test_code_that_ends_the_process_is_a_failure_of_its_item(
    deployment: Deployment, packed: Pipeline
) -> None:
    with pytest.raises(SystemExit):
        done(deployment, [packed], failing(lambda _: SystemExit(3), *keys(0)))
    assert deployment.ledger.run_leases.unfinished(["p"], WITHOUT_CODE, 50) == [("submit", "p", keys(0)[0])]
    status = deployment.ledger.status_report.dataset("p", "d")
    assert status is not None
    assert "has failed with SystemExit" in str(status.next)


def test_a_service_that_is_away_ends_the_run_and_no_item_has_failed(
    deployment: Deployment, packed: Pipeline
) -> None:
    away = failing(lambda _: ServiceUnavailableError("Postgres is away."), *keys(1))
    with pytest.raises(ServiceUnavailableError):
        done(deployment, [packed], away)
    assert deployment.ledger.run_leases.unfinished(["p"], WITHOUT_CODE, 50) == []
    assert {item.key for item in done(deployment, [packed])} == set(keys(*range(1, CHUNKS)))


def test_what_a_process_had_when_it_died_gets_a_run_of_its_own(
    deployment: Deployment, packed: Pipeline
) -> None:
    """A generator that is closed inside of an item leaves what a process leaves that is killed there."""

    class _KilledError(BaseException):
        pass

    def die(item: WorkItem, _: Report) -> None:
        if item.key == keys(2)[0]:
            raise _KilledError

    with pytest.raises(_KilledError):
        list(do_due_work(deployment, [packed], _MANY, die))
    assert [item.key for item in done(deployment, [packed])] == keys(*range(3, CHUNKS))
    leases = deployment.ledger.run_leases
    assert leases.unfinished(["p"], WITHOUT_CODE, 50) == []
    move_clock(deployment, 61)
    assert leases.unfinished(["p"], WITHOUT_CODE, 50) == [("submit", "p", keys(2)[0])]
    chunk = deployment.ledger.chunks.by_key("p", keys(2)[0])
    assert chunk.job_arn, "it was submitted, and a run of its own reports it"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Chunk d--00000 was not accepted: denied.", "Chunk d--r2-00017 was not accepted: denied.", True),
        ("no object s3://b/a/1.jsonl", "no object s3://b/x/2.jsonl", True),
        ("jobs that may be: arn:aws:bedrock:a, arn:b", "jobs that may be: arn:aws:bedrock:c, arn:d", True),
        ("12 of 100 records", "1,300 of 5000 records", True),
        ("Chunk d--00000 was not accepted: denied.", "Chunk d--00000 was not accepted: invalid.", False),
    ],
)
def test_failures_for_one_reason_are_one_failure(first: str, second: str, same: bool) -> None:
    texts = {failure_of(RuntimeError(text), "d", 1) for text in (first, second)}
    assert (len(texts) == 1) is same
    assert failure_of(RuntimeError(first), "d", 1) != failure_of(RuntimeError(first), "d", 2)
    assert failure_of(RuntimeError(first), "d", 1) != failure_of(ValueError(first), "d", 1)
