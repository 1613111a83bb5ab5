"""Tables with features that a writer lacks, partitions that results lack, and columns of which only a part has a type."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from pyiceberg.transforms import parse_transform

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.publish.table_rows import TableBusyError, TableRejectedError
from bedrock_pipeline.publish.write_table import write_table
from bedrock_pipeline.sources import DeltaTable, IcebergTable
from bedrock_pipeline_tests.publish.lakes import Lake, overtaken, written

I64, TEXT, MICROS, NANOS = pa.int64(), pa.string(), pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")
MOMENT = dt.datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "feature", ["clustering", "identityColumns", "allowColumnDefaults", "rowTracking", "ofTheFuture"]
)
def test_a_delta_table_with_a_feature_that_its_writer_lacks_is_not_tried_again(
    deployment: Deployment, tmp_path: Path, feature: str
) -> None:
    folder = tmp_path / "t"
    deltalake.DeltaTable.create(str(folder), pa.schema([("record_id", TEXT)]))
    log = folder / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature]}
    log.write_text("".join(f"{json.dumps(action)}\n" for action in actions))
    with pytest.raises(TableRejectedError, match="has a feature that deltalake cannot write"):
        write_table(deployment, DeltaTable(location=str(folder)), written())


def test_a_delta_table_whose_log_was_cleaned_meanwhile_is_tried_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = DeltaTable(location=str(tmp_path / "t"))
    assert write_table(deployment, target, written("before"))

    def meanwhile() -> None:
        assert write_table(deployment, target, written("meanwhile"))
        table = deltalake.DeltaTable(target.location)
        table.create_checkpoint()
        for log in Path(target.location, "_delta_log").glob("*.json"):
            if int(log.stem) < table.version():
                log.unlink()

    overtaken(monkeypatch, meanwhile)
    with pytest.raises(TableBusyError):
        write_table(deployment, target, written())
    assert write_table(deployment, target, written())
    assert Lake("delta", tmp_path).values(target, "dataset") == [("before",), ("d",), ("meanwhile",)]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
@pytest.mark.parametrize("transform", ["identity", "bucket[4]"])
@pytest.mark.parametrize("column", ["n", "s.x"])
@pytest.mark.parametrize("given", ["nothing", "nulls"])
def test_results_may_lack_what_an_iceberg_table_is_partitioned_by(
    deployment: Deployment, lake: Lake, transform: str, column: str, given: str
) -> None:
    target = lake.made(pa.table({"record_id": ["theirs"], "n": [1], "s": [{"x": 1}]}))
    assert isinstance(target, IcebergTable)
    with lake.catalog.load_table(target.table).update_spec() as spec:
        spec.add_field(column, parse_transform(transform), "part")
    columns = {} if given == "nothing" else {"n": pa.nulls(1), "s": pa.nulls(1)}
    for version in (1, 2):
        assert write_table(deployment, target, written(version=version, **columns))
    found = lake.values(target, "record_id", "n")
    assert found == [("a", None), ("theirs", 1)]


#: A column of a table, the type of results and a value, and what the table has then.
PARTS: list[tuple[pa.DataType, Any, pa.DataType, Any, Any]] = [
    (
        pa.struct([("a", I64), ("t", MICROS)]),
        {"a": 1, "t": MOMENT},
        pa.struct([("a", pa.null()), ("t", NANOS)]),
        {"a": None, "t": 1_999},
        {"a": None, "t": dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)},
    ),
    (
        pa.list_(pa.struct([("a", I64), ("t", MICROS)])),
        [],
        pa.list_(pa.struct([("a", pa.null()), ("t", NANOS)])),
        [{"a": None, "t": 1_999}, None],
        [{"a": None, "t": dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)}, None],
    ),
    (
        pa.map_(TEXT, pa.struct([("a", I64), ("t", TEXT)])),
        [],
        pa.map_(TEXT, pa.struct([("a", pa.null()), ("t", pa.duration("ms"))])),
        [("k", {"a": None, "t": 86_401_000})],
        [("k", {"a": None, "t": "PT86401S"})],
    ),
    (
        pa.struct([("t", TEXT)]),
        {"t": "x"},
        pa.struct([("t", pa.decimal256(76, 10))]),
        {"t": Decimal(0)},
        {"t": "0.0000000000"},
    ),
    (
        pa.struct([("a", I64), ("t", TEXT), ("more", TEXT)]),
        {"a": 1, "t": "x", "more": "y"},
        pa.struct([("a", I64), ("t", pa.null())]),
        {"a": 2, "t": None},
        {"a": 2, "t": None, "more": None},
    ),
    (pa.map_(TEXT, pa.float64()), [], pa.map_(TEXT, pa.float32()), [("k", 0.1)], [("k", 0.1)]),
]


@pytest.mark.parametrize("case", PARTS, ids=lambda case: f"{case[2]} into {case[0]}")
def test_a_part_of_a_column_is_written_as_it_would_be_by_itself(
    deployment: Deployment, lake: Lake, case: tuple[pa.DataType, Any, pa.DataType, Any, Any]
) -> None:
    there, first, kind, value, expected = case
    target = lake.new()
    assert write_table(deployment, target, written("d1", n=pa.array([first], there)))
    assert write_table(deployment, target, written("d2", n=pa.array([value], kind)))
    assert lake.values(target, "dataset", "n")[1] == ("d2", expected)


@pytest.mark.parametrize("kind", [pa.null(), pa.struct([("x", pa.null())])], ids=str)
def test_a_column_without_any_value_is_no_column(
    deployment: Deployment, lake: Lake, kind: pa.DataType
) -> None:
    target = lake.new()
    assert write_table(deployment, target, written("d1", n=pa.nulls(1, kind)))
    assert write_table(deployment, target, written("d2", n=[{"x": 1}]))
    assert lake.values(target, "dataset", "n") == [("d1", None), ("d2", {"x": 1})]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
@pytest.mark.parametrize("given", [{}, {"s": pa.nulls(1, pa.struct([("x", I64)]))}], ids=["lacking", "null"])
def test_a_null_struct_that_pyiceberg_does_not_write_is_rejected_with_the_reason(
    deployment: Deployment, lake: Lake, given: dict[str, Any]
) -> None:
    kind = pa.struct([pa.field("x", I64, nullable=False)])
    target = lake.made(pa.table({"record_id": ["theirs"], "s": pa.array([{"x": 1}], kind)}))
    with pytest.raises(TableRejectedError, match="takes no null struct"):
        write_table(deployment, target, written(**given))
    assert lake.values(target, "record_id") == [("theirs",)]
