"""Connections: what we set ourselves, and what is survived. Over the real Postgres."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import ClassVar
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import Connection, Database, DatabaseUnreachableError
from bedrock_pipeline.ledger.migrations import migrate

#: Defaults of a database that no statement of the ledger may meet.
_HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_SETTINGS = """
    SELECT name, current_setting(name) AS value FROM unnest(ARRAY[
        'transaction_isolation', 'transaction_read_only', 'statement_timeout', 'lock_timeout',
        'idle_in_transaction_session_timeout', 'application_name']) AS name"""


@pytest.fixture
def database(empty_dsn: str) -> Iterator[Database]:
    with closing(Database(empty_dsn)) as opened:
        yield opened


def test_a_database_without_the_tables_is_named_with_the_command_that_makes_them(empty_dsn: str) -> None:
    with (
        Ledger(empty_dsn) as ledger,
        pytest.raises(ConfigurationError, match="have the ledger's tables") as raised,
    ):
        ledger.datasets.get("p", "d")
    assert "bedrock-pipeline migrate" in (raised.value.fix or "")


def test_every_transaction_has_our_settings_whatever_the_defaults_are(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        for name, value in _HOSTILE.items():
            statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
            database = sql.Identifier(connection.info.dbname)
            connection.execute(statement.format(database, sql.Identifier(name), value))
    with closing(Database(empty_dsn)) as opened:
        for _ in range(2):
            assert {row["name"]: row["value"] for row in opened.fetch(_SETTINGS)} == {
                "transaction_isolation": "read committed",
                "transaction_read_only": "off",
                "statement_timeout": "5min",
                "lock_timeout": "2min",
                "idle_in_transaction_session_timeout": "1min",
                "application_name": "bedrock-pipeline",
            }


def test_nothing_stays_in_the_session(database: Database) -> None:
    """Behind a pooler the next transaction may be somebody else's."""
    with database.connection() as connection:
        before = connection.info.backend_pid
    for _ in range(20):
        database.fetch("SELECT %s::int AS number", (1,))
    with database.connection() as connection:
        assert connection.info.backend_pid == before
        connection.commit()
        left = """SELECT (SELECT count(*) FROM pg_prepared_statements) AS prepared,
                         (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks,
                         current_setting('statement_timeout') AS timeout"""
        assert connection.execute(left).fetchone() == {"prepared": 0, "locks": 0, "timeout": "0"}


def test_the_connection_string_decides_where_it_says_something(empty_dsn: str) -> None:
    with closing(Database(make_conninfo(empty_dsn, application_name="theirs"))) as opened:
        row = opened.fetch("SELECT current_setting('application_name') AS name")[0]
    assert row["name"] == "theirs"


def test_a_running_process_survives_a_migration(empty_ledger_dsn: str) -> None:
    """A statement that the server had prepared would fail: its result has another type now."""
    with Ledger(empty_ledger_dsn, max_connections=1) as ledger:
        for _ in range(20):
            ledger.datasets.ensure("p", "d")
            ledger.datasets.get("p", "d")
        with psycopg.connect(empty_ledger_dsn, autocommit=True) as connection:
            connection.execute("ALTER TABLE bedrock_pipeline.datasets ADD COLUMN later text")
        with ledger.database.connection() as connection:
            row = connection.execute("SELECT * FROM bedrock_pipeline.datasets").fetchone()
        assert row is not None
        assert "later" in row


@pytest.mark.parametrize("listens", [True, False], ids=["silent", "rejecting"])
def test_a_server_that_does_not_answer_is_named_with_the_reason(listens: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        if not listens:
            server.close()
        dsn = f"host=127.0.0.1 port={port} dbname=none"
        with closing(Database(dsn, connect_timeout=2)) as database:
            reason = "timeout" if listens else "refused"
            with pytest.raises(DatabaseUnreachableError, match=rf"within 2 s: .*{reason}"):
                database.fetch("SELECT 1")


def test_a_migration_does_not_wait_for_ever_for_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dsn = f"host=127.0.0.1 port={server.getsockname()[1]} dbname=none"
        with pytest.raises(DatabaseUnreachableError):
            migrate(dsn)


def test_a_connection_that_nobody_used_for_a_minute_is_replaced(empty_dsn: str) -> None:
    now = [0.0]
    with closing(Database(empty_dsn, monotonic=lambda: now[0])) as database:

        def pid() -> object:
            return database.fetch("SELECT pg_backend_pid() AS pid")[0]["pid"]

        first = pid()
        now[0] += 59
        assert pid() == first
        now[0] += 61
        assert pid() != first


def test_threads_share_as_many_connections_as_are_allowed(empty_dsn: str) -> None:
    with closing(Database(empty_dsn, max_connections=2)) as database, ThreadPoolExecutor(8) as threads:
        both = Barrier(2)
        threads.submit(database.transaction, lambda _: both.wait())
        database.transaction(lambda _: both.wait())  # two are in use at once
        found = threads.map(lambda _: database.fetch("SELECT pg_backend_pid() AS pid"), range(100))
        assert len({rows[0]["pid"] for rows in found}) <= 2


class Losing(psycopg.Connection[DictRow]):
    """Loses commits, or only the acknowledgements of commits that Postgres has."""

    lost: ClassVar[list[str]] = []

    def commit(self) -> None:
        how = self.lost.pop() if self.lost else None
        if how != "commit":
            super().commit()
        if how:
            self.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")


class Unfinished(psycopg.Connection[DictRow]):
    """The first commit goes on at the server after its connection was given up."""

    left: ClassVar[list[threading.Thread]] = []

    def commit(self) -> None:
        if self.left:
            super().commit()
            return
        self.left.append(threading.Thread(target=self._go_on))
        self.left[0].start()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def _go_on(self) -> None:
        time.sleep(0.5)
        super().commit()
        super().close()

    def rollback(self) -> None:
        """Nothing: this side has lost the connection."""

    def close(self) -> None:
        """Nothing, as `rollback`."""


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        (Losing, ["acknowledgement"]),
        (Losing, ["commit"]),
        (Losing, ["commit", "acknowledgement"]),
        (Unfinished, []),
    ],
    ids=["acknowledgement", "commit", "both", "unfinished"],
)
def test_a_row_is_added_once_whatever_becomes_of_a_commit(
    empty_ledger_dsn: str, kind: type[psycopg.Connection[DictRow]], lost: list[str]
) -> None:
    def add(connection: Connection) -> int:
        done = connection.execute("INSERT INTO added DEFAULT VALUES RETURNING id").fetchone()
        assert done is not None
        return int(done["id"])

    with closing(Database(empty_ledger_dsn)) as setup:
        setup.execute("CREATE TABLE added (id integer GENERATED ALWAYS AS IDENTITY)")

    def connect() -> Connection:
        return kind.connect(empty_ledger_dsn, row_factory=dict_row)

    with closing(Database(empty_ledger_dsn, connect=connect, sleep=lambda _: None)) as database:
        Losing.lost[:], Unfinished.left[:] = reversed(lost), []
        added = database.exactly_once(add)
        assert not Losing.lost, "each was lost"
        assert database.fetch("SELECT id FROM added") == [{"id": added}]
        database.forget_commits()
        assert len(database.fetch("SELECT commit_id FROM bedrock_pipeline.commits")) == 1, (
            "a retry may look for it"
        )
        database.execute(
            "UPDATE bedrock_pipeline.commits SET committed_at = committed_at - interval '2 days'"
        )
        database.forget_commits()
        assert database.fetch("SELECT commit_id FROM bedrock_pipeline.commits") == []


def test_what_is_to_be_done_once_says_that_the_tables_are_missing(empty_dsn: str) -> None:
    with closing(Database(empty_dsn)) as database, pytest.raises(ConfigurationError, match="tables"):
        database.exactly_once(lambda _: None)


def test_a_role_that_lacks_a_right_is_sent_to_whoever_grants_it(empty_ledger_dsn: str) -> None:
    role = sql.Identifier(f"limited_{uuid4().hex}")
    with psycopg.connect(empty_ledger_dsn, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            with (
                closing(Database(empty_ledger_dsn)) as database,
                pytest.raises(
                    ConfigurationError, match="permission denied for schema bedrock_pipeline"
                ) as raised,
            ):
                database.transaction(lambda connection: _as_role(connection, role))
            assert "bedrock-pipeline doctor" in raised.value.fix
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(role))


def _as_role(connection: Connection, role: sql.Identifier) -> None:
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
    connection.execute("SELECT FROM bedrock_pipeline.commits")
