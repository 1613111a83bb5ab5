"""Objects of Python as sources: any names, any types, streams that can be read once; errors name a column and never a value."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest
from adbc_driver_sqlite import dbapi

from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError
from bedrock_pipeline.sources import InputError
from bedrock_pipeline.sources.arrow_objects import source_of
from bedrock_pipeline.sources.source import BATCH_BYTES, Source

_SECRET = "SECRETCELL"
_NAMES = {"*": ["a", "b"], "^t.*$": ["c", "d"], "text": ["e", "f"], "Text": ["g", "h"]}


def _rows(source: Source, *columns: str) -> list[dict[str, Any]]:
    return [row for batch in source.batches(columns) for row in batch.rows.to_pylist()]


def _delta(folder: Path) -> Any:
    deltalake.write_deltalake(str(folder), pa.table({"id": [1, 2]}))
    return (
        deltalake.QueryBuilder().register("t", deltalake.DeltaTable(str(folder))).execute("SELECT * FROM t")
    )


def _dataset(folder: Path) -> Any:
    pq.write_table(pa.table(_NAMES), folder / "rows.parquet")
    return pa_dataset.dataset(folder / "rows.parquet")


_OBJECTS: dict[str, Callable[[Path], Any]] = {
    "table": lambda _: pa.table(_NAMES),
    "dataset": _dataset,
    "filtered dataset": lambda folder: _dataset(folder).filter(pa_dataset.field("text") != ""),
    "reader": lambda _: pa.table(_NAMES).to_reader(),
    "pandas": lambda _: pd.DataFrame(_NAMES),
    "pandas, filtered": lambda _: pd.DataFrame({name: ["x", *values] for name, values in _NAMES.items()})[1:],
    "pandas, of Arrow's types": lambda _: pd.DataFrame(_NAMES).convert_dtypes(dtype_backend="pyarrow"),
    "polars": lambda _: pl.DataFrame(_NAMES),
    "lazy polars": lambda _: pl.LazyFrame(_NAMES),
    "list of dicts": lambda _: pa.table(_NAMES).to_pylist(),
}


@pytest.mark.parametrize("kind", _OBJECTS)
def test_a_name_is_a_name_and_no_pattern(kind: str, tmp_path: Path) -> None:
    source = source_of(_OBJECTS[kind](tmp_path))
    assert source.columns() == list(_NAMES)
    found = _rows(source, "Text", "*", "^t.*$")
    assert found == [{"Text": "g", "*": "a", "^t.*$": "c"}, {"Text": "h", "*": "b", "^t.*$": "d"}]


def test_a_stream_is_read_from_where_its_schema_was(tmp_path: Path) -> None:
    once = source_of(_delta(tmp_path))
    assert _rows(once, "id") == [{"id": 1}, {"id": 2}]
    with pytest.raises(InputError, match="is read once"):
        _rows(once, "id")
    again = source_of(duckdb.connect().from_arrow(pa.table({"n": [1, 2]})))
    assert _rows(again, "n") == _rows(again, "n") == [{"n": 1}, {"n": 2}]


def _broken(error: Exception) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": [1]})
        raise error

    return pa.RecordBatchReader.from_batches(pa.schema([("id", pa.int64())]), batches())


#: Objects whose column `id` cannot be converted, and what the error says.
_WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "pandas, number first": (
        lambda: pd.DataFrame({"id": [1, _SECRET], "text": ["a", "b"]}),
        "'id' of type object",
    ),
    "pandas, text first": (
        lambda: pd.DataFrame({"id": pd.Series([_SECRET, 1], dtype=object), "text": ["a", "b"]}),
        "'id' of type object",
    ),
    "list of dicts": (lambda: [{"id": 1, "text": "a"}, {"id": _SECRET, "text": "b"}], "'id' of type object"),
    "polars": (
        lambda: pl.DataFrame({"id": pl.Series([2**100, 0], dtype=pl.Int128), "text": ["a", "b"]}),
        "'id' of type Int128",
    ),
}


@pytest.mark.parametrize("kind", _WRONG)
def test_a_column_that_cannot_be_converted_is_named_without_a_value(kind: str) -> None:
    make, message = _WRONG[kind]
    source = source_of(make())
    assert [row["text"] for row in _rows(source, "text")] == ["a", "b"], "no other column is in the way"
    with pytest.raises(InputError) as raised:
        _rows(source, "id", "text")
    assert f"Column {message}" in str(raised.value)
    assert _SECRET not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: pl.Series("id", [1]), InputError, "polars.Series"),
        (lambda: pd.DataFrame([[1, 2]], columns=["id", "id"]), InputError, "two columns named 'id'"),
        (lambda: pa_dataset.dataset(pa.table({"id": [1], "__filename": [2]})), InputError, "'__filename'"),
        (lambda: _broken(ValueError(_SECRET)), InputError, "ArrowInvalid"),
        (lambda: _broken(pa.ArrowInvalid(_SECRET)), InputError, "ArrowInvalid"),
        (lambda: _broken(OSError(_SECRET)), ServiceUnavailableError, "OSError"),
        (lambda: pl.scan_parquet(f"/{_SECRET}/a.parquet"), InputError, "FileNotFoundError"),
        (lambda: pl.LazyFrame({"id": [_SECRET]}).cast(pl.Int64), InputError, "InvalidOperationError"),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_kind(
    make: Any, kind: type[BedrockPipelineError], message: str
) -> None:
    with pytest.raises(kind) as raised:
        _rows(source_of(make()), "id")
    assert message in str(raised.value)
    assert _SECRET not in str(raised.value)


def test_a_list_of_dicts_has_the_columns_of_all_of_them() -> None:
    source = source_of([{"id": 1}, {"id": 2, "text": "a"}])
    assert source.columns() == ["id", "text"]
    assert _rows(source, "text") == [{"text": None}, {"text": "a"}]


def test_an_index_with_a_name_is_a_column() -> None:
    frame = pd.DataFrame({"text": ["a"]}, index=pd.Index([7], name="id"))
    assert _rows(source_of(frame), "id", "text") == [{"id": 7, "text": "a"}]


def test_a_query_of_a_driver_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute("CREATE TABLE t AS SELECT 1 AS id")
    with dbapi.connect(str(tmp_path / "s.db")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM t")
        assert _rows(source_of(cursor.fetch_record_batch()), "id") == [{"id": 1}]


@pytest.mark.parametrize("kind", ["table", "dataset", "pandas", "polars", "lazy polars"])
def test_batches_are_bounded_by_their_bytes(kind: str, tmp_path: Path) -> None:
    size, count = 200_000, 150
    table = pa.table({"text": [chr(65 + n % 26) * size for n in range(count)]})
    pq.write_table(table, tmp_path / "rows.parquet")
    made = {
        "table": lambda: table,
        "dataset": lambda: pa_dataset.dataset(tmp_path / "rows.parquet"),
        "pandas": table.to_pandas,
        "polars": lambda: pl.DataFrame(table),
        "lazy polars": lambda: pl.scan_parquet(tmp_path / "rows.parquet"),
    }[kind]()
    batches = list(source_of(made).batches(["text"]))
    assert sum(batch.rows.num_rows for batch in batches) == count
    assert max(batch.rows.nbytes for batch in batches) <= BATCH_BYTES + size
    assert [one for batch in batches for one in batch.positions] == list(range(count))
