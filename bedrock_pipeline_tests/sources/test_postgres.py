# ruff: noqa: S608, DTZ001  # queries are made of expressions; a timestamp without a zone has none
"""Queries against a real Postgres: every type, one moment, flat memory, and errors without secrets or values."""

import datetime as dt
import time
import tracemalloc
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.sources import InputError
from bedrock_pipeline.sources.postgres import DatabaseUnavailableError, PostgresSource
from bedrock_pipeline_tests.sources.test_sources import read

UTC = dt.UTC
#: An expression, its Arrow type, and its value.
TYPES: list[tuple[str, pa.DataType, Any]] = [
    ("true", pa.bool_(), True),
    ("(-32768)::int2", pa.int16(), -32768),
    ("2147483647::int4", pa.int32(), 2147483647),
    ("(-9223372036854775808)::int8", pa.int64(), -9223372036854775808),
    ("4294967295::oid", pa.uint32(), 4294967295),
    ("1.5::float4", pa.float32(), 1.5),
    ("0.1::float8", pa.float64(), 0.1),
    ("'-Infinity'::float8", pa.float64(), float("-inf")),
    ("12.30::numeric(10,2)", pa.decimal128(10, 2), Decimal("12.30")),
    ("(-0.1)::numeric(38,38)", pa.decimal128(38, 38), Decimal("-0.1")),
    ("repeat('9', 76)::numeric(76,0)", pa.decimal256(76, 0), Decimal("9" * 76)),
    ("'NaN'::numeric(5,1)", pa.decimal128(5, 1), None),
    ("1e100::numeric", pa.string(), "1" + "0" * 100),
    ("1500::numeric(3,-2)", pa.string(), "1500"),
    ("'ä\n''\"'::text", pa.string(), "ä\n'\""),
    ("'x'::char(3)", pa.string(), "x"),
    ("'x'::varchar(9)", pa.string(), "x"),
    ("'x'::name", pa.string(), "x"),
    ("'\\x00ff'::bytea", pa.binary(), b"\x00\xff"),
    ("'2026-11-26'::date", pa.date32(), dt.date(2026, 11, 26)),
    ("'infinity'::date", pa.date32(), None),
    ("'23:59:59.999999'::time", pa.time64("us"), dt.time(23, 59, 59, 999999)),
    ("'12:00+02'::timetz", pa.string(), "12:00:00+02"),
    ("'1999-12-31 23:59:59.5'::timestamp", pa.timestamp("us"), dt.datetime(1999, 12, 31, 23, 59, 59, 500000)),
    (
        "'2026-11-26 12:00+02'::timestamptz",
        pa.timestamp("us", "UTC"),
        dt.datetime(2026, 11, 26, 10, 0, tzinfo=UTC),
    ),
    ("'infinity'::timestamptz", pa.timestamp("us", "UTC"), None),
    ("'1 year 2 days 03:04:05.6'::interval", pa.string(), "P1Y2DT3H4M5.6S"),
    ('\'{"b": 1, "a": 2}\'::json', pa.string(), '{"b": 1, "a": 2}'),
    ('\'{"b": 1, "a": 2}\'::jsonb', pa.string(), '{"a": 2, "b": 1}'),
    (
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
        pa.string(),
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ),
    ("'sad'::mood", pa.string(), "sad"),
    ("5::posint", pa.int32(), 5),
    ("row(1, 'a,b')::pair", pa.string(), '(1,"a,b")'),
    ("'[1,5)'::int4range", pa.string(), "[1,5)"),
    ("'192.168.0.1'::inet", pa.string(), "192.168.0.1/32"),
    ("B'101'", pa.string(), "101"),
    ("'(1,2)'::point", pa.string(), "(1,2)"),
    ("'a b'::tsvector", pa.string(), "'a' 'b'"),
    ("ARRAY[1, NULL, 3]", pa.list_(pa.int32()), [1, None, 3]),
    ("'{}'::text[]", pa.list_(pa.string()), []),
    ("ARRAY['a,b', 'NULL', NULL]", pa.list_(pa.string()), ["a,b", "NULL", None]),
    ("ARRAY[1.50, 2]::numeric(5,2)[]", pa.list_(pa.decimal128(5, 2)), [Decimal("1.50"), Decimal("2.00")]),
    ("ARRAY['sad', 'ok']::mood[]", pa.list_(pa.string()), ["sad", "ok"]),
    ("ARRAY['\\x00'::bytea]", pa.list_(pa.binary()), [b"\x00"]),
    ("'[5:6]={1,2}'::int8[]", pa.list_(pa.int64()), [1, 2]),
    ("ARRAY['2026-01-01'::date]", pa.list_(pa.date32()), [dt.date(2026, 1, 1)]),
    ("ARRAY[row(1, 'a')::pair]", pa.list_(pa.string()), ["(1,a)"]),
    ("'1 2'::int2vector", pa.list_(pa.int16()), [1, 2]),
]


@pytest.fixture
def database(empty_dsn: str) -> str:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        connection.execute("CREATE TYPE pair AS (a int, b text)")
        connection.execute("CREATE DOMAIN posint AS int CHECK (VALUE > 0)")
        connection.execute("CREATE TABLE t (id int, note text)")
        connection.execute("INSERT INTO t SELECT n, 'note ' || n FROM generate_series(1, 10000) n")
    return empty_dsn


def source(dsn: str, query: str) -> PostgresSource:
    return PostgresSource(query, dsn, "MY_DSN")


def test_every_type_has_its_arrow_type_and_keeps_its_value(database: str) -> None:
    """Each beside a null, since that is where decoders go wrong."""
    selected = ", ".join(f"{expression} AS c{number}" for number, (expression, _, _) in enumerate(TYPES))
    # A UNION with nulls would lose the modifier of a type.
    one = source(
        database, f"SELECT x.* FROM (VALUES (1), (2)) n(n) LEFT JOIN (SELECT 1 AS k, {selected}) x ON k = n"
    )
    batches = list(one.batches([f"c{number}" for number in range(len(TYPES))]))
    table = pa.Table.from_batches([batch.rows for batch in batches])
    for number, (expression, kind, value) in enumerate(TYPES):
        column = table[f"c{number}"]
        assert column.type == kind, expression
        assert column.to_pylist() == [value, None], expression


def test_what_a_type_cannot_hold_is_counted(database: str) -> None:
    one = source(
        database, "SELECT 'infinity'::date AS a, 'NaN'::numeric(5,1) AS b FROM generate_series(1, 3)"
    )
    read(one)
    assert one.notes() == [
        "Column 'a' has 3 values that are not finite (infinity, NaN); they are read as null.",
        "Column 'b' has 3 values that are not finite (infinity, NaN); they are read as null.",
    ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])),
            st.none() | st.datetimes(timezones=st.just(UTC)),
            st.none() | st.lists(st.none() | st.binary(max_size=5), max_size=4),
            st.none()
            | st.decimals(
                allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
            ),
            st.none() | st.floats(width=64),
        ),
        max_size=12,
    )
)
def test_any_values_are_those_that_psycopg_reads(database: str, rows: list[tuple[Any, ...]]) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE IF EXISTS v")
        connection.execute(
            "CREATE TABLE v (n serial, a int8, b text, c timestamptz, d bytea[], e numeric(13,3), f float8)"
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO v (a, b, c, d, e, f) VALUES (%s, %s, %s, %s, %s, %s)", rows)
    found, _ = read(source(database, "SELECT a, b, c, d, e, f FROM v ORDER BY n"))
    with psycopg.connect(database) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        expected = connection.execute("SELECT a, b, c, d, e, f FROM v ORDER BY n").fetchall()
    # As text, since NaN is not equal to itself.
    assert [[str(row[name]) for name in "abcdef"] for row in found] == [
        [str(x) for x in row] for row in expected
    ]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id, note FROM t ORDER BY id",
        "SELECT id, note FROM t ORDER BY id;",
        "  SELECT id, note FROM t ORDER BY id -- the rows",
        "SELECT id, note FROM t ORDER BY id; -- done",
        "SELECT id, note FROM t /* ; */ WHERE note <> 'it''s; --' ORDER BY id ; /* done; */ ;",
        "WITH x AS (SELECT * FROM t) SELECT id, note FROM x ORDER BY id",
        "TABLE t ORDER BY id",
    ],
)
def test_a_query_is_read_in_its_order_through_a_cursor(database: str, query: str) -> None:
    one = source(database, query)
    assert one.columns() == ["id", "note"]
    batches = list(one.batches(["note"]))
    assert len(batches) >= 3, "in pieces"
    notes = [value for batch in batches for value in batch.rows["note"].to_pylist()]
    assert notes == [f"note {n}" for n in range(1, 10001)]
    assert [place for batch in batches for place in batch.positions] == list(range(10000))


def test_names_of_columns_are_any(database: str) -> None:
    names = ["", " ", "a.b", 'q"q', "Ä", "select", "c0", "C0", "x" * 63, "new\nline"]
    listed = ", ".join(
        f'{number} AS "{name.replace(chr(34), chr(34) * 2)}"' for number, name in enumerate(names) if name
    )
    one = source(database, f"SELECT {listed}")
    assert one.columns() == names[1:]
    assert read(one, *reversed(names[1:]))[0] == [{"": 0} | {name: n for n, name in enumerate(names) if name}]
    with pytest.raises(InputError, match="two columns named 'a'"):
        source(database, "SELECT 1 AS a, 2 AS a").columns()


def test_all_rows_are_of_one_moment(database: str) -> None:
    batches = source(database, "SELECT id FROM t").batches(["id"])
    first = next(batches)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("DELETE FROM t")
    rest = sum(batch.rows.num_rows for batch in batches)
    assert first.rows.num_rows + rest == 10000


def test_an_array_of_several_dimensions_rejects_its_row(database: str) -> None:
    query = "SELECT * FROM (VALUES (1, ARRAY[1]), (2, ARRAY[[1, 2]]), (3, NULL)) v(id, a)"
    rows, rejected = read(source(database, query))
    assert [row["id"] for row in rows] == [1, 3]
    assert [row[""] for row in rows] == [0, 2]
    assert rejected == {1: "column 'a' has an array of several dimensions"}


def test_a_query_cannot_change_anything(database: str) -> None:
    for query in (
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SELECT 1) AS q; COMMIT; DROP TABLE t; SELECT (1",
        "DELETE FROM t",
        "SELECT nextval('s')",
    ):
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("CREATE SEQUENCE IF NOT EXISTS s")
        with pytest.raises(InputError):
            read(source(database, query))
    assert read(source(database, "SELECT count(*) AS n FROM t"))[0][0]["n"] == 10000


def test_long_rows_after_short_ones_do_not_make_a_large_batch(database: str) -> None:
    """How many are fetched follows from those before, which may be a million times smaller."""
    query = "SELECT repeat('x', CASE WHEN n > 10000 THEN 100000 ELSE 1 END) AS note FROM generate_series(1, 11000) n"
    sizes = [(batch.rows.num_rows, batch.rows.nbytes) for batch in source(database, query).batches(["note"])]
    assert sum(rows for rows, _ in sizes) == 11000
    assert max(size for _, size in sizes) < 30_000_000
    assert len(sizes) < 40, "short rows come in large batches"


def test_memory_does_not_grow_with_the_rows(database: str) -> None:
    """Ten times as many rows, of 10 kB each, cost no more."""

    def peak(rows: int) -> int:
        query = f"SELECT repeat('x', 10000) AS note FROM generate_series(1, {rows})"
        tracemalloc.start()
        for _ in source(database, query).batches(["note"]):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(10_000) < 1.5 * peak(1_000)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nothing FROM t", 'column "nothing" does not exist'),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM elsewhere", 'relation "elsewhere" does not exist'),
        ("SELECT note::int AS n FROM t", "InvalidTextRepresentation"),
        ("SELECT FROM t", "no column"),
        ("SELECT ('& ' || note || ' !')::tsquery AS q FROM t", "SyntaxError, SQLSTATE 42601"),
        ("SELECT (chr(39) || note)::tsvector AS v FROM t", "SyntaxError, SQLSTATE 42601"),
        ("SELECT note::regclass AS r FROM t", "SQLSTATE 42"),
        ("SELECT jsonb_path_query('{}', ('$[' || note)::jsonpath) AS j FROM t", "SQLSTATE 42601"),
    ],
)
def test_an_error_of_the_query_is_said_without_a_value(database: str, query: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read(source(database, query))
    assert "note 1" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_is_in_no_message(database: str) -> None:
    wrong = {
        "postgresql://me:hunter2@127.0.0.1:1/x": (ServiceUnavailableError, "cannot be reached"),
        "not a dsn hunter2": (InputError, "no libpq connection string"),
        "postgresql://u:a@hunter2@127.0.0.1:1/d": (InputError, "@ as %40"),
        f"{database} password=hunter2": (InputError, "rejects the login"),
        f"{database} dbname=nowhere_hunter2": (InputError, "rejects the login"),
    }
    for dsn, (kind, said) in wrong.items():
        one = source(dsn, "SELECT 1 AS a")
        with pytest.raises(kind, match=said) as caught:
            one.columns()
        assert "hunter2" not in str(caught.value) + repr(one)
        assert "MY_DSN" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "query", "kind", "said"),
    [
        (
            "idle_in_transaction_session_timeout",
            "SELECT id FROM t",
            DatabaseUnavailableError,
            "raise idle_in_tr",
        ),
        ("statement_timeout", "SELECT pg_sleep(60)::text AS id", InputError, "Raise statement_timeout"),
    ],
)
def test_a_limit_of_the_database_is_named(
    database: str, setting: str, query: str, kind: type[Exception], said: str
) -> None:
    one = source(psycopg.conninfo.make_conninfo(database, options=f"-c {setting}=500"), query)

    def slowly() -> None:
        for _ in one.batches(["id"]):
            time.sleep(2)

    with pytest.raises(kind, match=said):
        slowly()


def test_a_database_that_goes_away_is_tried_again(database: str) -> None:
    batches = source(database, "SELECT id FROM t").batches(["id"])
    next(batches)
    with psycopg.connect(database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(DatabaseUnavailableError, match="broke off"):
        list(batches)
