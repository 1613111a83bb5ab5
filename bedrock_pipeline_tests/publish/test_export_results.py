"""Results as a file: every type of Arrow in each format, nothing left out, no half file."""

import base64
import csv
import json
import re
import uuid
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.publish.export_results import export_results, json_lines
from bedrock_pipeline.publish.iso_texts import iso_texts

_UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
#: Type, values, what JSON has for them, and the cells of CSV; the texts are what people write.
_SCALARS: list[tuple[pa.DataType, list[Any], list[Any], list[str]]] = [
    (pa.null(), [None], [None], [""]),
    (pa.bool_(), [True, None], [True, None], ["true", ""]),
    (pa.uint64(), [2**64 - 1], [2**64 - 1], [str(2**64 - 1)]),
    (pa.float64(), [1.5, float("inf")], [1.5, None], ["1.5", "inf"]),
    (pa.float32(), [0.1, 123456792.0], [Decimal("0.1"), 123456792], ["0.1", "123456792"]),
    (pa.float16(), [np.float16(0.1), np.float16(65504)], [Decimal("0.1"), 65504], ["0.1", "65504"]),
    (pa.string(), ["", 'a "b"\n', None], ["", 'a "b"\n', None], ["", 'a "b"\n', ""]),
    (pa.string_view(), ["ü"], ["ü"], ["ü"]),
    (pa.dictionary(pa.int8(), pa.string()), ["x", "x"], ["x", "x"], ["x", "x"]),
    (
        pa.decimal128(38, 18),
        [Decimal("12.5"), Decimal(0)],
        [Decimal("12.500000000000000000"), Decimal(0)],
        ["12.500000000000000000", "0.000000000000000000"],
    ),
    (pa.decimal256(60, 1), [Decimal(10**50)], [Decimal(10**50)], [f"{10**50}.0"]),
    (pa.date32(), [date(2024, 2, 29)], ["2024-02-29"], ["2024-02-29"]),
    (pa.time64("us"), [time(1, 2, 3, 4)], ["01:02:03.000004"], ["01:02:03.000004"]),
    (
        pa.timestamp("s"),
        [datetime.fromisoformat("2024-02-29T01:02:00")],
        ["2024-02-29T01:02:00"],
        ["2024-02-29T01:02:00"],
    ),
    (
        pa.timestamp("us"),
        [300_000_000_000_000_000],
        ["11476-08-15T05:20:00.000000"],
        ["11476-08-15T05:20:00.000000"],
    ),
    (pa.timestamp("ms", "UTC"), [0], ["1970-01-01T00:00:00.000Z"], ["1970-01-01T00:00:00.000Z"]),
    (
        pa.timestamp("ms", "Asia/Kolkata"),
        [0],
        ["1970-01-01T05:30:00.000+05:30"],
        ["1970-01-01T05:30:00.000+05:30"],
    ),
    (
        pa.timestamp("us"),
        [2**63 - 1, None, 0],
        ["294247-01-10T04:00:54.775807", None, "1970-01-01T00:00:00.000000"],
        ["294247-01-10T04:00:54.775807", "", "1970-01-01T00:00:00.000000"],
    ),
    (pa.date64(), [date(2024, 2, 29)], ["2024-02-29"], ["2024-02-29"]),
    (pa.date64(), [11_600_000 * 86_400_000], ["33729-09-21"], ["33729-09-21"]),
    (pa.date32(), [2**31 - 1], ["5881580-07-11"], ["5881580-07-11"]),
    (pa.duration("ms"), [timedelta(seconds=90, milliseconds=5)], ["PT90.005S"], ["PT90.005S"]),
    (pa.binary(), [b"\xff\x00"], ["/wA="], ["/wA="]),
    (pa.binary(2), [b"ab"], ["YWI="], ["YWI="]),
    (pa.uuid(), [_UUID.bytes], [str(_UUID)], [str(_UUID)]),
]
_NESTED: list[tuple[pa.DataType, list[Any], list[Any]]] = [
    (pa.list_(pa.float32(), 2), [[1.5, 2.5], None], [[1.5, 2.5], None]),
    (pa.list_(pa.binary()), [[b"a", None], [], None], [["YQ==", None], [], None]),
    (pa.list_view(pa.date32()), [[date(2024, 1, 1)], None], [["2024-01-01"], None]),
    (
        pa.struct([("at", pa.timestamp("s")), ("sum", pa.decimal128(4, 2))]),
        [{"at": datetime.fromisoformat("2024-01-01"), "sum": None}, None],
        [{"at": "2024-01-01T00:00:00", "sum": None}, None],
    ),
    (pa.map_(pa.string(), pa.binary()), [[("a", b"a")], [], None], [{"a": "YQ=="}, {}, None]),
    (pa.map_(pa.string(), pa.int8()), [[("a", 1), ("a", 2)], [("a", 1)]], [[["a", 1], ["a", 2]], {"a": 1}]),
    (pa.list_(pa.float32()), [[0.1, 123456792.0, None], None], [[Decimal("0.1"), 123456792, None], None]),
    (pa.map_(pa.int8(), pa.date32()), [[(1, date(2024, 1, 1))], None], [[[1, "2024-01-01"]], None]),
    (
        pa.list_(pa.struct([("tags", pa.list_(pa.string()))])),
        [[{"tags": ["a", None]}, None], None],
        [[{"tags": ["a", None]}, None], None],
    ),
]


def _array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def _export(table: pa.Table, path: Path, **options: bool) -> Path:
    shown: list[int] = []
    batches = table.to_batches(max_chunksize=2)
    assert export_results(table.schema, batches, path, progress=shown.append, **options) == table.num_rows
    assert shown == list(accumulate(batch.num_rows for batch in batches))
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return path


def _json(path: Path) -> list[Any]:
    return [json.loads(line, parse_float=Decimal)["v"] for line in path.read_text().splitlines()]


def _cells(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["v"] for row in csv.DictReader(file)]


@pytest.mark.parametrize(("kind", "values", "in_json", "in_csv"), _SCALARS, ids=lambda value: str(value)[:30])
def test_scalars(
    kind: pa.DataType, values: list[Any], in_json: list[Any], in_csv: list[str], tmp_path: Path
) -> None:
    table = pa.table({"v": _array(kind, values), "number": list(range(len(values)))})
    assert pq.read_table(_export(table, tmp_path / "a.parquet")).cast(table.schema).equals(table)
    (tmp_path / "a.parquet").unlink()
    assert _json(_export(table, tmp_path / "a.jsonl")) == in_json
    (tmp_path / "a.jsonl").unlink()
    assert _cells(_export(table, tmp_path / "a.CSV")) == in_csv


@pytest.mark.parametrize(("kind", "values", "expected"), _NESTED, ids=lambda value: str(value)[:30])
def test_nested_values_are_json_in_both(
    kind: pa.DataType, values: list[Any], expected: list[Any], tmp_path: Path
) -> None:
    table = pa.table({"v": _array(kind, values), "number": list(range(len(values)))})
    assert _json(_export(table, tmp_path / "a.jsonl")) == expected
    (tmp_path / "a.jsonl").unlink()
    cells = _cells(_export(table, tmp_path / "a.csv"))
    assert [json.loads(cell, parse_float=Decimal) if cell else None for cell in cells] == expected


def _values(depth: int = 2) -> st.SearchStrategy[tuple[pa.DataType, st.SearchStrategy[Any]]]:
    """A type and values of it."""
    leaves = st.sampled_from(
        [
            (pa.int64(), st.none() | st.integers(-(2**63), 2**63 - 1)),
            (pa.string(), st.none() | st.text()),
            (pa.binary(), st.none() | st.binary()),
            (pa.date32(), st.none() | st.dates()),
        ]
    )
    if not depth:
        return leaves
    inner = _values(depth - 1)
    return st.one_of(
        leaves,
        inner.map(lambda one: (pa.list_(one[0]), st.none() | st.lists(one[1], max_size=3))),
        inner.map(lambda one: (pa.list_(one[0], 2), st.none() | st.lists(one[1], min_size=2, max_size=2))),
        st.tuples(inner, inner).map(
            lambda two: (
                pa.struct([("a", two[0][0]), ("b", two[1][0])]),
                st.none() | st.fixed_dictionaries({"a": two[0][1], "b": two[1][1]}),
            )
        ),
        inner.map(
            lambda one: (
                pa.map_(pa.string(), one[0]),
                st.none()
                | st.dictionaries(st.text(), one[1], max_size=2).map(lambda found: list(found.items())),
            )
        ),
    )


def _read(kind: pa.DataType, value: Any) -> Any:
    """What JSON has for a value, one value at a time."""
    if value is None:
        return None
    if isinstance(kind, pa.MapType):
        return {key: _read(kind.item_type, item) for key, item in value}
    if isinstance(kind, pa.StructType):
        return {field.name: _read(field.type, value[field.name]) for field in kind}
    if isinstance(kind, pa.ListType | pa.FixedSizeListType):
        return [_read(kind.value_type, item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, date) else value


@settings(max_examples=300, deadline=None)
@given(
    _values().flatmap(lambda one: st.tuples(st.just(one[0]), st.lists(one[1], max_size=6))), st.integers(0, 3)
)
def test_nesting_of_any_depth(drawn: tuple[pa.DataType, list[Any]], skipped: int) -> None:
    kind, values = drawn
    batch = pa.record_batch({"v": pa.array(values, kind)}).slice(min(skipped, len(values)))
    lines = [json.loads(line)["v"] for line in json_lines(batch)]
    assert lines == [_read(kind, value) for value in values[min(skipped, len(values)) :]]


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    table = pa.table({"v": ["=1+1", "+1", "-1", "@a", "\tx", "a=b", "", None], "=n": [-1] * 8})
    path = _export(table, tmp_path / "a.csv", escape_formulas=True)
    assert _cells(path) == ["'=1+1", "'+1", "'-1", "'@a", "'\tx", "a=b", "", ""]
    assert path.read_text().splitlines()[0] == """"v","'=n\""""
    assert "-1" in path.read_text().splitlines()[1]


@pytest.mark.parametrize(
    "before", ["", "\n", "\r\n", " ", "\u00a0", "\u3000", "\ufeff", "\u200b", "\x00", " \t\u2003"]
)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212"])
def test_nor_does_it_behind_spaces_or_in_full_width(before: str, sign: str, tmp_path: Path) -> None:
    table = pa.table({"v": [f"{before}{sign}1+1", f"a{before}{sign}1"], f"{before}{sign}n": [1, 2]})
    text = _export(table, tmp_path / "a.csv", escape_formulas=True).read_bytes().decode()
    assert text.startswith(f'"v","\'{before}{sign}n"')
    assert f'"\'{before}{sign}1+1"' in text
    assert f'"a{before}{sign}1"' in text


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_no_half_file_is_left_and_a_complete_one_is_not_replaced(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("complete")
    table = pa.table({"v": [1]})

    def broken() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()
        raise ConnectionError

    with pytest.raises(ConnectionError):
        export_results(table.schema, broken(), path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "complete"


@pytest.mark.parametrize("name", ["a.xlsx", "absent/a.csv"])
def test_a_file_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=name[:6]):
        export_results(pa.schema([]), [], tmp_path / name)


@settings(max_examples=300, deadline=None)
@example(count=-2_019_705_671, unit="s", zone="Asia/Kolkata")  # at +05:21:10
@given(
    count=st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-(10**12), 10**12),
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    zone=st.sampled_from([None, "UTC", "Asia/Kolkata", "-03:00", "Mars/Phobos"]),
)
def test_every_timestamp_is_a_time_in_iso_8601(count: int, unit: Any, zone: str | None) -> None:
    [text] = iso_texts(pa.array([count], pa.int64()).cast(pa.timestamp(unit, zone))).to_pylist()
    time, offset = re.fullmatch(r"(-?\d{4,}-\d\d-\d\dT[\d:.]+)(Z|[+-]\d\d:\d\d)?", text).groups()  # type: ignore[union-attr]
    assert bool(offset) == bool(zone)
    hours, minutes = map(int, (offset or "Z").replace("Z", "+00:00").split(":"))
    away = np.timedelta64(hours * 60 + (minutes if hours >= 0 else -minutes), "m").astype("m8[s]")
    if abs(count) < 2**63 - 10**15:  # beyond, NumPy cannot count it as a local time
        assert (np.datetime64(time, unit) - away).astype(np.int64) == count
