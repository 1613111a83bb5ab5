"""Connections and transactions.

What belongs here: the pool, and what is tried again when Postgres says so. No statement of the ledger.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from bedrock_pipeline.errors import ServiceUnavailableError

Connection = psycopg.Connection[DictRow]
Statement = LiteralString | sql.SQL | sql.Composed
Values = Sequence[Any] | Mapping[str, Any] | None
T = TypeVar("T")

_TRANSIENT = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.OperationalError,  # the server went away, also between COMMIT and its acknowledgement
)


def connection_string(**fields: str | int) -> SecretStr | None:
    """A libpq connection string of these fields, its values quoted; None of none."""
    return SecretStr(conninfo.make_conninfo("", **fields)) if fields else None


class DatabaseUnreachableError(ServiceUnavailableError):
    """Postgres did not answer."""


class Database:
    """A small pool of connections to one database, opened at first use.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.
        max_connections: connections that this process may hold; run workers are many, so keep it small.
        connect_timeout: seconds to wait for a connection.
        sleep: waits between two tries of a transaction.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 2,
        connect_timeout: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.dsn = dsn
        self._timeout = connect_timeout
        self._sleep = sleep
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            dsn,
            connection_class=psycopg.Connection[DictRow],
            kwargs={"row_factory": dict_row, "connect_timeout": max(2, int(connect_timeout))},
            min_size=0,
            max_size=max_connections,
            open=False,
            # No check before use: it costs a round trip, and waits for seconds after a failure. `transaction` finds
            # out by itself, and tries again on another connection.
            timeout=connect_timeout,
            max_idle=60,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One connection, in a transaction that commits at the end of the block.

        Raises:
            DatabaseUnreachableError: no connection within `connect_timeout`.
        """
        self._pool.open()
        try:
            borrowed = self._pool.getconn(timeout=self._timeout)
        except PoolTimeout as error:
            raise DatabaseUnreachableError(
                f"Postgres did not answer within {self._timeout:.0f} s.",
                "Check PGHOST, PGPORT, PGUSER and PGDATABASE, and that the server is running.",
            ) from error
        try:
            with borrowed:
                yield borrowed
        finally:
            self._pool.putconn(borrowed)

    def transaction(self, work: Callable[[Connection], T], *, tries: int = 7) -> T:
        """Run `work` in a transaction, again after a deadlock, a serialisation failure or a lost connection.

        A commit whose acknowledgement was lost is indistinguishable from one that did not happen, so `work`
        must recognise its own earlier effect (for instance by an id that the caller chose).
        """
        for attempt in range(1, tries + 1):
            try:
                with self.connection() as connection:
                    return work(connection)
            except _TRANSIENT:
                if attempt == tries:
                    raise
                # At once first: a connection that died in the pool is replaced while one asks for another.
                self._sleep(min(0.05 * (2 ** (attempt - 1) - 1), 1.0))
        raise AssertionError("unreachable: the loop returns or raises")

    def exactly_once(
        self, work: Callable[[Connection], tuple[T, str | None]], *, tries: int = 7, looks: int = 100
    ) -> T:
        """Run `work` in a transaction, again like `transaction` does, but never after it was committed.

        Where the acknowledgement of a commit is lost, Postgres is asked what became of it, so `work` need not
        recognise its own effect.

        Args:
            work: returns its result and its transaction's id (`pg_current_xact_id()::text`), None where it wrote
                nothing.
            tries: how often it is tried.
            looks: how often a transaction that is still ending is looked at.

        Raises:
            psycopg.OperationalError: what became of it could not be found out.
        """
        for attempt in range(1, tries + 1):
            done: tuple[T, str | None] | None = None
            try:
                with self.connection() as connection:
                    done = work(connection)
                return done[0]
            except _TRANSIENT:
                if done and done[1] and self._committed(done[1], looks):
                    return done[0]
                if attempt == tries:
                    raise
                self._sleep(min(0.05 * 2**attempt, 1.0))
        raise AssertionError("unreachable: the loop returns or raises")

    def _committed(self, transaction: str, looks: int) -> bool:
        for _ in range(looks):
            row = self.fetch("SELECT pg_xact_status(%s::xid8) AS status", (transaction,))[0]
            if row["status"] != "in progress":
                return bool(row["status"] == "committed")
            self._sleep(0.1)
        raise psycopg.OperationalError(f"transaction {transaction} neither commits nor ends")

    def fetch(self, statement: Statement, values: Values = None) -> list[DictRow]:
        """The rows of one statement, in a transaction of its own."""
        return self.transaction(lambda connection: connection.execute(statement, values).fetchall())

    def execute(self, statement: Statement, values: Values = None) -> int:
        """How many rows one statement changed, in a transaction of its own."""
        return self.transaction(lambda connection: connection.execute(statement, values).rowcount)
