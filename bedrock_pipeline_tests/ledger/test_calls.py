"""On-demand calls in the ledger: who may send, what a late writer changes, and that nothing counts twice."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from psycopg import sql

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.calls import Calls, Claim
from bedrock_pipeline.ledger.requeue import RequeueResult
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import NotNow
from bedrock_pipeline_tests.ledger.entered import enter_chunks
from bedrock_pipeline_tests.ledger.test_submissions import new_chunk

LEASE, LATER, HOUR = timedelta(minutes=2), timedelta(minutes=3), timedelta(hours=1)
RECORDS = 4
LINES = [(number, b'{"recordId":"r%d"}\n' % number) for number in range(RECORDS)]


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn, max_connections=8) as ledger:
        yield ledger


def enter(ledger: Ledger, chunks: int = 1) -> list[UUID]:
    entered = [replace(new_chunk(n), mode="on-demand", records=RECORDS) for n in range(chunks)]
    enter_chunks(ledger, entered)
    return [chunk.chunk_id for chunk in entered]


def claimed(ledger: Ledger, chunk_id: UUID) -> Claim:
    claim = ledger.calls.claim(chunk_id, LEASE)
    assert isinstance(claim, Claim)
    return claim


def begin(
    ledger: Ledger, chunk_id: UUID, fence: int, positions: range = range(RECORDS), apart: timedelta = HOUR
) -> timedelta | None:
    return ledger.calls.begin(chunk_id, fence, positions, wave=uuid4(), lease=LEASE, apart=apart)


def pass_time(ledger: Ledger, passed: timedelta) -> None:
    ledger.database.execute(
        "UPDATE bedrock_pipeline.deployment SET clock_offset = clock_offset + %s", (passed,)
    )


def row(ledger: Ledger, chunk_id: UUID) -> ChunkRow:
    found = ledger.chunks.by_id(chunk_id)
    assert found is not None
    return found


def all_rows(ledger: Ledger) -> list[object]:
    return [
        ledger.database.fetch(
            sql.SQL("SELECT to_jsonb(t) AS row FROM bedrock_pipeline.{} t ORDER BY 1").format(
                sql.Identifier(table)
            )
        )
        for table in ("chunks", "on_demand_calls", "quota_groups")
    ]


@pytest.mark.parametrize(
    ("write", "result", "cancelled"),
    [
        (
            lambda calls, *late: calls.begin(*late, [2], wave=uuid4(), lease=LEASE, apart=HOUR),
            None,
            False,
        ),
        (lambda calls, *late: calls.record(*late, [LINES[1]], succeeded=1), False, False),
        (
            lambda calls, *late: calls.requeue(*late, reason="busy", delay=HOUR, give_up_after=HOUR),
            RequeueResult.LOST,
            False,
        ),
        (lambda calls, *late: calls.reject(*late, reason="denied"), False, False),
        (lambda calls, *late: calls.end_withdrawn(*late), False, True),
    ],
    ids=["begin", "record", "requeue", "reject", "end_withdrawn"],
)
def test_a_process_whose_chunk_was_taken_over_changes_nothing(
    ledger: Ledger, write: Callable[[Calls, UUID, int], object], result: object, cancelled: bool
) -> None:
    """It was suspended beyond its lease: what it would send now was sent by another, and is paid for."""
    [chunk_id] = enter(ledger)
    late = claimed(ledger, chunk_id)
    assert begin(ledger, chunk_id, late.fence, range(2), timedelta(0)) is not None
    pass_time(ledger, LATER)
    assert claimed(ledger, chunk_id).fence == late.fence + 1
    if cancelled:
        ledger.interventions.cancel("p", "d")
    before = all_rows(ledger)
    assert write(ledger.calls, chunk_id, late.fence) == result
    assert all_rows(ledger) == before


def test_a_response_that_is_recorded_again_counts_once_and_the_first_is_kept(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger)
    fence = claimed(ledger, chunk_id).fence
    begin(ledger, chunk_id, fence, range(2))
    assert ledger.calls.record(chunk_id, fence, LINES[:2], succeeded=1)
    assert ledger.calls.record(chunk_id, fence, [(0, b"other"), (1, b"other")], succeeded=2)
    now = row(ledger, chunk_id)
    assert (now.processed_count, now.success_count, now.error_count) == (2, 1, 1)
    assert ledger.calls.lines(chunk_id) == [line for _, line in LINES[:2]]


def test_the_last_response_completes_a_chunk_and_no_earlier_one(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger)
    fence = claimed(ledger, chunk_id).fence
    begin(ledger, chunk_id, fence)
    assert ledger.calls.record(chunk_id, fence, LINES[:-1], succeeded=3)
    assert (row(ledger, chunk_id).status, row(ledger, chunk_id).ended_at) == ("pending", None)
    assert ledger.chunks.to_collect(["p"], 9) == []
    assert ledger.calls.record(chunk_id, fence, LINES[-1:], succeeded=0)
    assert row(ledger, chunk_id).status == "completed"
    assert [chunk.chunk_id for chunk in ledger.chunks.to_collect(["p"], 9)] == [chunk_id]
    assert ledger.calls.lines(chunk_id) == [line for _, line in LINES]


def test_a_chunk_is_due_and_may_be_claimed_while_nobody_sends_its_records(ledger: Ledger) -> None:
    def due() -> list[UUID]:
        return [chunk.chunk_id for chunk in ledger.submissions.due(["p"], 9)]

    [chunk_id] = enter(ledger)
    assert due() == [chunk_id]
    fence = claimed(ledger, chunk_id).fence
    begin(ledger, chunk_id, fence, range(2), timedelta(0))
    assert ledger.calls.record(chunk_id, fence, LINES[:1], succeeded=1)
    assert due() == []
    not_now = ledger.calls.claim(chunk_id, LEASE)
    assert not_now == NotNow("Another process sends its records.", row(ledger, chunk_id).lease_expires_at)

    pass_time(ledger, LATER)
    assert due() == [chunk_id]
    assert claimed(ledger, chunk_id) == Claim(fence + 1, frozenset({0})), "what has no response is sent"

    result = ledger.calls.requeue(chunk_id, fence + 1, reason="busy", delay=HOUR, give_up_after=HOUR)
    assert result is RequeueResult.REQUEUED
    assert due() == []
    assert ledger.calls.claim(chunk_id, LEASE) == NotNow("busy", row(ledger, chunk_id).next_attempt_at)
    pass_time(ledger, HOUR)
    assert due() == [chunk_id]


def test_calls_of_a_group_are_apart_and_leases_last_until_they_are_sent(ledger: Ledger) -> None:
    """Every thread sends the records of another chunk, all at the same time."""
    chunks = enter(ledger, 4)
    fences = {chunk_id: claimed(ledger, chunk_id).fence for chunk_id in chunks}
    together = Barrier(len(chunks))
    began = ledger.run_leases.now()

    def send(chunk_id: UUID) -> timedelta:
        together.wait()
        waited = begin(ledger, chunk_id, fences[chunk_id])
        assert waited is not None
        return waited

    with ThreadPoolExecutor(len(chunks)) as threads:
        waits = dict(zip(chunks, threads.map(send, chunks), strict=True))
    took = ledger.run_leases.now() - began
    for place, (chunk_id, waited) in enumerate(sorted(waits.items(), key=lambda one: one[1])):
        first = place * RECORDS * HOUR
        assert first - took <= waited <= first
        expires_at = row(ledger, chunk_id).lease_expires_at
        assert expires_at is not None
        assert began <= expires_at - first - RECORDS * HOUR - LEASE <= began + took
