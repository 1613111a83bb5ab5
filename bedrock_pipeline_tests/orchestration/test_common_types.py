"""Several datasets, or several partitions, as one table: its types hold the values of all, or the error says which do not."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.orchestration.io_managers import _loaded, _union
from bedrock_pipeline.orchestration.upstream import _chained, _sources
from bedrock_pipeline.sources import InputError

#: Two columns, and the values of both in one type; None: there is none.
_PAIRS: dict[str, tuple[pa.Array, pa.Array, list[Any] | None]] = {
    "null and integer": (pa.nulls(1), pa.array([1]), [None, 1]),
    "integer and float": (pa.array([2**53]), pa.array([0.5]), [2.0**53, 0.5]),
    "integer and decimal": (pa.array([1]), pa.array([Decimal("1.5")]), [Decimal("1.0"), Decimal("1.5")]),
    "scales": (
        pa.array([Decimal("1.5")], pa.decimal128(5, 1)),
        pa.array([Decimal("1.555")], pa.decimal128(8, 3)),
        [Decimal("1.500"), Decimal("1.555")],
    ),
    "vectors": (
        pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)),
        pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float32(), 3)),
        [[1.0, 2.0], [1.0, 2.0, 3.0]],
    ),
    "structs": (pa.array([{"a": 1}]), pa.array([{"b": 1}]), [{"a": 1, "b": None}, {"a": None, "b": 1}]),
    "dictionary and text": (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), ["a", "b"]),
    "integer and text": (pa.array([1]), pa.array(["SECRETCELL"]), None),
    "with and without zone": (
        pa.array([0], pa.timestamp("us")),
        pa.array([0], pa.timestamp("us", "UTC")),
        None,
    ),
}
_ENGINES: dict[Any, Callable[[Any], list[Any]]] = {
    pa.Table: lambda table: table["n"].to_pylist(),
    pa_dataset.Dataset: lambda dataset: dataset.to_table()["n"].to_pylist(),
    duckdb.DuckDBPyRelation: lambda relation: [value for (value,) in relation.project("n").fetchall()],
    pl.LazyFrame: lambda frame: frame.collect()["n"].to_list(),
    pd.DataFrame: lambda frame: [None if value is pd.NA else value for value in frame["n"].tolist()],
}


def _datasets(folder: Path, *columns: pa.Array) -> dict[str, Any]:
    for number, column in enumerate(columns):
        (folder / f"d{number}").mkdir()
        pq.write_table(pa.table({"record_id": ["r"], "n": column}), folder / f"d{number}" / "part.parquet")
    return {f"d{number}": pa_dataset.dataset(folder / f"d{number}") for number in range(len(columns))}


@pytest.mark.parametrize("pair", _PAIRS)
def test_several_datasets_are_one_table(pair: str, tmp_path: Path) -> None:
    one, other, expected = _PAIRS[pair]
    found = _datasets(tmp_path, one, other)
    if expected is None:
        with pytest.raises(dg.Failure) as raised:
            _union(found)
        assert f"'n' is {one.type} in partition 'd0' and {other.type} in partition 'd1'" in str(
            raised.value.description
        )
        return
    for wanted, read in _ENGINES.items():
        values = read(_loaded(_union(found), wanted))
        if wanted is pd.DataFrame and pair in ("null and integer", "vectors"):
            assert len(values) == len(expected)  # NaN, and arrays of NumPy
        else:
            assert values == expected, wanted


def test_a_value_that_does_not_fit_is_an_error_without_it(tmp_path: Path) -> None:
    found = _datasets(tmp_path, pa.array([2**53 + 1]), pa.array([0.5]))
    with pytest.raises(dg.Failure, match="ArrowInvalid") as raised:
        _loaded(_union(found), pa.Table)
    assert str(2**53 + 1) not in str(raised.value.description)


@pytest.mark.parametrize("pair", _PAIRS)
def test_partitions_of_an_asset_are_one_input(pair: str, tmp_path: Path) -> None:
    one, other, expected = _PAIRS[pair]
    tables = [pa.table({"n": column}) for column in (one, other)]
    sources = [source for table in tables for source in _sources(table, "raw/rows", tmp_path)]
    if expected is None:
        with pytest.raises(InputError, match=r"'n' is .* in partition mon and .* in partition tue"):
            _chained(sources, ["mon", "tue"], "raw/rows")
        return
    rows = [
        row
        for batch in _chained(sources, ["mon", "tue"], "raw/rows").batches(["n"])
        for row in batch.rows["n"].to_pylist()
    ]
    assert rows == expected


@pytest.mark.parametrize(
    "value",
    [pd.DataFrame({"n": [1, "SECRETCELL"]}), [{"n": 1}, {"n": "SECRETCELL"}]],
    ids=["pandas", "dicts"],
)
def test_a_value_that_cannot_be_converted_is_named_by_its_column(value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Column 'n' of type object") as raised:
        list(_sources(value, "raw/rows", tmp_path))
    assert "SECRETCELL" not in str(raised.value)
