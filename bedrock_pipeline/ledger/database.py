"""Connections and transactions.

What belongs here: connections and their session settings, and the errors after which a transaction is repeated. No
statement of the ledger.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import IsolationLevel, conninfo, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import SecretStr

from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.system import SYSTEM

Connection = psycopg.Connection[DictRow]
Connect = Callable[[], Connection]
Statement = LiteralString | sql.SQL | sql.Composed
Values = Sequence[Any] | Mapping[str, Any] | None
T = TypeVar("T")

_TRANSIENT = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.IdleInTransactionSessionTimeout,  # this process was suspended
    psycopg.OperationalError,  # the connection was lost, also between COMMIT and its acknowledgement
)
#: A connection that is dead without a message is noticed within a minute and a half.
_KEEPALIVES: Final[dict[str, str | int]] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 90_000,
    "fallback_application_name": "bedrock-pipeline",
}
#: In ms. A suspended process keeps its locks for the last of these; the others end what would hang.
_TIMEOUTS: Final = {
    "statement_timeout": "300000",
    "lock_timeout": "120000",
    "idle_in_transaction_session_timeout": "60000",
}


def connection_string(**fields: str | int) -> SecretStr | None:
    """A libpq connection string of these fields, its values quoted; None without fields."""
    return SecretStr(conninfo.make_conninfo("", **fields)) if fields else None


def configure(connection: Connection) -> None:
    """Set what the ledger's statements rely on, whatever the defaults of server, database and role are."""
    connection.autocommit = True
    connection.execute(
        "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS t(name, value)",
        (list(_TIMEOUTS), list(_TIMEOUTS.values())),
    )
    connection.autocommit = False
    connection.isolation_level = IsolationLevel.READ_COMMITTED


def _with_defaults(dsn: str, connect_timeout: float) -> str:
    """The connection string with our settings where it has none of its own."""
    defaults = _KEEPALIVES | {"connect_timeout": max(2, int(connect_timeout))}
    return conninfo.make_conninfo("", **(defaults | conninfo.conninfo_to_dict(dsn)))


class DatabaseUnreachableError(ServiceUnavailableError):
    """Postgres did not respond."""


class _OneConnection:
    """One connection in place of a pool, opened again after it broke; for one thread."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def open(self) -> None:
        """Opened at first use."""

    def getconn(self, timeout: float) -> Connection:  # noqa: ARG002  # as a pool's
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            configure(self._connection)
        return self._connection

    def putconn(self, connection: Connection) -> None:
        """It is kept."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Database:
    """Connections to one database, opened at first use.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.
        max_connections: of the pool. A deployment has many run workers, so keep it small.
        connect_timeout: seconds to wait for a connection.
        sleep: waits between two attempts of a transaction.
        connect: makes the only connection, in place of a pool; for a single thread.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 2,
        connect_timeout: float = 10.0,
        sleep: Callable[[float], None] = SYSTEM.sleep,
        connect: Connect | None = None,
    ) -> None:
        self.dsn = dsn
        self._timeout = connect_timeout
        self._sleep = sleep
        parameters = _with_defaults(dsn, connect_timeout)
        self._connect = connect or partial(
            psycopg.Connection[DictRow].connect, parameters, row_factory=dict_row
        )
        self._pool: ConnectionPool[Connection] | _OneConnection = (
            _OneConnection(connect)
            if connect
            else ConnectionPool(
                parameters,
                connection_class=psycopg.Connection[DictRow],
                kwargs={"row_factory": dict_row},
                configure=configure,
                min_size=0,
                max_size=max_connections,
                open=False,
                # No check before use: it costs a round trip, and waits for seconds after a failure. `transaction`
                # notices a dead connection by itself, and repeats its work on another.
                timeout=connect_timeout,
                max_idle=60,
            )
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Borrow a connection, in a transaction that commits at the end of the block.

        Raises:
            DatabaseUnreachableError: no connection within `connect_timeout`.
        """
        self._pool.open()
        try:
            borrowed = self._pool.getconn(timeout=self._timeout)
        except PoolTimeout as error:
            raise DatabaseUnreachableError(
                f"Postgres did not respond within {self._timeout:.0f} s.",
                "Check PGHOST, PGPORT, PGUSER and PGDATABASE, and that the server is running.",
            ) from error
        try:
            yield borrowed
            borrowed.commit()
        except BaseException:
            with suppress(psycopg.Error):  # a lost connection has nothing to roll back
                borrowed.rollback()
            raise
        finally:
            self._pool.putconn(borrowed)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Open a connection of its own, for a session lock; each statement is a transaction, and may wait for ever."""
        with self._connect() as session:
            configure(session)
            session.autocommit = True
            session.execute(
                "SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)"
            )
            yield session

    def transaction(self, work: Callable[[Connection], T], *, tries: int = 7) -> T:
        """Run `work` in a transaction, again after a deadlock, a serialization failure or a lost connection.

        A commit whose acknowledgement was lost cannot be distinguished from one that did not happen, so `work` must
        recognize its own earlier effect, for instance by an id that the caller chose.
        """
        for attempt in range(1, tries + 1):
            try:
                with self.connection() as connection:
                    return work(connection)
            except psycopg.errors.QueryCanceled:  # by `statement_timeout` or an administrator
                raise
            except _TRANSIENT:
                if attempt == tries:
                    raise
                # Without a delay first: a connection that died in the pool is replaced by the next one.
                self._sleep(min(0.05 * (2 ** (attempt - 1) - 1), 1.0))
        raise AssertionError("unreachable: the loop returns or raises")

    def exactly_once(
        self, work: Callable[[Connection], tuple[T, str | None]], *, tries: int = 7, looks: int = 100
    ) -> T:
        """Run `work` in a transaction, again like `transaction` does, but never after it was committed.

        Where the acknowledgement of a commit is lost, the transaction's status is read from Postgres, so `work` need
        not recognize its own effect.

        Args:
            work: returns its result and its transaction's id (`pg_current_xact_id()::text`), None if it wrote nothing.
            tries: number of attempts.
            looks: how often the status of a transaction that has not ended is read.

        Raises:
            psycopg.OperationalError: whether it was committed could not be found out.
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
        raise psycopg.OperationalError(f"transaction {transaction} neither commits nor aborts")

    def fetch(self, statement: Statement, values: Values = None) -> list[DictRow]:
        """Run one statement in a transaction of its own; returns its rows."""
        return self.transaction(lambda connection: connection.execute(statement, values).fetchall())

    def execute(self, statement: Statement, values: Values = None) -> int:
        """Run one statement in a transaction of its own; returns the number of rows that it changed."""
        return self.transaction(lambda connection: connection.execute(statement, values).rowcount)
