"""Queries through real ADBC drivers: SQLite, and Postgres's own."""

import sqlite3
from pathlib import Path

import psycopg
import pytest

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.sources import InputError
from bedrock_pipeline.sources.adbc import AdbcSource
from bedrock_pipeline_tests.sources.test_sources import read


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    path = tmp_path / "tickets.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (id INTEGER, text TEXT)")
        connection.executemany("INSERT INTO tickets VALUES (?, ?)", [(n, f"text {n}") for n in range(9000)])
    return str(path)


def postgres_uri(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        info = connection.info
        return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


def test_a_query_is_read_through_a_driver_in_batches(sqlite: str) -> None:
    one = AdbcSource(
        "SELECT id, text FROM tickets ORDER BY id; ", "adbc_driver_sqlite", sqlite, "TICKETS_URI"
    )
    assert one.columns() == ["id", "text"]
    batches = list(one.batches(["text"]))
    assert [value for batch in batches for value in batch.rows["text"].to_pylist()] == [
        f"text {n}" for n in range(9000)
    ]
    assert [place for batch in batches for place in batch.positions] == list(range(9000))
    assert all(batch.rows.num_rows <= 4096 for batch in batches)


def test_postgres_has_a_driver_too(empty_dsn: str) -> None:
    one = AdbcSource(
        "SELECT 7 AS a, 'x'::text AS b", "adbc_driver_postgresql", postgres_uri(empty_dsn), "MY_URI"
    )
    assert one.columns() == ["a", "b"]
    assert read(one)[0] == [{"": 0, "a": 7, "b": "x"}]


def test_an_error_while_rows_stream_has_no_cell(sqlite: str, empty_dsn: str) -> None:
    with sqlite3.connect(sqlite) as connection:
        connection.execute("CREATE TABLE mixed (id)")
        connection.executemany("INSERT INTO mixed VALUES (?)", [(n,) for n in range(8000)])
        connection.execute("INSERT INTO mixed VALUES ('cell-4711')")
    one = AdbcSource("SELECT id FROM mixed", "adbc_driver_sqlite", sqlite, "MY_URI")
    two = AdbcSource(
        "SELECT (CASE n WHEN 150000 THEN 'cell-4711' ELSE '1' END)::int AS id FROM generate_series(1, 200000) n",
        "adbc_driver_postgresql",
        postgres_uri(empty_dsn),
        "MY_URI",
    )
    for source in (one, two):
        with pytest.raises(
            InputError, match=r"MY_URI names failed in adbc_driver_\w+( after \d+ rows)? \("
        ) as caught:
            read(source)
        assert "4711" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_names_are_those_of_the_rows(sqlite: str) -> None:
    """A database may rename a column of a query in a query."""
    for query in ("SELECT 'x' AS Text, 'y' AS text", "SELECT 'x' AS Text, 'y' AS text; -- done; "):
        one = AdbcSource(query, "adbc_driver_sqlite", sqlite, "MY_URI")
        assert one.columns() == ["Text", "text"]
        assert read(one, "text", "Text")[0] == [{"": 0, "text": "y", "Text": "x"}]


def test_a_query_changes_nothing(sqlite: str) -> None:
    for query in ("DELETE FROM tickets", "DELETE FROM tickets RETURNING id, text"):
        with pytest.raises(InputError):
            AdbcSource(query, "adbc_driver_sqlite", sqlite, "MY_URI").columns()
    with sqlite3.connect(sqlite) as connection:
        assert connection.execute("SELECT count(*) FROM tickets").fetchall() == [(9000,)]


def test_errors_name_the_variable_and_hide_the_uri(sqlite: str) -> None:
    def of(query: str, driver: str = "adbc_driver_sqlite", uri: str = sqlite) -> AdbcSource:
        return AdbcSource(query, driver, uri, "TICKETS_URI")

    with pytest.raises(
        InputError,
        match=r"TICKETS_URI names failed in adbc_driver_sqlite \(ProgrammingError|OperationalError",
    ):
        of("SELECT nothing FROM tickets").columns()
    with pytest.raises(InputError, match="two columns named 'id'"):
        read(of("SELECT id, text AS id FROM tickets"))
    with pytest.raises(
        ConfigurationError, match=r"pip install 'bedrock-pipeline\[adbc\]' adbc_driver_nowhere"
    ):
        of("SELECT 1 AS a", "adbc_driver_nowhere").columns()
    unreachable = of("SELECT 1 AS a", "adbc_driver_postgresql", "postgresql://me:hunter2@127.0.0.1:1/x")
    with pytest.raises(InputError) as caught:
        unreachable.columns()
    assert "hunter2" not in str(caught.value) + repr(unreachable)
    with pytest.raises(InputError, match="TICKETS_URI"):
        of("SELECT 1 AS a", "a_driver_that_nobody_has_installed").columns()
