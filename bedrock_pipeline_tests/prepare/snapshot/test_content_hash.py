"""The content's hash: the same whatever the batches and the layout, another where a cell differs."""

import datetime as dt
import itertools
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.prepare.snapshot.content_hash import Fingerprint


def fingerprint(*tables: pa.Table, purpose: str = "") -> str:
    found = Fingerprint(purpose)
    for table in tables:
        found.add(table)
    return found.hexdigest()


@given(
    rows=st.lists(
        st.tuples(st.none() | st.text(max_size=4), st.none() | st.integers(-3, 3), st.none() | st.booleans())
    ),
    cuts=st.lists(st.integers(0, 10), max_size=4),
)
def test_batches_do_not_matter(rows: list[tuple[Any, ...]], cuts: list[int]) -> None:
    schema = pa.schema([("t", pa.string()), ("n", pa.int64()), ("b", pa.bool_())])
    table = pa.table(
        {field.name: pa.array([row[i] for row in rows], field.type) for i, field in enumerate(schema)}
    )
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [table.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    assert fingerprint(*parts) == fingerprint(table) == fingerprint(table.select(["b", "t", "n"]))
    if rows:
        assert fingerprint(table.slice(1)) != fingerprint(table)


def test_the_layout_does_not_matter() -> None:
    plain = pa.array(["a", None, "a", ""])
    kinds = [pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
    assert {fingerprint(pa.table({"t": plain.cast(kind)})) for kind in kinds} == {
        fingerprint(pa.table({"t": plain}))
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["", None], [None, ""]),
        ([0, None], [None, 0]),
        ([False, None], [None, False]),
        ([1, 2], ["1", "2"]),
        ([1, 2], [1.0, 2.0]),
        (["a"], [b"a"]),
        ([["a", "b"]], [["ab"]]),
        ([{"a": 1}], [{"a": 2}]),
        ([dt.date(2026, 1, 1)], [dt.date(2026, 1, 2)]),
        ([1, 2], [2, 1]),
    ],
)
def test_every_difference_shows(one: list[Any], other: list[Any]) -> None:
    assert fingerprint(pa.table({"a": one})) != fingerprint(pa.table({"a": other}))
    assert fingerprint(pa.table({"a": one})) != fingerprint(pa.table({"b": one}))
    assert fingerprint(pa.table({"a": one})) != fingerprint(pa.table({"a": one}), purpose="another")
