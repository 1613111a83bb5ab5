"""Migrations, datasets, run leases and events, on a real Postgres."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.migrations import migrate, migration_folder
from bedrock_pipeline.ledger.rows import InputFile, NewChunk
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.ledger.versions import DatasetChangedError
from bedrock_pipeline_tests.ledger.entered import SETTINGS, enter_chunks


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn) as ledger:
        ledger.migrate()
        yield ledger


def chunk(number: int, key: str = "d--00000") -> NewChunk:
    from uuid import UUID

    return NewChunk(
        UUID(int=number),
        1,
        0,
        key,
        10,
        10,
        (InputFile("s3://b/k.jsonl", 10, 10, "0"),),
        "0",
        "s3://b/i",
        "m",
        "g in us-east-1",
        {},
        SETTINGS.digest,
    )


def test_two_processes_migrate_at_once_and_a_third_finds_nothing_to_do(empty_dsn: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(empty_dsn))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = sorted(applied, key=len)
    assert (first, second) == ([], sorted(path.stem for path in migration_folder().glob("*.sql")))
    assert migrate(empty_dsn) == []


def intend(ledger: Ledger, number: int) -> Intent:
    taken = ledger.submissions.intend(
        chunk(number).chunk_id, chunk(99).chunk_id, request={}, lease=timedelta(seconds=9)
    )
    assert isinstance(taken, Intent)
    return taken


def test_the_same_dataset_again(ledger: Ledger) -> None:
    ledger.datasets.request("p", "d", {"source": "a"}, launch=True)
    assert [row.dataset for row in ledger.datasets.to_launch(["p"], 10)] == ["d"]
    assert enter_chunks(ledger, [chunk(1)], content="one") == "entered"
    assert ledger.datasets.to_launch(["p"], 10) == []
    assert enter_chunks(ledger, [chunk(1)], content="one") == "unchanged"
    assert enter_chunks(ledger, [chunk(2, "d--v2-00000")], content="two") == "entered"
    assert [one.status for one in ledger.chunks.of_dataset("p", "d", 1)] == ["stopped"], (
        "nothing was submitted"
    )
    intend(ledger, 2)
    assert enter_chunks(ledger, [chunk(2)], content="two") == "unchanged"
    with pytest.raises(DatasetChangedError, match="--new-version"):
        enter_chunks(ledger, [chunk(3)], content="three")
    with pytest.raises(DatasetChangedError, match="--new-version"):
        ledger.datasets.request("p", "d", {"source": "b"}, launch=True)
    row = ledger.datasets.request("p", "d", {"source": "b"}, launch=True, new_version=True)
    assert row.version == 3
    assert enter_chunks(ledger, [chunk(3, "d--v3-00000")], content="three") == "entered"
    states = [(one.version, one.state) for one in ledger.versions.history("p", "d")]
    assert states == [(3, "packed"), (2, "replaced"), (1, "replaced")]


def test_a_new_version_buys_nothing_more_of_the_last_one(ledger: Ledger) -> None:
    enter_chunks(ledger, [chunk(1), replace(chunk(2, "d--00001"), sequence=1)], max_jobs=9)
    taken = intend(ledger, 1)
    ledger.datasets.request("p", "d", {}, launch=False, new_version=True)
    assert [one.status for one in ledger.chunks.of_dataset("p", "d", 1)] == ["submitting", "stopped"]
    result = ledger.submissions.requeue(
        chunk(1).chunk_id,
        taken.fence,
        reason="throttled",
        delay=timedelta(0),
        back_off_group=False,
        give_up_after=timedelta(hours=1),
    )
    assert result == "cancelled"
    assert ledger.submissions.due(["p"], 10) == []


def test_a_dataset_key_that_breaks_the_rule_is_rejected(ledger: Ledger) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.datasets.ensure("p", "a--b")


def test_a_run_lease_is_acquired_again_only_when_none_is_valid(ledger: Ledger) -> None:
    minute = timedelta(minutes=1)
    subject = ("p", "d--00000")
    first = ledger.run_leases.acquire("submit", [subject], minute)
    assert first.keys() == {subject}
    assert ledger.run_leases.acquire("submit", [subject], minute) == {}
    collecting = ledger.run_leases.acquire("collect", [subject], minute)
    assert collecting.keys() == {subject}
    ledger.run_leases.release("submit", *subject)
    second = ledger.run_leases.acquire("submit", [subject], minute)
    assert len({*first.values(), *collecting.values(), *second.values()}) == 3, (
        "each is another run for Dagster"
    )
    ledger.run_leases.renew("submit", *subject, timedelta(hours=1))
    with ledger.database.connection() as connection:
        connection.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = '2 minutes'")
    assert ledger.run_leases.acquire("submit", [subject], minute) == {}
    assert ledger.run_leases.acquire("collect", [subject], minute).keys() == {subject}


def test_no_event_is_missed_that_was_committed_late(ledger: Ledger, postgres_dsn: str) -> None:
    for number in (1, 2):
        enter_chunks(ledger, [chunk(number, f"d{number}--00000")], dataset=f"d{number}", max_jobs=9)
    start = ledger.events.now()
    fail = "UPDATE bedrock_pipeline.chunks SET status = 'failed', ended_at = now() WHERE dataset = %s"
    with psycopg.connect(postgres_dsn) as late:
        late.execute(fail, ("d1",))
        with psycopg.connect(postgres_dsn) as early:
            early.execute(fail, ("d2",))
        assert ledger.events.after(start) == [], "an older transaction may still commit"
    events = ledger.events.after(start)
    assert [event.dataset for event in events] == ["d1", "d2"]
    assert ledger.events.after(events[0].position) == events[1:]
