"""Types of parquet files and of Arrow data arrive with their values."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.records.cells import python_values
from bedrock_pipeline.sources import open_location
from bedrock_pipeline.sources.plain_layout import plain_batch
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, read


def test_times_of_96_bits_are_read_beyond_the_years_of_nanoseconds(tmp_path: Path) -> None:
    times = [
        dt.datetime.fromisoformat(one) for one in ("0001-01-01", "1815-03-31", "2026-01-02", "9999-12-31")
    ]
    table = pa.table({"at": pa.array(times, pa.timestamp("us"))})
    for name in ("1", "2"):
        pq.write_table(table, tmp_path / f"{name}.parquet", use_deprecated_int96_timestamps=True)
    rows, _ = read(open_location(str(tmp_path), NOWHERE))
    assert [row["at"] for row in rows] == times * 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("nested", ["plain", "list", "struct"])
def test_floats_keep_their_digits_beside_wider_ones(
    tmp_path: Path, order: tuple[int, int], nested: str
) -> None:
    values = [0.1, None, 123456792.0, 1e-7]
    wrap: Any = {"plain": lambda one: one, "list": lambda one: [one], "struct": lambda one: {"x": one}}[
        nested
    ]
    for place, kind in zip(order, (pa.float32(), pa.float64()), strict=True):
        kinds = {"plain": kind, "list": pa.list_(kind), "struct": pa.struct([("x", kind)])}
        column = pa.array([wrap(value) for value in values], kinds[nested])
        pq.write_table(pa.table({"a": column}), tmp_path / f"{place}.parquet")
    rows, _ = read(open_location(str(tmp_path), NOWHERE))
    assert [row["a"] for row in rows] == [wrap(value) for value in values] * 2


_LEAVES = st.sampled_from(
    [
        (pa.int64(), st.none() | st.integers(-5, 5)),
        (pa.string_view(), st.none() | st.text(max_size=20)),
        (pa.binary_view(), st.none() | st.binary(max_size=20)),
    ]
)


def _nested(inner: Any) -> Any:
    lists = [pa.list_view, pa.large_list_view, pa.list_, pa.large_list]
    return (
        st.tuples(inner, st.sampled_from(lists)).map(
            lambda two: (two[1](two[0][0]), st.none() | st.lists(two[0][1], max_size=3))
        )
        | inner.map(lambda one: (pa.list_(one[0], 2), st.none() | st.lists(one[1], min_size=2, max_size=2)))
        | inner.map(
            lambda one: (pa.struct([("x", one[0])]), st.none() | st.fixed_dictionaries({"x": one[1]}))
        )
        | inner.map(
            lambda one: (
                pa.map_(pa.int64(), one[0]),
                st.none() | st.lists(st.tuples(st.integers(0, 3), one[1]), max_size=3),
            )
        )
    )


@settings(max_examples=300, deadline=None)
@given(
    drawn=st.recursive(_LEAVES, _nested, max_leaves=3).flatmap(
        lambda one: st.tuples(st.just(one[0]), st.lists(one[1], max_size=6))
    ),
    skipped=st.integers(0, 3),
)
def test_views_of_any_nesting_have_the_same_values_in_plain_layouts(
    drawn: tuple[pa.DataType, list[Any]], skipped: int
) -> None:
    kind, values = drawn
    batch = pa.record_batch({"v": pa.array(values, kind)}).slice(skipped)
    found = plain_batch(batch)
    found.validate(full=True)
    assert "view" not in str(found.schema.types[0])
    assert found["v"].to_pylist() == values[skipped:]


@pytest.mark.parametrize("kind", [pa.list_view(pa.int64()), pa.large_list_view(pa.int64())])
def test_list_views_are_read_from_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    values = [[1], [2, 3], None, []]
    pq.write_table(pa.table({"a": pa.array(values, kind)}), tmp_path / "a.parquet")
    rows, _ = read(open_location(str(tmp_path), NOWHERE))
    assert [row["a"] for row in rows] == values


@settings(max_examples=300, deadline=None)
@given(value=st.floats(width=16, allow_nan=False, allow_infinity=False))
def test_a_16_bit_float_is_its_whole_number_or_its_shortest_digits(value: float) -> None:
    [found] = python_values(pa.array([np.float16(value)], pa.float16()))
    assert found == (value if value.is_integer() else float(str(np.float16(value))))
