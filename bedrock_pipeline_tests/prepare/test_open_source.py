"""What a pipeline can name as its input beside files: queries, tables, and objects of Python; each to a snapshot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.open_source import open_source
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.sources import ArrowSource, DeltaTable, IcebergTable, InputError, SqlQuery
from bedrock_pipeline_tests.sources.test_sources import read

ROWS = pa.table({"id": [f"r{n}" for n in range(5000)], "text": [f"text {n}" for n in range(5000)]})


def pipeline(source: Any) -> Pipeline:
    return Pipeline(
        name="p",
        model_id="anthropic.claude-3-haiku-20240307-v1:0",
        source=source,
        record_id="id",
        prompt="{{ text }}",
    )


def test_a_query_becomes_a_snapshot_and_its_dsn_is_nowhere(
    deployment: Deployment, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE tickets (id int, text text, day text)")
        connection.execute("INSERT INTO tickets SELECT n, 'text ' || n, 'd' FROM generate_series(1, 150) n")
        connection.execute("INSERT INTO tickets VALUES (0, 'of another day', 'e')")
    monkeypatch.setenv("TICKETS_DSN", empty_dsn)
    request = {
        "source": {
            "kind": "sql",
            "query": "SELECT id, text, 'infinity'::date AS due FROM tickets WHERE day = {dataset} ORDER BY id",
            "dsn_env": "TICKETS_DSN",
        },
        "carry": ["due"],
    }
    deployment.ledger.datasets.request("p", "d", request, launch=True)
    report = take_snapshot(deployment, pipeline(None), "d")
    assert report.records == 150
    assert any("150 values that are not finite" in note for note in report.notes)
    with deployment.ledger.database.connection() as connection:
        tables = connection.execute(
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'bedrock_pipeline'"
        ).fetchall()
        kept = "".join(
            str(connection.execute(f'TABLE bedrock_pipeline."{table["name"]}"').fetchall())
            for table in tables
        )
    password = psycopg.conninfo.conninfo_to_dict(empty_dsn)["password"]
    assert "TICKETS_DSN" in kept
    assert str(password) not in kept


def test_a_variable_that_is_not_set_is_named(deployment: Deployment) -> None:
    with pytest.raises(ConfigurationError, match="The variable NOT_SET is not set"):
        open_source(deployment, pipeline(SqlQuery(query="SELECT 1 AS id", dsn_env="NOT_SET")), "d")


OBJECTS: dict[str, Callable[[Path], Any]] = {
    "table": lambda _: ROWS,
    "record batch": lambda _: ROWS.to_batches()[0],
    "reader": lambda _: pa.RecordBatchReader.from_batches(ROWS.schema, iter(ROWS.to_batches())),
    "dataset": lambda folder: pa_dataset.dataset(folder / "rows.parquet"),
    "polars": lambda _: pl.DataFrame(ROWS.to_pydict()),
    "lazy polars": lambda folder: pl.scan_parquet(folder / "rows.parquet"),
    "pandas": lambda _: pd.DataFrame(ROWS.to_pydict()),
    "duckdb": lambda _: duckdb.connect().from_arrow(ROWS),
    "source": lambda _: ArrowSource(ROWS.schema, lambda: iter(ROWS.to_batches())),
    "location": lambda folder: str(folder / "rows.parquet"),
    "locations": lambda folder: [str(folder / "rows.parquet")],
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_function_returns_any_object_that_holds_rows(
    deployment: Deployment, tmp_path: Path, kind: str
) -> None:
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    one = pipeline(lambda _dataset: OBJECTS[kind](tmp_path))
    assert open_source(deployment, one, "d").columns() == ["id", "text"]
    rows, rejected = read(open_source(deployment, one, "d"), "text", "id")
    assert rejected == {}
    assert [(row["id"], row["text"]) for row in rows] == list(zip(*ROWS.to_pydict().values(), strict=True))


def test_an_object_without_rows_is_an_error(deployment: Deployment) -> None:
    for wrong in (7, None, {"id": [1]}):
        with pytest.raises(InputError, match=r"returned (int|NoneType|dict), which cannot be read"):
            open_source(deployment, pipeline(lambda _dataset, wrong=wrong: wrong), "d")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    with pytest.raises(InputError, match="two columns named 'id'"):
        open_source(deployment, pipeline(lambda _dataset: twice), "d")
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, iter(ROWS.to_batches()))
    once = open_source(deployment, pipeline(lambda _dataset: reader), "d")
    read(once)
    with pytest.raises(InputError, match="is read once"):
        read(once)


def test_a_table_is_a_dataset_setting_too() -> None:
    given = pipeline(None).for_dataset(
        {"source": {"kind": "delta", "location": "/t/{dataset}", "version": 3}}
    )
    assert given.source == DeltaTable(location="/t/{dataset}", version=3)
    assert isinstance(given.source, DeltaTable)
    assert given.source.of("d").location == "/t/d"
    iceberg = pipeline(None).for_dataset({"source": {"kind": "iceberg", "table": "a.b"}}).source
    assert iceberg == IcebergTable(table="a.b", catalog="default")
    with pytest.raises(ConfigurationError, match="location: Field required"):
        pipeline(None).for_dataset({"source": {"kind": "delta"}})


def test_a_datasets_key_is_a_string_in_sql() -> None:
    query = SqlQuery(query="SELECT '{}' AS a WHERE d = {dataset} AND x LIKE '%d'", dsn_env="X").of(
        "2026-11-26"
    )
    assert query.query == "SELECT '{}' AS a WHERE d = '2026-11-26' AND x LIKE '%d'"
