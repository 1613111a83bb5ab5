"""Times of day and points in time that Python has not: no value of Arrow becomes another one on its way to a prompt."""

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.publish.plain_values import csv_cells, json_values
from bedrock_pipeline.records.cells import python_values, text_of

_DAY = 86_400
#: A type, a count of its unit, the text in a prompt, and in an export.
_TIMES: list[tuple[pa.DataType, int, str, str]] = [
    (pa.time64("us"), _DAY * 10**6, "24:00:00", "24:00:00"),
    (pa.time64("us"), _DAY * 10**6 - 1, "23:59:59.999999", "23:59:59.999999"),
    (pa.time64("us"), 0, "00:00:00", "00:00:00.000000"),
    (pa.time64("us"), 90_061_000_001, "25:01:01.000001", "25:01:01.000001"),
    (pa.time64("us"), -1, "-00:00:00.000001", "-00:00:00.000001"),
    (pa.time32("s"), _DAY, "24:00:00", "24:00:00"),
    (pa.time32("s"), 1, "00:00:01", "00:00:01"),
    (pa.time32("ms"), _DAY * 1000, "24:00:00", "24:00:00"),
    (pa.time64("ns"), _DAY * 10**9, "24:00:00", "24:00:00"),
    (pa.time64("ns"), 1, "00:00:00.000000001", "00:00:00.000000001"),
    (pa.timestamp("us"), -63_517_824_000_000_000, "-0043-03-15 00:00:00.000000", "-0043-03-15T00:00:00"),
    (pa.timestamp("s", "UTC"), -63_517_824_000, "-0043-03-15 00:00:00+00:00", "-0043-03-15T00:00:00Z"),
    (pa.date32(), -735_160, "-0043-03-15", "-0043-03-15"),
    (pa.date32(), 10**7, "29349-01-26", "29349-01-26"),
]


def _array(kind: pa.DataType, counts: list[int | None]) -> pa.Array:
    small = pa.types.is_time32(kind) or pa.types.is_date32(kind)
    return pa.array(counts, pa.int32() if small else pa.int64()).cast(kind)


@pytest.mark.parametrize(("kind", "count", "in_prompt", "in_export"), _TIMES, ids=str)
@pytest.mark.parametrize("nested", ["plain", "list", "struct", "dictionary"])
def test_a_time_keeps_its_value(
    kind: pa.DataType, count: int, in_prompt: str, in_export: str, nested: str
) -> None:
    cells = _array(kind, [count, None])
    column = {
        "plain": lambda: cells,
        "list": lambda: pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), cells),
        "struct": lambda: pa.StructArray.from_arrays([cells], names=["x"]),
        "dictionary": lambda: cells.dictionary_encode(),
    }[nested]()
    wrap: Any = {"list": lambda one: [one], "struct": lambda one: {"x": one}}.get(nested, lambda one: one)
    found, nothing = python_values(column)
    cell = found[0] if nested == "list" else found["x"] if nested == "struct" else found
    assert text_of(cell) == in_prompt
    assert nothing == wrap(None)
    exported = json_values(column)
    assert exported[1] == wrap(None)
    assert str(exported[0]).startswith(str(wrap(in_export)).rstrip("]}'"))
    assert csv_cells(column)[0].as_py().strip('[]{}"x:').startswith(in_export)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.integers(0, _DAY * 10**6 - 1), min_size=1, max_size=5))
def test_times_of_a_day_are_pythons(counts: list[int | None]) -> None:
    midnight = dt.datetime(2000, 1, 1)  # noqa: DTZ001  # a time of day has no zone
    expected = [
        None if count is None else (midnight + dt.timedelta(microseconds=count)).time() for count in counts
    ]
    column = _array(pa.time64("us"), counts)
    assert python_values(column) == expected
    assert python_values(pa.chunked_array([column, column])) == expected * 2
