"""The submission protocol's transactions, on a real Postgres."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.interventions import NothingToResolveError
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.rows import InputFile, NewChunk
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.entered import SETTINGS, enter_chunks

LEASE = timedelta(seconds=60)
GROUP = QuotaGroup("m", "us-east-1")
REQUEST = {"jobName": "x", "modelId": "m"}


def new_chunk(sequence: int, dataset: str = "d") -> NewChunk:
    return NewChunk(
        chunk_id=uuid4(),
        attempt=1,
        sequence=sequence,
        chunk_key=f"{dataset}--{sequence:05}",
        records=100,
        bytes=1000,
        files=(InputFile("s3://b/k.jsonl", 100, 1000, "00"),),
        content_hash="00",
        index_uri="s3://b/index.parquet",
        model_id="m",
        quota_group=str(GROUP),
        request=REQUEST,
        settings_digest=SETTINGS.digest,
    )


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn) as ledger:
        ledger.migrate()
        yield ledger


def enter(ledger: Ledger, count: int, max_jobs: int = 5, dataset: str = "d") -> list[UUID]:
    chunks = [new_chunk(sequence, dataset) for sequence in range(count)]
    ledger.quota_groups.set_max_jobs(GROUP, max_jobs)
    enter_chunks(ledger, chunks, dataset=dataset, content=f"h{count}")
    return [chunk.chunk_id for chunk in chunks]


def intend(ledger: Ledger, chunk_id: UUID) -> Intent | NotNow:
    return ledger.submissions.intend(chunk_id, uuid4(), request=REQUEST, lease=LEASE)


def taken(ledger: Ledger, chunk_id: UUID) -> Intent:
    intent = intend(ledger, chunk_id)
    assert isinstance(intent, Intent), intent
    return intent


def requeue(ledger: Ledger, intent: Intent, delay: timedelta, *, back_off_group: bool = False) -> str:
    return ledger.submissions.requeue(
        intent.chunk.chunk_id,
        intent.fence,
        reason="throttled",
        delay=delay * (intent.throttles + 1 if back_off_group else intent.chunk.submissions),
        back_off_group=back_off_group,
        give_up_after=timedelta(days=2),
    )


def move_clock(ledger: Ledger, by: timedelta) -> None:
    with ledger.database.connection() as connection:
        connection.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = clock_offset + %s", (by,))


def test_a_chunk_has_one_intent_however_many_ask(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    first = intend(ledger, chunk_id)
    assert isinstance(first, Intent)
    for _ in range(5):
        assert isinstance(intend(ledger, chunk_id), NotNow)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_racing_threads_never_take_more_slots_than_there_are(
    ledger: Ledger, postgres_dsn: str, isolation: str
) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_isolation = {}").format(
                sql.Identifier(connection.info.dbname), isolation
            )
        )
    chunk_ids = enter(ledger, 40, max_jobs=5)
    taken: list[Intent] = []

    def race(mine: list[UUID]) -> None:
        with Ledger(postgres_dsn) as own:
            taken.extend(got for chunk_id in mine if isinstance(got := intend(own, chunk_id), Intent))

    threads = [threading.Thread(target=race, args=(chunk_ids[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 5


def test_the_same_intent_is_recognised_after_a_lost_acknowledgement(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    intent_id = uuid4()
    once = ledger.submissions.intend(chunk_id, intent_id, request=REQUEST, lease=LEASE)
    again = ledger.submissions.intend(chunk_id, intent_id, request=REQUEST, lease=LEASE)
    assert isinstance(once, Intent)
    assert isinstance(again, Intent)
    assert (once.fence, once.token) == (again.fence, again.token)


def test_the_token_stays_when_sent_again_and_a_sleeper_changes_nothing(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    sleeper = intend(ledger, chunk_id)
    assert isinstance(sleeper, Intent)
    assert ledger.submissions.mark_in_doubt(chunk_id, sleeper.fence, reason="timeout")
    consistency_window = timedelta(minutes=20)
    assert ledger.submissions.to_reconcile(consistency_window, 10) == []
    move_clock(ledger, LEASE + consistency_window)
    [found] = ledger.submissions.to_reconcile(consistency_window, 10)
    again = ledger.submissions.intend_again(
        chunk_id, found.fence, uuid4(), consistency_window=consistency_window, lease=LEASE
    )
    assert again is not None
    assert again.token == sleeper.token
    assert again.fence == sleeper.fence + 1
    before = ledger.chunks.by_id(chunk_id)
    assert requeue(ledger, sleeper, LEASE) == "lost"
    assert not ledger.submissions.record_accepted(chunk_id, sleeper.fence, "arn:late")
    for late in (
        ledger.submissions.reject,
        ledger.submissions.mark_in_doubt,
        ledger.submissions.need_resolution,
    ):
        assert not late(chunk_id, sleeper.fence, reason="late")
    assert ledger.chunks.by_id(chunk_id) == before
    assert ledger.submissions.record_accepted(chunk_id, again.fence, "arn:1")
    assert ledger.submissions.record_accepted(chunk_id, again.fence, "arn:1"), "recording twice is recognised"


def test_what_was_said_of_a_submission_in_doubt_is_not_said_of_its_job(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    taken = intend(ledger, chunk_id)
    assert isinstance(taken, Intent)
    assert ledger.submissions.mark_in_doubt(chunk_id, taken.fence, reason="no response arrived")
    assert ledger.submissions.record_accepted(chunk_id, taken.fence, "arn:1")
    now = ledger.chunks.by_id(chunk_id)
    assert now is not None
    assert now.status_message is None


def test_a_requeued_chunk_frees_its_slot_and_waits(ledger: Ledger) -> None:
    first, second = enter(ledger, 2, max_jobs=1)
    taken = intend(ledger, first)
    assert isinstance(taken, Intent)
    assert isinstance(intend(ledger, second), NotNow)
    assert ledger.submissions.due(["p"], 10) == []
    assert requeue(ledger, taken, timedelta(hours=1)) == "requeued"
    assert [chunk.chunk_id for chunk in ledger.submissions.due(["p"], 10)] == [second]
    waiting = intend(ledger, first)
    assert isinstance(waiting, NotNow)
    assert waiting.reason == "throttled"
    assert waiting.until is not None
    move_clock(ledger, timedelta(hours=1))
    assert isinstance(intend(ledger, first), Intent)


def test_a_rejected_chunk_waits_for_an_operator_and_can_be_retried(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    taken = intend(ledger, chunk_id)
    assert isinstance(taken, Intent)
    assert ledger.submissions.reject(chunk_id, taken.fence, reason="ValidationException")
    assert ledger.chunks.to_collect(["p"], 10) == []
    assert ledger.submissions.due(["p"], 10) == []
    assert ledger.interventions.retry_rejected("p", "d") == 1
    assert isinstance(intend(ledger, chunk_id), Intent)


def test_nothing_more_is_bought_for_a_version_that_was_replaced(ledger: Ledger) -> None:
    """Neither by a retry of its rejected chunks, nor by a retry round, nor for a chunk that was in doubt."""
    rejected, collected, in_doubt = enter(ledger, 3)
    for chunk_id, end in (
        (rejected, ledger.submissions.reject),
        (in_doubt, ledger.submissions.mark_in_doubt),
    ):
        taken = intend(ledger, chunk_id)
        assert isinstance(taken, Intent)
        assert end(chunk_id, taken.fence, reason="x")
    accepted(ledger, collected, "arn:1")
    ledger.jobs.observe([seen("arn:1", "completed")])
    tally = Tally(records=100, answered=0, final_errors=0, retryable=100, input_tokens=0, output_tokens=0)
    assert record(ledger, collected, tally, parsed_uri="s3://b/p/")
    read = ledger.datasets.ensure("p", "d")
    retryable = ledger.retry_rounds.open_of("p", "d", 1)
    before = ledger.chunks.of_dataset("p", "d", 1)
    ledger.datasets.request("p", "d", {}, launch=False, new_version=True)
    assert ledger.interventions.retry_rejected("p", "d") == 0
    round_2 = [replace(new_chunk(0), attempt=2, chunk_key="d--r2-00000")]
    assert not ledger.retry_rounds.enter(read, retryable=retryable, chunks=round_2, max_jobs=5)
    assert ledger.chunks.of_dataset("p", "d", 1) == before
    ledger.database.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = interval '1 hour'")
    [found] = [one for one in ledger.submissions.to_reconcile(LEASE, 9) if one.pipeline == "p"]
    again = ledger.submissions.intend_again(
        in_doubt, found.fence, uuid4(), consistency_window=LEASE, lease=LEASE
    )
    assert again is not None
    assert again.withdrawn


def test_what_failed_or_is_at_work_does_not_keep_others_waiting(ledger: Ledger) -> None:
    failing = enter(ledger, 2)
    enter(ledger, 1, dataset="e")
    for number, chunk_id in enumerate([*failing, ledger.chunks.by_key("p", "e--00000").chunk_id]):
        accepted(ledger, chunk_id, f"arn:{number}")
        ledger.jobs.observe([seen(f"arn:{number}", "completed")])

    def first_due() -> str:
        [chunk] = ledger.chunks.to_collect(["p"], 1)
        return chunk.chunk_key

    assert first_due() == "d--00000"
    for key in ("d--00000", "d--00001"):  # two runs: one has failed, one is at work
        assert ledger.run_leases.acquire("collect", [("p", key)], LEASE)
    ledger.run_leases.release("collect", "p", "d--00000")
    assert first_due() == "e--00000"
    assert [chunk.chunk_key for chunk in ledger.chunks.to_collect(["p"], 9)] == [
        "e--00000",
        "d--00000",
        "d--00001",
    ]


def accepted(ledger: Ledger, chunk_id: UUID, arn: str) -> None:
    taken = intend(ledger, chunk_id)
    assert isinstance(taken, Intent)
    assert ledger.submissions.record_accepted(chunk_id, taken.fence, arn)


def record(ledger: Ledger, chunk_id: UUID, tally: Tally, *, parsed_uri: str) -> bool:
    chunk = ledger.chunks.by_id(chunk_id)
    assert chunk is not None
    return ledger.chunks.record_collected(chunk_id, chunk.fence, tally, parsed_uri=parsed_uri)


def seen(arn: str, status: str, processed: int | None = None) -> Observation:
    return Observation(arn, status, None, 100, processed, processed, 0)  # type: ignore[arg-type]  # the table's strings


def test_a_status_goes_forward_only_and_terminal_rows_cannot_change(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    accepted(ledger, chunk_id, "arn:1")
    for status, changes in [
        ("in-process", 1),
        ("validating", 0),
        ("in-process", 0),
        ("completed", 1),
        ("failed", 0),
    ]:
        assert len(ledger.jobs.observe([seen("arn:1", status, 5)])) == changes, status
    assert not [job for job in ledger.jobs.in_flight() if job.pipeline == "p"]
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="ended"),
        ledger.database.connection() as connection,
    ):
        connection.execute(
            "UPDATE bedrock_pipeline.chunks SET status = 'in-process', ended_at = NULL WHERE chunk_id = %s",
            [chunk_id],
        )
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="a job"),
        ledger.database.connection() as connection,
    ):
        connection.execute(
            "UPDATE bedrock_pipeline.chunks SET job_arn = 'arn:2' WHERE chunk_id = %s", [chunk_id]
        )


def test_collecting_twice_is_recorded_once_and_must_account_for_every_record(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    accepted(ledger, chunk_id, "arn:1")
    ledger.jobs.observe([seen("arn:1", "completed", 100)])

    def with_responses(answered: int) -> bool:
        tally = Tally(100, answered=answered, final_errors=1, input_tokens=1, output_tokens=1)
        return record(ledger, chunk_id, tally, parsed_uri="s3://b/parsed/")

    with pytest.raises(psycopg.errors.CheckViolation, match="collected_is_whole"):
        with_responses(98)
    assert ledger.publications.due(["p"], 10) == []
    assert with_responses(99)
    assert not with_responses(99)
    assert [row.dataset for row in ledger.publications.due(["p"], 10)] == ["d"]
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="was collected"),
        ledger.database.connection() as connection,
    ):
        connection.execute("UPDATE bedrock_pipeline.chunks SET answered = 98, final_errors = 2")


def test_due_never_returns_more_than_the_free_slots(ledger: Ledger) -> None:
    chunk_ids = enter(ledger, 10, max_jobs=3)
    assert len(ledger.submissions.due(["p"], 10)) == 3
    accepted(ledger, chunk_ids[0], "arn:1")
    assert len(ledger.submissions.due(["p"], 10)) == 2
    assert ledger.submissions.due(["another"], 10) == []


def test_a_transient_error_after_a_cancellation_ends_the_chunk(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    intent = taken(ledger, chunk_id)
    ledger.interventions.cancel("p", "d")
    assert ledger.submissions.reject(chunk_id, intent.fence, reason="denied")
    assert [chunk.status for chunk in ledger.chunks.to_collect(["p"], 9)] == ["stopped"]


def test_a_chunk_that_is_requeued_for_too_long_fails(ledger: Ledger) -> None:
    [chunk_id] = enter(ledger, 1)
    for expected in ("requeued", "given up"):
        taken = intend(ledger, chunk_id)
        assert isinstance(taken, Intent)
        assert requeue(ledger, taken, timedelta(minutes=1)) == expected
        move_clock(ledger, timedelta(days=3))
    [chunk] = ledger.chunks.of_dataset("p", "d", 1)
    assert chunk.status == "failed"
    assert "throttled" in (chunk.status_message or "")


def test_a_cancellation_is_carried_out_at_the_next_safe_point(ledger: Ledger) -> None:
    waiting, submitting, flying, denied = enter(ledger, 4)
    intent = intend(ledger, submitting)
    assert isinstance(intent, Intent)
    accepted(ledger, flying, "arn:1")
    other = intend(ledger, denied)
    assert isinstance(other, Intent)
    ledger.submissions.reject(denied, other.fence, reason="no")
    statuses = {chunk.chunk_id: chunk.status for chunk in ledger.interventions.cancel("p", "d")}
    assert statuses == {waiting: "stopped", submitting: "submitting", flying: "queued", denied: "stopped"}
    assert {chunk.chunk_id for chunk in ledger.interventions.cancel("p", "d")} == {submitting, flying}
    assert requeue(ledger, intent, LEASE) == "cancelled"
    [job] = [job for job in ledger.jobs.in_flight() if job.pipeline == "p"]
    assert job.cancel_requested_at is not None
    assert {chunk.chunk_id for chunk in ledger.chunks.to_collect(["p"], 9)} == {waiting, submitting, denied}
    assert ledger.interventions.retry_rejected("p", "d") == 0


def test_a_limit_that_is_lowered_while_all_slots_are_taken_frees_none_before_its_time(ledger: Ledger) -> None:
    chunk_ids = enter(ledger, 5, max_jobs=3)
    for number in range(3):
        accepted(ledger, chunk_ids[number], f"arn:{number}")
    ledger.quota_groups.set_max_jobs(GROUP, 1)
    for ended, free in ((0, 0), (1, 0), (2, 1)):
        ledger.jobs.observe([seen(f"arn:{ended}", "completed")])
        assert len(ledger.submissions.due(["p"], 10)) == free
        not_now = isinstance(intend(ledger, chunk_ids[3]), NotNow)
        assert not_now == (free == 0)


def test_jobs_of_others_use_slots(ledger: Ledger) -> None:
    enter(ledger, 5, max_jobs=3)
    ledger.quota_groups.record_others("us-east-1", None, {str(GROUP): 2, "another in us-east-1": 7})
    assert len(ledger.submissions.due(["p"], 10)) == 1
    ledger.quota_groups.record_others("us-east-1", "123456789012", {str(GROUP): 3})
    assert len(ledger.submissions.due(["p"], 10)) == 1, "another account's"
    ledger.quota_groups.record_others("us-east-1", None, {})
    assert len(ledger.submissions.due(["p"], 10)) == 3


def test_a_blocked_chunk_is_resolved_by_a_person(ledger: Ledger) -> None:
    first, second = enter(ledger, 2)
    for chunk_id in (first, second):
        taken = intend(ledger, chunk_id)
        assert isinstance(taken, Intent)
        assert ledger.submissions.need_resolution(chunk_id, taken.fence, reason="two jobs")
    assert ledger.interventions.adopt(first, "arn:1", datetime.now(UTC))
    ledger.interventions.resolve_without_job(second)
    with pytest.raises(NothingToResolveError):
        ledger.interventions.resolve_without_job(second)
    assert {chunk.status for chunk in ledger.chunks.of_dataset("p", "d", 1)} == {"queued", "pending"}
