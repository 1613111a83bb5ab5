"""A query against Postgres: read through a cursor in one read-only transaction, so that all rows are of one moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg
import pyarrow as pa

from bedrock_pipeline.connection_strings import check_connection_string
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.postgres_types import PostgresColumn, dimensions, postgres_column
from bedrock_pipeline.sources.source import BATCH_BYTES, BATCH_ROWS, RowBatch, batch_rows
from bedrock_pipeline.sources.sql_text import statement

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
#: What a server says that takes no connection now.
_BUSY = ("starting up", "shutting down", "recovery", "too many", "connection slots")
#: Rows of the first fetch, before it is known how large they are, and of any: the next ones may be far larger.
_FIRST_ROWS, _MOST_ROWS = 64, 256
_SETTINGS = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL IntervalStyle = 'iso_8601'",
)
#: Classes of SQLSTATE whose messages name what the query names, as long as no row is read: a function that casts the text of
#: a row has errors of the same classes.
_ABOUT_THE_QUERY = ("0A", "25", "28", "3D", "3F", "42")
#: Classes that pass: connection, resources, operator intervention, and conflicts on a standby.
_TRANSIENT = ("08", "40", "53", "57", "58")
#: Ended by `idle_in_transaction_session_timeout` or `transaction_timeout`, though they are of the class of wrong states.
_TOO_LONG = ("25P03", "25P04")
_CANCELED = "57014"


class DatabaseUnavailableError(ServiceUnavailableError):
    """The database of an input did not do what was requested. Often passes by itself."""


@dataclass(slots=True)
class PostgresSource:
    """The rows of a query.

    Attributes:
        query: a SELECT, VALUES or TABLE statement.
        dsn: of the database; a secret.
        named: where the DSN comes from, for messages.
    """

    query: str
    dsn: str = field(repr=False)
    named: str
    _lost: dict[str, int] = field(default_factory=dict)

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """The columns of the query."""
        with self._transaction() as connection:
            return [column.name for column in self._described(connection)]

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, in the order of the query; only these columns are sent."""
        self._lost.clear()
        with self._transaction() as connection:
            described = self._described(connection)
            places = {column.name: place for place, column in enumerate(described)}
            wanted = [described[places[name]] for name in columns]
            selected = ", ".join(f"c{places[column.name]}{column.cast}" for column in wanted)
            aliases = ", ".join(f"c{place}" for place in range(len(described)))
            _execute(
                connection,
                f"DECLARE input NO SCROLL CURSOR FOR SELECT {selected} FROM ({statement(self.query)}) AS input({aliases})",  # noqa: S608
            )
            position = 0
            for values in _blocks(connection):
                count = len(values[0])
                yield self._batch(wanted, values, position, count)
                position += count

    def notes(self) -> list[str]:
        """What the Arrow types could not hold."""
        return [
            f"Column {name!r} has {count} values that are not finite (infinity, NaN); they are read as null."
            for name, count in self._lost.items()
        ]

    def _described(self, connection: Connection) -> list[PostgresColumn]:
        describing = f"SELECT * FROM ({statement(self.query)}) AS input LIMIT 0"  # noqa: S608
        try:
            result = _execute(connection, describing).pgresult
        except psycopg.Error as error:
            raise _query_failed(error, self.named, described=False) from None
        assert result is not None  # a SELECT has a result
        found = [
            (result.fname(place) or b"", result.ftype(place), result.fmod(place))
            for place in range(result.nfields)
        ]
        arrays = connection.execute(
            "SELECT oid::int8, typelem::int8 FROM pg_type WHERE oid = ANY(%s) AND typcategory = 'A' AND typelem <> 0",
            ([oid for _, oid, _ in found],),
        ).fetchall()
        elements: dict[int, int] = dict(arrays)
        described = [
            postgres_column(name.decode(), oid, modifier, elements.get(oid)) for name, oid, modifier in found
        ]
        names = [column.name for column in described]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(
                f"The query has two columns named {twice[0]!r}.", "Name one of them with AS in the query."
            )
        if not described:
            raise InputError("The query has no column.", "Select at least one.")
        return described

    def _batch(
        self, columns: Sequence[PostgresColumn], values: list[list[bytes | None]], position: int, count: int
    ) -> RowBatch:
        rejected: dict[int, Rejection] = {}
        for column, cells in zip(columns, values, strict=True):
            if column.is_array:
                reason = f"column {column.name!r} has an array of several dimensions"
                deep = (row for row, cell in enumerate(cells) if cell is not None and dimensions(cell) > 1)
                rejected.update((row, Rejection(position + row, reason)) for row in deep)
        kept = [row for row in range(count) if row not in rejected] if rejected else range(count)
        if rejected:
            values = [[cells[row] for row in kept] for cells in values]
        arrays = [self._array(column, cells) for column, cells in zip(columns, values, strict=True)]
        fields = [pa.field(column.name, column.type) for column in columns]
        return RowBatch(
            pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)),
            [position + row for row in kept] if rejected else range(position, position + count),
            list(rejected.values()),
        )

    def _array(self, column: PostgresColumn, cells: list[bytes | None]) -> pa.Array:
        try:
            array = column.decode(cells)
        except pa.ArrowException:
            raise InputError(
                f"Column {column.name!r} has text that is not UTF-8.",
                "Convert it in the query, for example with convert_from.",
            ) from None
        lost = array.null_count - cells.count(None)
        if lost:
            self._lost[column.name] = self._lost.get(column.name, 0) + lost
        return array

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            check_connection_string(self.dsn)
        except ValueError as error:
            raise InputError(f"The DSN in {self.named} cannot be used: it {error}.") from None
        try:
            connection = psycopg.connect(
                self.dsn, client_encoding="utf8", fallback_application_name="bedrock-pipeline"
            )
        except psycopg.OperationalError as error:
            raise _unreachable(error, self.named) from None
        with connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            try:
                for setting in _SETTINGS:
                    _execute(connection, setting)
                yield connection
            except psycopg.Error as error:
                raise _query_failed(error, self.named) from None


def _execute(connection: Connection, statement: str) -> "psycopg.Cursor[tuple[Any, ...]]":
    # Binary also means that it is one statement: a query cannot end the transaction and begin another.
    return connection.execute(statement.encode(), binary=True)


def _blocks(connection: Connection) -> Iterator[list[list[bytes | None]]]:
    """The rows by column, in blocks of about `BATCH_BYTES`."""
    block: list[list[bytes | None]] = []
    rows, total = _FIRST_ROWS, 0
    while values := _fetch(connection, rows):
        size = sum(len(value) for column in values for value in column if value is not None)
        rows = min(_MOST_ROWS, 2 * rows, batch_rows(size // len(values[0])))
        block = [one + more for one, more in zip(block, values, strict=True)] if block else values
        total += size
        if total >= BATCH_BYTES or len(block[0]) + _MOST_ROWS > BATCH_ROWS:
            yield block
            block, total = [], 0
    if block:
        yield block


def _fetch(connection: Connection, rows: int) -> list[list[bytes | None]]:
    """The next rows by column; empty after the last."""
    result = _execute(connection, f"FETCH FORWARD {rows} FROM input").pgresult
    assert result is not None  # a FETCH has a result
    if not result.ntuples:
        return []
    get = result.get_value
    return [[get(row, column) for row in range(result.ntuples)] for column in range(result.nfields)]


def _unreachable(error: psycopg.OperationalError, named: str) -> Exception:
    said = str(error)  # an error of connecting has no SQLSTATE
    if "FATAL:" in said and not any(words in said for words in _BUSY):
        return InputError(
            f"The database that {named} names rejects the login.",
            "Correct the user, the password or the database's name.",
        )
    return DatabaseUnavailableError(
        f"The database that {named} names cannot be reached.",
        "Check that it runs, and the DSN's host and port.",
    )


def _query_failed(error: psycopg.Error, named: str, *, described: bool = True) -> Exception:
    """A message without values: once the query is described, an error's own may quote a row."""
    state, kind = error.sqlstate or "08000", type(error).__name__
    said = error.diag.message_primary or ""
    if state in _TOO_LONG:
        return DatabaseUnavailableError(
            f"The database that {named} names ended the transaction ({kind}).",
            "It is tried again automatically. If that recurs, raise idle_in_transaction_session_timeout and "
            "transaction_timeout for its user.",
        )
    if state == _CANCELED and "user request" not in said:
        return InputError(
            f"The database that {named} names canceled the query ({kind}): it ran longer than statement_timeout allows.",
            "Raise statement_timeout for its user, or make the query faster.",
        )
    if state.startswith(_TRANSIENT):
        return DatabaseUnavailableError(
            f"The database that {named} names broke off ({kind}).", "It is tried again automatically."
        )
    if described or not state.startswith(_ABOUT_THE_QUERY):
        return InputError(
            f"The query on the database that {named} names failed ({kind}, SQLSTATE {state}).",
            "Correct the query; psql shows which value it is about.",
        )
    return InputError(
        f"The database that {named} names rejects the query ({kind}: {said}).", "Correct the query."
    )
