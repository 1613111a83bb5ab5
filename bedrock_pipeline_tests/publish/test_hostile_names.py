"""Names and types of the input's columns change nothing about duplicates: neither who is one, nor what its row has."""

from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import Snapshot, write_snapshot
from bedrock_pipeline.publish.duplicate_rows import DuplicateRows
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.records.result_schema import RESERVED, result_schema
from bedrock_pipeline.sources import ArrowSource

#: Names that SQL, DuckDB, Polars or this package use for something else, and pairs that differ by their case alone.
NAMES = (
    *(
        "filename",
        "Filename",
        "file_row_number",
        "FILE_ROW_NUMBER",
        "h",
        "n",
        "canonical",
        "same",
        "later",
        "id",
        "k0",
    ),
    *(
        "canonical_row",
        "canonical_id",
        "select",
        "order",
        "Record_Id",
        "RECORD_ID",
        "hashed",
        "part",
        "c0",
        "c1",
        "joined",
    ),
    *("Text", "text", "TEXT", "a b", 'a"b', "a'b", "a.b", "a\nb", "ü", "Ü", "hash(1)", "1"),
)
#: Rows with the same number have the same request; the values of a row differ from column to column.
REQUESTS = [1, 2, 1, 3, 2, 1, 4]


def _snapshot(table: pa.Table, folder: Path, prompt: str, carry: tuple[str, ...]) -> Snapshot:
    pipeline = Pipeline(
        name="p", model_id="amazon.nova-lite-v1:0", record_id="the id", prompt=prompt, carry=carry
    )
    folder.mkdir()
    with RejectionWriter(folder / "rejected") as rejected:
        return write_snapshot(
            ArrowSource(table.schema, lambda: iter(table.to_batches())),
            SnapshotPlan.of(pipeline),
            folder,
            rejected,
        )


def _ids(parts: list[Path]) -> list[dict[str, Any]]:
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("twin", ["", "upper", "swapped"])
def test_who_is_a_duplicate_does_not_depend_on_a_name(name: str, twin: str, tmp_path: Path) -> None:
    other = {"": "other", "upper": name.upper(), "swapped": name.swapcase()}[twin]
    if other in (name, "record_id"):
        other = "other"
    table = pa.table(
        {
            "the id": [f"r{row}" for row in range(len(REQUESTS))],
            other: [f"{request % 2}" for request in REQUESTS],  # alone it does not tell requests apart
            name: [f"q{request}" for request in REQUESTS],
        }
    )
    carry = () if name.casefold() in RESERVED else (name,)
    snapshot = _snapshot(table, tmp_path / "work", f"{{{{ `{other}` }}}} {{{{ `{name}` }}}}", carry)
    found = {row["record_id"]: row["canonical"] for row in _ids(snapshot.duplicate_parts)}
    first = {request: f"r{REQUESTS.index(request)}" for request in REQUESTS}
    expected = {
        f"r{row}": first[request] for row, request in enumerate(REQUESTS) if first[request] != f"r{row}"
    }
    assert found == expected
    assert snapshot.records == len(REQUESTS)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([Decimal(10**50), Decimal(10**50 + 1)], pa.decimal256(60, 0)),
        ([0.1, 0.10000000000000002], pa.float64()),
        ([[0.0], [-0.0]], pa.list_(pa.float64())),
    ],
    ids=["decimal256", "floats", "zeros in lists"],
)
def test_values_that_the_prompt_writes_differently_are_different_requests(
    values: list[Any], kind: pa.DataType, tmp_path: Path
) -> None:
    table = pa.table({"the id": ["a", "b", "c"], "value": pa.array([*values, values[0]], kind)})
    snapshot = _snapshot(table, tmp_path / "work", "{{ value }}", ())
    assert {row["record_id"]: row["canonical"] for row in _ids(snapshot.duplicate_parts)} == {"c": "a"}


def test_a_duplicate_has_its_own_carried_values_whatever_their_names_and_types(tmp_path: Path) -> None:
    names = [name for name in NAMES if name.casefold() not in RESERVED]
    carry = (*names, "wide", "half", "took", "lists", "structs", "words")
    columns: dict[str, Any] = {name: [f"{name} of r{row}" for row in range(4)] for name in names}
    table = pa.table(
        {
            "the id": [f"r{row}" for row in range(4)],
            "question": ["q", "q", "other", "q"],
            **columns,
            "wide": pa.array([Decimal(10**50 + row) for row in range(4)], pa.decimal256(60, 0)),
            "half": pa.array([0.5, 1.5, 2.5, 3.5], pa.float32()).cast(pa.float16()),
            "took": pa.array(range(4), pa.duration("us")),
            "lists": pa.array(
                [[Decimal(10**50 + row), None] for row in range(4)], pa.list_(pa.decimal256(60, 0))
            ),
            "structs": pa.array(
                [{"a": Decimal(10**50 + row), "A": row} for row in range(4)],
                pa.struct([("a", pa.decimal256(60, 0)), ("A", pa.int8())]),
            ),
            "words": pa.array(["w", "x", "w", "y"]).dictionary_encode(),
        }
    )
    snapshot = _snapshot(table, tmp_path / "work", "{{ question }}", carry)
    schema = result_schema(table.select(carry).schema, None)
    canonical = pa.concat_tables(pq.read_table(part) for part in snapshot.parts)
    part = tmp_path / "part.parquet"
    columns = {
        field.name: canonical[field.name] if field.name in canonical.column_names else pa.nulls(2, field.type)
        for field in schema
    }
    pq.write_table(pa.table(columns, schema=schema), part)
    with closing(DuplicateRows(snapshot.duplicate_parts, tmp_path)) as rows:
        found = pa.Table.from_batches(rows.rows_for(part, schema), schema).sort_by("record_id").to_pylist()
    assert [row["record_id"] for row in found] == ["r1", "r3"]
    for row, number in zip(found, (1, 3), strict=True):
        assert row["answered_by"] == "r0"
        assert {name: row[name] for name in carry} == table.select(carry).slice(number, 1).to_pylist()[0]
