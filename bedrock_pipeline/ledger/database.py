"""Connections and transactions.

What belongs here: connections, the settings of each transaction, the errors after which one is repeated, and what
proves that it was committed. No other statement of the ledger. Nothing is kept in a session of Postgres, neither a
setting nor a lock nor a prepared statement: behind a pooler such as PgBouncer in transaction mode each transaction may get another session.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import DictRow, dict_row
from pydantic import SecretStr

from bedrock_pipeline.connection_strings import led_nowhere_else, without_userinfo
from bedrock_pipeline.errors import ConfigurationError, ServiceUnavailableError, StateError
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
    psycopg.errors.FeatureNotSupported,  # by BEGIN: the server is a standby now
    psycopg.OperationalError,  # the connection was lost, also between COMMIT and its acknowledgement
)
#: Ended by one of the time limits below or by an administrator: the next try would wait as long.
_TOO_LONG = (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable)
#: A server that is gone without a message is noticed within a minute: after 40 s while its response is waited for, and
#: after 30 s while it acknowledges nothing that was sent.
_CONNECTION: Final[dict[str, str | int]] = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 2,
    "tcp_user_timeout": 30_000,
    "target_session_attrs": "primary",
    "application_name": "bedrock-pipeline",
}
#: How each transaction begins, whatever the defaults of server, database and role are; in one round trip, as BEGIN
#: alone. A suspended process keeps its locks for the last of the limits; the others end what would hang.
BEGIN: Final = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL statement_timeout = '300s';
    SET LOCAL lock_timeout = '120s';
    SET LOCAL idle_in_transaction_session_timeout = '60s'"""
#: Notices that the ledger is in another database than before, since a backup was restored; in a transaction of its own,
#: in one round trip. The first migration makes the function.
_NOTICE_RESTORE: Final = (
    BEGIN
    + """;
    DO $$ BEGIN
        IF to_regproc('bedrock_pipeline.current_incarnation') IS NOT NULL THEN
            PERFORM bedrock_pipeline.current_incarnation();
        END IF;
    END $$;
    COMMIT"""
)
#: Seconds after which a connection that nobody used is not used again: a firewall may have forgotten it.
_MAX_IDLE_S: Final = 60.0


def connection_string(**fields: str | int) -> SecretStr | None:
    """A libpq connection string of these fields, its values quoted; None without fields."""
    return SecretStr(conninfo.make_conninfo("", **fields)) if fields else None


def open_connection(dsn: str, connect_timeout: float) -> Connection:
    """Open a connection with our settings where the connection string has none of its own."""
    defaults = _CONNECTION | {"connect_timeout": max(2, int(connect_timeout))}
    whole = conninfo.make_conninfo("", **(defaults | conninfo.conninfo_to_dict(dsn)))
    with led_nowhere_else(dsn):
        return psycopg.Connection[DictRow].connect(whole, row_factory=dict_row)


class DatabaseUnreachableError(ServiceUnavailableError):
    """Postgres did not respond."""


def _not_completed(error: psycopg.Error) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"Postgres did not complete a transaction: {reason_of(error)}.", "See the log of the server."
    )


def storable(text: str) -> str:
    """A text that Postgres takes: without NUL, and with a question mark for half a surrogate pair, as a file's name may have."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def reason_of(error: psycopg.Error) -> str:
    """The first line of what Postgres or libpq says, without anything of a password."""
    if (
        isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None
    ):  # whose text quotes a connection string
        return "libpq cannot read the connection string"
    return (without_userinfo(str(error)).splitlines() or [type(error).__name__])[0].rstrip(".")


class _Pool:
    """Up to `size` connections, each opened when it is needed, by the thread that needs it.

    Not psycopg's own pool: while Postgres is away, its background threads log a line for each attempt to connect.
    """

    def __init__(
        self,
        connect: Connect,
        size: int,
        *,
        timeout: float,
        max_idle: float,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._connect, self._timeout, self._max_idle = connect, timeout, max_idle
        self._sleep, self._monotonic = sleep, monotonic
        self._places = threading.Semaphore(size)
        self._idle: list[tuple[Connection, float]] = []
        self._closed = False
        self._process: int | None = None  # that uses it

    def take(self) -> Connection:
        """A connection outside of a transaction.

        Raises:
            DatabaseUnreachableError: no connection within `timeout`.
            StateError: this process is a fork of one that has connections: both would use the same sockets.
        """
        self._process = self._process or os.getpid()
        if os.getpid() != self._process:
            raise StateError(
                "This process was forked from one that uses the same queue or deployment.",
                "Open another in each process, after the fork.",
            )
        if not self._places.acquire(timeout=self._timeout):
            raise DatabaseUnreachableError(
                f"No connection to Postgres became free within {self._timeout:.0f} s.",
                "Other threads of this process use them; try again.",
            )
        try:
            return self._kept() or self._opened()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep the connection for the next transaction, if it works."""
        if self._closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append((connection, self._monotonic()))
        self._places.release()

    def close(self) -> None:
        """Close every connection; those in use are closed when they are given back. A fork closes none of its parent's."""
        self._closed = True
        while self._idle and os.getpid() == self._process:
            self._idle.pop()[0].close()

    def _kept(self) -> Connection | None:
        """The one that was used last; those that nobody has used for long are closed."""
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                connection, since = self._idle.pop()
                if not connection.closed and self._monotonic() - since < self._max_idle:
                    return connection
                connection.close()
        return None

    def _opened(self) -> Connection:
        deadline, pause = self._monotonic() + self._timeout, 0.05
        while True:
            try:
                return self._prepared(self._connect())
            except psycopg.OperationalError as error:
                if self._monotonic() + pause >= deadline:
                    raise DatabaseUnreachableError(
                        f"Postgres did not respond within {self._timeout:.0f} s: {reason_of(error)}.",
                        "Check PGHOST, PGPORT, PGUSER and PGDATABASE, and that the server is running.",
                    ) from error
            self._sleep(pause)
            pause = min(2 * pause, 1.0)

    @staticmethod
    def _prepared(connection: Connection) -> Connection:
        """A connection that was just opened, ready for the first transaction; it is closed after an error."""
        try:
            connection.autocommit = True  # BEGIN is ours
            connection.prepare_threshold = None
            connection.execute(_NOTICE_RESTORE)
        except BaseException:
            connection.close()
            raise
        return connection


class Database:
    """Connections to one database, opened at first use.

    Args:
        dsn: a libpq connection string; empty means libpq's environment variables.
        max_connections: of this process at once. A deployment has many run workers, so keep it small.
        connect_timeout: seconds to wait for a connection.
        sleep: waits between two attempts.
        monotonic: seconds of a clock that never goes back.
        new_id: makes ids.
        connect: makes the only connection, in place of the pool's; for a single thread.
    """

    def __init__(
        self,
        dsn: str,
        *,
        max_connections: int = 2,
        connect_timeout: float = 10.0,
        sleep: Callable[[float], None] = SYSTEM.sleep,
        monotonic: Callable[[], float] = SYSTEM.monotonic,
        new_id: Callable[[], UUID] = SYSTEM.new_id,
        connect: Connect | None = None,
    ) -> None:
        self.dsn = dsn
        self.sleep = sleep
        self._new_id = new_id
        self._pool = _Pool(
            connect or partial(open_connection, dsn, connect_timeout),
            1 if connect else max_connections,
            timeout=connect_timeout,
            max_idle=float("inf") if connect else _MAX_IDLE_S,
            sleep=sleep,
            monotonic=monotonic,
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
        borrowed = self._pool.take()
        try:
            borrowed.execute(BEGIN)
            yield borrowed
            borrowed.commit()
        except BaseException as error:
            with suppress(psycopg.Error):  # a lost connection has nothing to roll back
                borrowed.rollback()
            if isinstance(error, psycopg.errors.FeatureNotSupported):
                borrowed.close()  # the next one is opened to the primary
            raise
        finally:
            self._pool.give_back(borrowed)

    def transaction(self, work: Callable[[Connection], T], *, tries: int = 7) -> T:
        """Run `work` in a transaction, again after a deadlock, a serialization failure or a lost connection.

        A commit whose acknowledgement was lost cannot be distinguished from one that did not happen, so `work` must
        recognize its own earlier effect, for instance by an id that the caller chose.

        Raises:
            ConfigurationError: the database has no tables of a ledger, or the role lacks a right on them.
            ServiceUnavailableError: Postgres did not complete it.
        """
        for attempt in range(1, tries + 1):
            try:
                with self.connection() as connection:
                    return work(connection)
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                raise ConfigurationError(
                    "This database does not have the ledger's tables.",
                    "Create them with `bedrock-pipeline migrate`; where `dev` or `local up` is starting, wait a moment.",
                ) from error
            except psycopg.errors.InsufficientPrivilege as error:
                raise ConfigurationError(
                    f"The role of the connection may not use the ledger: {reason_of(error)}.",
                    "Grant it the rights that `bedrock-pipeline doctor` names, also after an upgrade.",
                ) from error
            except _TOO_LONG as error:
                raise _not_completed(error) from error
            except _TRANSIENT as error:
                if attempt == tries:
                    raise _not_completed(error) from error
                # Without a delay first: a connection that died in the pool is replaced by the next one.
                self.sleep(min(0.05 * (2 ** (attempt - 1) - 1), 1.0))
        raise AssertionError("unreachable: the loop returns or raises")

    def exactly_once(self, work: Callable[[Connection], T]) -> T:
        """Run `work` like `transaction` does, but never again after it was committed, whose effect it cannot recognize.

        A row of its own is committed with it. The next attempt finds that row, waiting for the end of a transaction in
        which it is being committed. The transaction's id would be no proof: after a crash another one may have it.

        Raises:
            ConfigurationError: the database has no tables of a ledger.
            ServiceUnavailableError: Postgres did not complete it, or did not acknowledge it within the time limits.
        """
        commit_id, results = self._new_id(), list[T]()

        def once(connection: Connection) -> T:
            new = connection.execute(
                "INSERT INTO bedrock_pipeline.commits (commit_id) VALUES (%s) ON CONFLICT DO NOTHING",
                (commit_id,),
            )
            if new.rowcount:
                results.append(work(connection))
            return results[-1]

        return self.transaction(once)

    def forget_commits(self) -> None:
        """Delete what `exactly_once` has left and no attempt looks for any more."""
        self.execute(
            "DELETE FROM bedrock_pipeline.commits WHERE committed_at < clock_timestamp() - interval '1 day'"
        )

    def fetch(self, statement: Statement, values: Values = None) -> list[DictRow]:
        """Run one statement in a transaction of its own; returns its rows."""
        return self.transaction(lambda connection: connection.execute(statement, values).fetchall())

    def execute(self, statement: Statement, values: Values = None) -> int:
        """Run one statement in a transaction of its own; returns the number of rows that it changed."""
        return self.transaction(lambda connection: connection.execute(statement, values).rowcount)
