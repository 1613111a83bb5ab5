"""Results in pandas, Polars and DuckDB: every type of Arrow arrives, as text where the engine has no such type or value."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.publish.engine_types import (
    in_duckdb,
    in_pandas,
    in_polars,
    lazily_in_polars,
    sql_names,
)

_WIDE = Decimal("12345678901234567890123456789012345678901234567890.12")
_DAY = 86_400
_CLOCK = dt.time(1, 2, 3, 4)
#: A type; a value as Arrow stores it, or of Python; what pandas, Polars and DuckDB have for it.
_VALUES: list[tuple[pa.DataType, Any, Any, Any, Any]] = [
    (pa.decimal256(60, 2), _WIDE, _WIDE, str(_WIDE), str(_WIDE)),
    (pa.decimal128(38, 2), *(4 * [Decimal("1.50")])),
    (pa.time64("us"), _DAY * 10**6, "24:00:00", "24:00:00", "24:00:00"),
    (pa.time64("us"), 3_723_000_004, _CLOCK, _CLOCK, _CLOCK),
    (pa.time64("ns"), 1, "00:00:00.000000001", dt.time(0), dt.time(0)),
    (pa.date32(), 10**7, "29349-01-26", None, "29349-01-26"),
    (pa.date32(), 1, *(3 * [dt.date(1970, 1, 2)])),
    (pa.int64(), 2**53 + 1, *(3 * [2**53 + 1])),
    (pa.float16(), 1.5, 1.5, 1.5, 1.5),
]


def _pandas(results: pa_dataset.Dataset) -> list[Any]:
    return [row["v"] for row in in_pandas(results).to_dict("records")]


def _polars(results: pa_dataset.Dataset) -> list[Any]:
    return list(in_polars(results)["v"].to_list())


def _lazily(results: pa_dataset.Dataset) -> list[Any]:
    frame = lazily_in_polars(results).filter(pl.col("record_id") != "other").select("v", "record_id")
    assert frame.head(1).collect().height == 1
    return list(frame.collect()["v"].to_list())


def _duckdb(results: pa_dataset.Dataset) -> list[Any]:
    relation = in_duckdb(results, duckdb.connect()).project("v")
    for _ in range(2):  # it can be read again
        found = [value for (value,) in relation.fetchall()]
    return found


_ENGINES: dict[str, tuple[Callable[[pa_dataset.Dataset], list[Any]], int]] = {
    "pandas": (_pandas, 2),
    "polars": (_polars, 3),
    "lazy polars": (_lazily, 3),
    "duckdb": (_duckdb, 4),
}


def _column(kind: pa.DataType, value: Any, nested: str) -> pa.Array:
    counted = isinstance(value, int) and not pa.types.is_integer(kind)
    small = pa.types.is_date32(kind)
    cells = pa.array([value, None], (pa.int32() if small else pa.int64()) if counted else kind)
    cells = cells.cast(kind)
    if nested == "list":
        return pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), cells)
    return pa.StructArray.from_arrays([cells], names=["x"]) if nested == "struct" else cells


@pytest.mark.parametrize("row", _VALUES, ids=lambda row: f"{row[0]} {row[1]}"[:40])
@pytest.mark.parametrize("nested", ["plain", "list", "struct"])
@pytest.mark.parametrize("engine", _ENGINES)
def test_every_value_arrives(row: tuple[Any, ...], nested: str, engine: str, tmp_path: Path) -> None:
    read, place = _ENGINES[engine]
    for name, ids in (("1", ["r0", "r1"]), ("2", ["other", "other"])):
        table = pa.table({"record_id": ids, "v": _column(row[0], row[1], nested)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    results = pa_dataset.dataset(tmp_path)
    if row[place] is None:  # Polars has it, and Python has not
        assert in_polars(results).height == 4
        assert lazily_in_polars(results).collect().height == 4
        return
    found = read(results)[0]
    value = next(iter(found)) if nested == "list" else found["x"] if nested == "struct" else found
    assert value == row[place]
    assert type(value) is type(row[place]) or not isinstance(row[place], str)


@pytest.mark.parametrize(
    ("names", "in_sql"),
    [
        (["a", "b"], ["a", "b"]),
        (["A", "a", "b"], ["A_1", "a_2", "b"]),
        (["A", "a", "a_1"], ["A_2", "a_3", "a_1"]),
        (["a_1", "A", "a", "A_2"], ["a_1", "A_3", "a_4", "A_2"]),
        (["Ü", "ü"], ["Ü_1", "ü_2"]),
        (["x", "X", 'a"b'], ["x_1", "X_2", 'a"b']),
    ],
)
def test_names_that_differ_by_case_alone_are_numbered(names: list[str], in_sql: list[str]) -> None:
    assert sql_names(names) == in_sql
    table = pa.table([pa.array([number]) for number in range(len(names))], names=names)
    relation = in_duckdb(pa_dataset.dataset(table), duckdb.connect())
    assert relation.columns == in_sql
    assert relation.fetchall() == [tuple(range(len(names)))]
