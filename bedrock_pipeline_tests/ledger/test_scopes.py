"""A statement concerns what it names, and only in the state that it is for: neither another version, dataset or chunk."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import DatabaseUnreachableError, storable
from bedrock_pipeline.ledger.inspection import read_database
from bedrock_pipeline.ledger.queues import TasksChangedError
from bedrock_pipeline.ledger.requeue import RequeueResult
from bedrock_pipeline.ledger.rows import WaitingChunks, usd
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.ledger.tasks import DuplicateTaskError, NewTask
from bedrock_pipeline.ledger.versions import VersionReplacedError
from bedrock_pipeline.pricing.estimates import ChunkEstimate
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.entered import SETTINGS, enter_chunks
from bedrock_pipeline_tests.ledger.test_calls import claimed
from bedrock_pipeline_tests.ledger.test_submissions import (
    accepted,
    enter,
    intend,
    ledger,
    new_chunk,
    record,
    seen,
)

__all__ = ["ledger"]  # the fixture
MINUTE = timedelta(minutes=1)


def rejected(ledger: Ledger, chunk_id: UUID) -> UUID:
    intent = intend(ledger, chunk_id)
    assert isinstance(intent, Intent)
    assert ledger.submissions.reject(chunk_id, intent.fence, reason="no")
    return chunk_id


def status(ledger: Ledger, chunk_id: UUID) -> str:
    found = ledger.chunks.by_id(chunk_id)
    assert found is not None
    return found.status


def test_of_the_rejected_chunks_those_are_retried_that_are_named(ledger: Ledger) -> None:
    first, second, third = (rejected(ledger, chunk) for chunk in enter(ledger, 3))
    [elsewhere] = (rejected(ledger, chunk) for chunk in enter(ledger, 1, dataset="e"))
    assert ledger.interventions.retry_rejected("p", "d", [second, elsewhere]) == 1
    assert [status(ledger, one) for one in (first, second, third, elsewhere)] == [
        *("failed", "pending", "failed", "failed")
    ]
    assert ledger.interventions.retry_rejected("p", "d") == 2
    assert status(ledger, elsewhere) == "failed"


def test_a_job_is_adopted_by_the_chunk_that_has_it_or_none(ledger: Ledger) -> None:
    first, second, third, fourth, fifth = enter(ledger, 5)
    accepted(ledger, first, "arn:1")
    accepted(ledger, second, "arn:2")
    now = datetime.now(UTC)
    assert ledger.interventions.adopt(first, "arn:1", now), "it has it already"
    assert not ledger.interventions.adopt(second, "arn:1", now), "it is another's"
    rejected(ledger, third)
    assert not ledger.interventions.adopt(third, "arn:1", now), "it is another's"
    assert ledger.interventions.adopt(third, "arn:3", now), "a retry after the backup has submitted it"
    assert status(ledger, third) == "queued"
    ledger.interventions.cancel("p", "d")
    assert ledger.interventions.adopt(fifth, "arn:5", now), (
        "it was cancelled after a submission that is not in the backup"
    )
    assert record(ledger, fourth, Tally(100, final_errors=100), parsed_uri="s3://b/")
    assert not ledger.interventions.adopt(fourth, "arn:4", now), "its records have their results"


def test_a_chunk_of_calls_that_ended_is_not_sent_later(ledger: Ledger) -> None:
    [chunk] = [replace(new_chunk(0), mode="on-demand", records=4)]
    enter_chunks(ledger, [chunk])
    claim = claimed(ledger, chunk.chunk_id)
    assert ledger.calls.reject(chunk.chunk_id, claim.fence, reason="denied")
    later: dict[str, Any] = {"reason": "busy", "delay": MINUTE, "give_up_after": MINUTE}
    assert ledger.calls.requeue(chunk.chunk_id, claim.fence, **later) is RequeueResult.LOST
    assert status(ledger, chunk.chunk_id) == "failed"


def test_an_estimate_replaces_one_without_a_cost_alone(ledger: Ledger) -> None:
    """The model had no price when they were entered; what was agreed on stays."""

    def with_cost(cost: int | None, number: int) -> ChunkEstimate:
        return ChunkEstimate(number, number, number, number, None if cost is None else Decimal(cost))

    chunks = [replace(new_chunk(n), estimate=with_cost(cost, 10)) for n, cost in enumerate((1, None, None))]
    assert enter_chunks(ledger, chunks) == "entered"
    again = [replace(chunk, estimate=with_cost(7 + n, 70)) for n, chunk in enumerate(chunks)]
    assert enter_chunks(ledger, again) == "unchanged"
    found = sorted(ledger.chunks.of_dataset("p", "d", 1), key=lambda one: one.sequence)
    assert [one.estimated_cost_usd for one in found] == [1, 8, 9]


def test_a_version_that_was_replaced_is_not_ended_with_the_one_that_was_cancelled(ledger: Ledger) -> None:
    enter(ledger, 1)
    old = ledger.datasets.get("p", "d")
    ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    enter_chunks(ledger, [replace(new_chunk(0), chunk_key="d--v2-00000")], content="other")
    new = ledger.datasets.get("p", "d")
    assert old is not None
    assert new is not None
    ledger.interventions.cancel("p", "d")
    states = "SELECT version, state FROM bedrock_pipeline.versions WHERE pipeline = 'p' ORDER BY version"
    before = ledger.database.fetch(states)
    ledger.versions.end_cancelled(old)
    assert ledger.database.fetch(states) == before, "the old one has no cancellation"
    ledger.versions.end_cancelled(new)
    assert ledger.database.fetch(states) == [before[0], {"version": 2, "state": "cancelled"}]


def test_the_newest_day_is_of_the_pipeline_and_a_day(ledger: Ledger) -> None:
    for pipeline, dataset in (
        *(("p", "2026-01-02"), ("p", "2026-01-09"), ("p", "2026-13-01"), ("p", "2026-01-0"), ("p", "x")),
        ("other", "2026-01-05"),
    ):
        ledger.datasets.request(pipeline, dataset, {}, launch=True)
    found = [ledger.versions.newest_day("p", until=date(2026, 1, day)) for day in (1, 2, 8, 9, 10)]
    assert found == [None, date(2026, 1, 2), date(2026, 1, 2), date(2026, 1, 9), date(2026, 1, 9)]
    assert ledger.versions.newest_day("p", until=date(2027, 1, 1)) == date(2026, 1, 9)


def test_whether_a_schema_alone_decides_is_of_the_chunks_version(ledger: Ledger) -> None:
    """It is decided once a chunk of it ended long ago, and then for all of its chunks."""
    [first] = enter(ledger, 1)
    [other] = enter(ledger, 1, dataset="e")
    for number, chunk in enumerate((first, other)):
        accepted(ledger, chunk, f"arn:{number}")
        ledger.jobs.observe([seen(f"arn:{number}", "completed", 100)])
    assert not ledger.versions.judges_by_schema_only(first, MINUTE)
    assert ledger.versions.judges_by_schema_only(first, timedelta(0))
    assert ledger.versions.judges_by_schema_only(first, MINUTE), "it was decided"
    assert not ledger.versions.judges_by_schema_only(other, MINUTE)


def test_a_lease_lapses_while_its_run_has_not_ended(ledger: Ledger) -> None:
    keys = [("p", name) for name in ("valid", "expired", "released", "failed")]
    ids: dict[tuple[str, str], UUID] = {}
    for key, life in zip(keys, (MINUTE, *[timedelta(0)] * 3), strict=True):
        ids |= ledger.run_leases.acquire("submit", [key], life)
    ledger.run_leases.acquire("collect", [("p", "expired")], timedelta(0))
    ledger.run_leases.release("submit", "p", "released")
    ledger.run_leases.fail("submit", "p", "failed", "no memory", timedelta(0))
    assert ledger.run_leases.lapsed("submit", keys) == {("p", "expired"): ids["p", "expired"]}
    assert ledger.run_leases.lapsed("submit", [("p", "valid"), ("q", "expired")]) == {}


def test_the_lists_are_of_what_they_name(ledger: Ledger) -> None:
    first, second = (rejected(ledger, chunk) for chunk in enter(ledger, 2))
    enter(ledger, 1, dataset="e")
    assert [row.dataset for row in ledger.versions.current("p", after="", limit=9)] == ["d", "e"]
    assert [row.dataset for row in ledger.versions.current("p", after="d", limit=9)] == ["e"]
    assert [row.dataset for row in ledger.versions.current("p", after="", limit=1)] == ["d"]
    waiting = ledger.status_report.waiting_for_operator(["p"], 1)
    assert waiting == {"p": WaitingChunks(2, (("d--00000", "no"),))}
    assert {status(ledger, chunk) for chunk in (first, second)} == {"failed"}
    assert ledger.tasks.size("no such queue") == 0
    ledger.queues.register("q", job_type="t", model_id="m", settings={})
    ledger.served_pipelines.seen(["p", "q"])
    assert "q" not in ledger.served_pipelines.now(), "queues are not served by code locations"
    assert "p" in ledger.served_pipelines.now()
    [lease] = ledger.run_leases.acquire("flush", [("p", "d")], MINUTE).values()
    assert ("flush", "p", "d", lease) in ledger.run_leases.valid()


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "$0.0000"), ("0.00001", "<$0.0001"), ("0.0001", "$0.0001"), ("9.99", "$9.9900"), ("10", "$10.00")],
)
def test_an_amount_is_never_shown_as_nothing(amount: str, shown: str) -> None:
    assert usd(Decimal(amount)) == shown


def test_a_text_is_stored_without_what_postgres_does_not_take(ledger: Ledger) -> None:
    text = storable("a\0b\ud83dc")
    assert text == "ab?c"
    assert ledger.database.fetch("SELECT %s AS text", (text,)) == [{"text": "ab?c"}]


def test_the_day_of_queues_is_that_of_utc(ledger: Ledger) -> None:
    before = datetime.now(UTC).date().isoformat()
    found = ledger.queues.today()
    assert found in (before, datetime.now(UTC).date().isoformat())


@pytest.mark.parametrize(("count", "last"), [(5, "'t4'."), (6, "'t4', ….")])
def test_five_repeated_tasks_are_named(count: int, last: str) -> None:
    assert f"'t3', {last}" in str(DuplicateTaskError("q", [f"t{number}" for number in range(count)]))


def test_what_is_cancelled_is_of_the_pipeline_that_is_named(ledger: Ledger) -> None:
    [mine] = enter(ledger, 1)
    theirs = new_chunk(0)
    enter_chunks(ledger, [theirs], pipeline="other")
    assert [row.chunk_id for row in ledger.interventions.cancel("p", "d")] == [mine]
    assert status(ledger, theirs.chunk_id) == "pending"


def test_a_chunk_of_calls_adopts_no_job(ledger: Ledger) -> None:
    [chunk] = [replace(new_chunk(0), mode="on-demand", records=4)]
    enter_chunks(ledger, [chunk])
    assert not ledger.interventions.adopt(chunk.chunk_id, "arn:1", datetime.now(UTC))


def test_what_waits_for_an_operator_is_not_sent_again(ledger: Ledger) -> None:
    [chunk] = enter(ledger, 1)
    intent = intend(ledger, chunk)
    assert isinstance(intent, Intent)
    assert ledger.submissions.need_resolution(chunk, intent.fence, reason="two jobs have its name")
    assert (
        ledger.submissions.intend_again(
            chunk, intent.fence, uuid4(), consistency_window=timedelta(days=-1), lease=MINUTE
        )
        is None
    )
    assert status(ledger, chunk) == "needs-resolution"


def collected(ledger: Ledger, chunks: list[UUID]) -> list[UUID]:
    """The jobs of these chunks have ended, and a record of each is retryable."""
    for number, chunk in enumerate(chunks):
        accepted(ledger, chunk, f"arn:{number}")
        ledger.jobs.observe([seen(f"arn:{number}", "completed", 100)])
        tally = Tally(100, answered=99, retryable=1)
        assert record(ledger, chunk, tally, parsed_uri="s3://b/")
    return chunks


def test_the_datasets_that_are_retried_are_of_the_pipelines_that_are_named(ledger: Ledger) -> None:
    collected(ledger, enter(ledger, 1))
    assert [(row.pipeline, row.dataset) for row in ledger.retry_rounds.due(["p"], 99)] == [("p", "d")]
    assert ledger.retry_rounds.due(["q"], 99) == []


def test_of_the_retryable_records_those_of_the_named_chunk_are_cancelled(ledger: Ledger) -> None:
    first, _ = collected(ledger, enter(ledger, 2))
    assert [row.chunk_id for row in ledger.interventions.cancel("p", "d", "d--00000")] == [first]
    cancelled = (
        "SELECT chunk_id FROM bedrock_pipeline.retryable_records WHERE cancel_requested_at IS NOT NULL"
    )
    assert ledger.database.fetch(cancelled) == [{"chunk_id": first}]


def test_a_retry_round_keeps_the_pipelines_own_limit(ledger: Ledger) -> None:
    [origin] = collected(ledger, enter(ledger, 1))
    later = replace(
        new_chunk(0), attempt=2, chunk_key="d--a2-00000", origins=(origin,), quota_group="new in us-east-1"
    )
    found = ledger.retry_rounds.open_of("p", "d", 1)
    assert ledger.retry_rounds.enter(
        ledger.datasets.ensure("p", "d"), retryable=found, chunks=[later], max_jobs=7
    )
    limit = "SELECT max_jobs FROM bedrock_pipeline.chunks WHERE chunk_id = %s"
    assert ledger.database.fetch(limit, (later.chunk_id,)) == [{"max_jobs": 7}]


def test_of_two_rounds_in_the_same_place_the_second_is_packed_again(ledger: Ledger) -> None:
    """Each was packed by a process of its own, of other records, when the place was free."""
    origins = collected(ledger, enter(ledger, 2))
    rounds = [
        replace(new_chunk(0), attempt=2, chunk_key="d--a2-00000", origins=(origin,)) for origin in origins
    ]
    first, second = ledger.retry_rounds.open_of("p", "d", 1)
    assert ledger.retry_rounds.enter(ledger.datasets.ensure("p", "d"), retryable=[first], chunks=[rounds[0]])
    assert not ledger.retry_rounds.enter(
        ledger.datasets.ensure("p", "d"), retryable=[second], chunks=[rounds[1]]
    )
    assert [one.chunk.chunk_id for one in ledger.retry_rounds.open_of("p", "d", 1)] == [origins[1]]
    assert ledger.retry_rounds.next_sequence("p", "d", 1, 2) == 1


def flushed(ledger: Ledger, queue: str, day: str, sequence: int = 0) -> UUID:
    """A job of one task."""
    ledger.queues.register(queue, job_type="t", model_id="m", settings={})
    ledger.tasks.add(queue, [NewTask(f"{queue} {day} {sequence}", b"{}\n")], replace=False)
    [task] = ledger.tasks.in_order(queue, newest=2**62, limit=1)
    [chunk] = ledger.queues.enter_chunks(
        queue, day, task_ids=[task.task_id], chunks=[new_chunk(sequence, day)]
    )
    return chunk.chunk_id


def test_a_queues_jobs_are_of_its_own(ledger: Ledger) -> None:
    """Two queues have a day of the same name: what concerns the jobs of one is not the other's."""
    ledger.versions.keep_settings(SETTINGS)
    mine, theirs = flushed(ledger, "q", "2026-01-02"), flushed(ledger, "other", "2026-01-02")
    costs = "SELECT pipeline, packed_records FROM bedrock_pipeline.versions WHERE pipeline IN ('q', 'other')"
    assert {tuple(row.values()) for row in ledger.database.fetch(costs)} == {("q", 100), ("other", 100)}
    assert [row.chunk_id for row in ledger.interventions.cancel("q", "2026-01-02")] == [mine]
    cancelled = "SELECT chunk_id FROM bedrock_pipeline.queue_jobs WHERE cancel_requested_at IS NOT NULL"
    assert ledger.database.fetch(cancelled) == [{"chunk_id": mine}]
    assert status(ledger, theirs) == "pending"


def test_a_queue_flushes_no_task_of_another(ledger: Ledger) -> None:
    ledger.queues.register("q", job_type="t", model_id="m", settings={})
    ledger.versions.keep_settings(SETTINGS)
    [theirs] = ledger.tasks.in_order("neighbours", newest=2**62, limit=1)
    with pytest.raises(TasksChangedError):
        ledger.queues.enter_chunks("q", "2026-01-02", task_ids=[theirs.task_id], chunks=[new_chunk(0)])


def test_a_queue_hears_of_the_later_chunks_that_its_own_records_are_in(ledger: Ledger) -> None:
    """A job ends with the chunk of a later attempt that holds its records, and with no other."""
    ledger.versions.keep_settings(SETTINGS)
    position = ledger.events.now()
    jobs = collected(ledger, [flushed(ledger, "q", "2026-01-02", sequence) for sequence in range(2)])
    [first, second] = ledger.retry_rounds.open_of("q", "2026-01-02", 1)
    for number, one in enumerate((first, second)):
        later = replace(
            new_chunk(number, "2026-01-02"),
            attempt=2,
            chunk_key=f"2026-01-02--a2-{number:05}",
            origins=(jobs[number],),
        )
        assert ledger.retry_rounds.enter(
            ledger.datasets.ensure("q", "2026-01-02"), retryable=[one], chunks=[later]
        )
        rejected(ledger, later.chunk_id)
    found = [(event.chunk_id, event.status) for event in ledger.events.of_queue("q", position) if event.later]
    assert found == [(jobs[0], "failed"), (jobs[1], "failed")]


def test_what_no_chunk_has_changes_nothing(ledger: Ledger) -> None:
    """An identifier may be of a ledger that was restored since."""
    unknown = uuid4()
    assert isinstance(intend(ledger, unknown), NotNow)
    assert isinstance(ledger.calls.claim(unknown, MINUTE), NotNow)


def test_a_replaced_version_is_named_with_the_one_that_replaced_it(ledger: Ledger) -> None:
    begun = ledger.datasets.begin_preparation("p", "d")
    ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    with pytest.raises(VersionReplacedError, match=r"^Version 1 of dataset 'd' .* replaced by version 2\."):
        ledger.datasets.record_snapshot(
            begun, SETTINGS, uri="s3://b/", content_hash="h", records=1, rejected=0
        )


def test_the_version_that_is_judged_by_its_schema_alone_is_the_current_one(ledger: Ledger) -> None:
    enter(ledger, 1)
    ledger.datasets.request("p", "d", {}, launch=True, new_version=True)
    ledger.versions.judge_by_schema_only("p", "d")
    decided = """SELECT version, schema_only_since IS NOT NULL AS decided FROM bedrock_pipeline.versions
                 WHERE pipeline = 'p' AND dataset = 'd' ORDER BY version"""
    assert [tuple(row.values()) for row in ledger.database.fetch(decided)] == [(1, False), (2, True)]


def test_chunks_that_wait_are_replaced_when_they_are_packed_otherwise(ledger: Ledger) -> None:
    [first] = enter(ledger, 1)
    row = ledger.datasets.get("p", "d")
    assert row is not None
    again = [new_chunk(0), new_chunk(1)]
    assert ledger.datasets.enter_chunks(row, packed_hash="otherwise", rejected=0, chunks=again) == "replaced"
    assert ledger.chunks.by_id(first) is None
    assert {one.chunk_id for one in ledger.chunks.of_dataset("p", "d", 1)} == {one.chunk_id for one in again}


def test_a_database_says_what_it_is(ledger: Ledger, postgres_dsn: str) -> None:
    facts = read_database(postgres_dsn, connect_timeout=5)
    assert facts.has_schema
    assert not facts.missing_migrations
    assert facts.database == conninfo_to_dict(postgres_dsn)["dbname"]
    with pytest.raises(DatabaseUnreachableError, match="did not respond"):
        read_database(make_conninfo(postgres_dsn, port=1), connect_timeout=5)
