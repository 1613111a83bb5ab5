"""The real Postgres of a simulation: its settings, its clock, and connections that stop at each statement.

What belongs here: everything that the simulation says to the server.
"""

import os
import signal
import time
from collections.abc import Generator, Sequence
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import pq, sql
from psycopg.rows import DictRow, dict_row

from bedrock_pipeline_tests.simulation.scheduler import Killed, Process

_T = TypeVar("_T")
#: Nothing of the server's own happens: no vacuum, no other plan, no deadlock timer before ours; and nothing is kept.
_SETTINGS: Final = {
    "autovacuum": "off",
    "deadlock_timeout": "10min",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",  # else the first executions of a prepared statement have plans of their own
    "synchronize_seqscans": "off",
    "synchronous_commit": "off",
}
_SHOWN = 60
#: What may be in a statement that changes something.
_WRITE: Final = ("INSERT ", "UPDATE", "DELETE ", "LOCK ", "COPY ")
_GONE_S = 30.0
#: The clock stands still until the scheduler moves it.
_CLOCK = """CREATE OR REPLACE FUNCTION bedrock_pipeline.now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT '1970-01-01T00:00Z'::timestamptz + clock_offset FROM bedrock_pipeline.deployment $$"""


def _identity(name: str) -> str:
    """The statement with which the ledger is in the database of this name."""
    return f"""CREATE OR REPLACE FUNCTION bedrock_pipeline.database_identity() RETURNS text LANGUAGE sql STABLE AS
               $$ SELECT '{name}' $$"""


class Stoppable(psycopg.Connection[DictRow]):
    """A connection whose process stops before each round trip to the server.

    Attributes:
        process: whose it is; None while the simulation itself uses it.
        begins: the statement that begins the simulation's own transaction; it is not sent yet.
    """

    process: Process | None = None
    said = ""
    pid = 0
    begins = ""
    _only_read = False

    @classmethod
    def open(cls, dsn: str) -> Self:
        """Connect. A process's statements are not prepared, so that plans do not depend on what ran before."""
        made = cls.connect(dsn, row_factory=dict_row, cursor_factory=_Cursor, prepare_threshold=None)
        made.pid = made.info.backend_pid
        return made

    def lend(self, process: Process | None) -> None:
        """Let a process have it."""
        self.process, self.begins = process, ""
        if process:
            process.backends.add(self.pid)

    def wait(self, gen: Generator[Any, Any, _T], *args: Any, **kwargs: Any) -> _T:
        """One round trip, when the scheduler wants it."""
        if getattr(gen, "__name__", "") == "_enter_gen":  # of a pipeline: nothing is sent yet
            return super().wait(gen, *args, **kwargs)
        process, said, self.said = self.process, self.said, ""
        if process is None or self.closed or self._is_unseen(said):
            if process and said == "COMMIT":
                process.in_transaction.pop(self.pid, None)
            return super().wait(gen, *args, **kwargs)
        try:
            fate = process.stop(said, "Postgres")
        except Killed:
            self.close()
            raise
        if fate == "fail":
            self.close()
            process.ended(said, "connection lost")
            raise psycopg.OperationalError("the simulation cut the connection before the statement was sent")
        process.querying = self.pid
        try:
            result = super().wait(gen, *args, **kwargs)
        except psycopg.Error as error:
            self._note(process)
            process.ended(said, type(error).__name__)
            if process.deadlocked and isinstance(error, psycopg.errors.QueryCanceled):
                process.deadlocked = False
                raise psycopg.errors.DeadlockDetected("the simulation chose this one") from error
            raise
        finally:
            process.querying = None
        if fate == "lose":
            self.close()
            process.ended(said, "answer lost")
            raise psycopg.OperationalError("the simulation cut the connection after the statement")
        self._note(process)
        process.ended(said)
        return result

    def commit(self) -> None:
        """Commit, as an effect of this name."""
        self.said = "COMMIT"
        super().commit()

    def rollback(self) -> None:
        """Roll back, as an effect of this name."""
        self.said = "ROLLBACK"
        super().rollback()

    def close(self) -> None:
        """Close it; a process's locks are free once the server has noticed.

        That of a dead process is rolled back instead and serves the next one: another would start cold.
        """
        if self.closed:
            return
        if self.process and self.process.dead:
            self.process.in_transaction.pop(self.pid, None)
            self.process.releases += 1
            return
        super().close()
        if self.process:
            self.process.in_transaction.pop(self.pid, None)
            self.process.backends.discard(self.pid)
            self.process.releases += 1
            self.process.scheduler.closed(self.pid)

    def _is_unseen(self, said: str) -> bool:
        """Whether it changes nothing for others: the beginning of a transaction, and the end of one that only read."""
        if said.startswith("BEGIN "):
            self._only_read = True
        elif not said.startswith(("SELECT ", "WITH ")) or " FOR " in said:
            if said == "COMMIT" and self._only_read:
                return True
            self._only_read = False
        return not said or said.startswith("BEGIN ")

    def _note(self, process: Process) -> None:
        """Whether a transaction is open now."""
        if self.closed or self.pgconn.transaction_status == pq.TransactionStatus.IDLE:
            process.in_transaction.pop(self.pid, None)
            process.releases += 1
        else:
            process.in_transaction[self.pid] = process.scheduler.now


class _Cursor(psycopg.Cursor[DictRow]):
    """Says which statement the connection is at."""

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Self:
        """Run a statement."""
        text = self._say(query)
        return self if self._is_deferred(text) else super().execute(query, *args, **kwargs)

    def executemany(self, query: Any, *args: Any, **kwargs: Any) -> None:
        """Run a statement for many values."""
        self._is_deferred(self._say(query))
        super().executemany(query, *args, **kwargs)

    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        """Copy rows."""
        self._is_deferred(self._say(statement))
        return super().copy(statement, *args, **kwargs)

    def _is_deferred(self, text: str) -> bool:
        """Whether a statement of the simulation itself is not sent now: the begin of a transaction, before it writes.

        Nothing happens beside it, so what only reads needs no transaction. Its plans are kept, but not longer than a
        simulation: each begins with TRUNCATE, which drops them.
        """
        connection = self._own
        if connection.process:
            return False
        begins = text.startswith("BEGIN ")
        if begins and not text.endswith("; COMMIT"):
            connection.begins = text
            return True
        writes = begins or any(word in text for word in _WRITE)
        connection.prepare_threshold = None if writes else 0
        if writes and connection.begins:
            first, connection.begins = connection.begins, ""
            super().execute(first.encode())
        return False

    @property
    def _own(self) -> Stoppable:
        assert isinstance(self.connection, Stoppable)  # which makes no other cursor
        return self.connection

    def _say(self, query: Any) -> str:
        connection = self._own
        text = query if isinstance(query, str) else query.as_string(connection)
        whole = said = " ".join(text.split())
        if said.startswith("BEGIN ") and said.endswith("; COMMIT"):  # a whole transaction in one round trip
            said = said[said.index("DO ") :]
        locks = " FOR UPDATE" if " FOR " in said[_SHOWN:] else ""
        connection.said = f"{said[:_SHOWN]}{locks}"
        return whole


class Server:
    """What the simulation does at the server, over a connection of its own.

    Args:
        dsn: of a database with the ledger's tables.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._monitor = psycopg.connect(dsn, autocommit=True)
        for name, value in _SETTINGS.items():
            self._monitor.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )
        self._monitor.execute("SELECT pg_reload_conf()")
        self._monitor.execute(_CLOCK)
        self._monitor.execute(_identity("original"))
        self._restored = False
        rows = self._monitor.execute(
            """SELECT table_name, array_agg(column_name::text) FILTER (WHERE is_generated = 'NEVER')
               FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
               WHERE table_schema = 'bedrock_pipeline' AND table_type = 'BASE TABLE'
                 AND table_name NOT IN ('deployment', 'migrations') GROUP BY 1 ORDER BY 1"""
        ).fetchall()
        #: Of each table: what is written into it, which its generated columns are not.
        self._columns: dict[str, list[str]] = dict(rows)
        self._tables = ", ".join(f"bedrock_pipeline.{name}" for name in self._columns)

    def reset(self, at: float) -> None:
        """An empty ledger, and its clock."""
        if self._restored:
            self._monitor.execute(_identity("original"))
            self._restored = False
        self._monitor.execute(f"TRUNCATE {self._tables} RESTART IDENTITY CASCADE")
        self._monitor.execute(
            "UPDATE bedrock_pipeline.deployment SET deployment_id = '00000000-0000-0000-0000-000000000001'"
        )
        self.set_clock(at)

    def back_up(self) -> None:
        """Copy what is committed now, and how far each sequence is."""
        with self._monitor.transaction():
            self._monitor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._monitor.execute("DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup")
            for table in self._columns:
                self._monitor.execute(f"CREATE TABLE backup.{table} AS TABLE bedrock_pipeline.{table}")
            self._monitor.execute(
                """CREATE TABLE backup.sequences AS SELECT sequencename AS name, last_value AS last FROM pg_sequences
                   WHERE schemaname = 'bedrock_pipeline'"""
            )

    def restore(self) -> None:
        """Put the copy back, as another database would have it. No session is in a transaction."""
        self._restored = True
        with self._monitor.transaction():
            self._monitor.execute("SET LOCAL session_replication_role = replica")  # no trigger, as a restore
            self._monitor.execute(f"TRUNCATE {self._tables} RESTART IDENTITY CASCADE")
            for table, columns in self._columns.items():
                copied = "INSERT INTO bedrock_pipeline.{0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM backup.{0}"
                names = sql.SQL(", ").join(map(sql.Identifier, columns))
                self._monitor.execute(sql.SQL(copied).format(sql.Identifier(table), names))
            self._monitor.execute(
                "SELECT setval(format('bedrock_pipeline.%I', name), last) FROM backup.sequences WHERE last IS NOT NULL"
            )
            self._monitor.execute(_identity("restored"))

    def set_clock(self, at: float) -> None:
        """The time that the ledger sees, in seconds since 1970."""
        self._monitor.execute(
            "UPDATE bedrock_pipeline.deployment SET clock_offset = make_interval(secs => %s)", (at,)
        )

    def blocked(self, backends: Sequence[int]) -> dict[int, set[int]]:
        """Who waits for whom."""
        rows = self._monitor.execute(
            "SELECT p, pg_blocking_pids(p) FROM unnest(%s::int[]) AS p", (list(backends),)
        ).fetchall()
        return {backend: set(by) for backend, by in rows if by}

    def freeze(self, backend: int, frozen: bool) -> None:
        """Suspend the server's process of a session, which waits for a lock, or let it run again."""
        os.kill(backend, signal.SIGSTOP if frozen else signal.SIGCONT)

    def cancel(self, backend: int) -> None:
        """Cancel what it does."""
        self._monitor.execute("SELECT pg_cancel_backend(%s)", (backend,))

    def terminate(self, backends: Sequence[int]) -> None:
        """End sessions, and wait until their locks are free."""
        self._monitor.execute("SELECT pg_terminate_backend(p) FROM unnest(%s::int[]) AS p", (list(backends),))
        self.wait_until_gone(backends)

    def wait_until_gone(self, backends: Sequence[int]) -> None:
        """Wait for the server to notice that connections were closed."""
        until = time.monotonic() + _GONE_S
        while time.monotonic() < until:
            row = self._monitor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (list(backends),)
            ).fetchone()
            if row == (0,):
                return
            time.sleep(0.0005)
        raise TimeoutError("Postgres keeps sessions whose connections were closed")

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """What the ledger has, for the end of the story."""
        with self._monitor.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(statement).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._monitor.close()
