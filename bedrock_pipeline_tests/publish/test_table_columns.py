"""Results in a table that exists: no value is changed to fit, no publisher undoes another one's work, no error has a cell."""

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pytest
from pyiceberg.transforms import IdentityTransform

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.publish import write_iceberg
from bedrock_pipeline.publish.table_rows import TableBusyError, TableRejectedError, Written
from bedrock_pipeline.publish.write_table import write_table
from bedrock_pipeline.sources import DeltaTable, IcebergTable
from bedrock_pipeline.sources.extras import MissingExtraError
from bedrock_pipeline_tests.publish.lakes import Lake, overtaken, written

UTC = dt.UTC
#: A word that no message may have.
CELL = "cell-4711"


BOTH, NEITHER, ICEBERG = ("delta", "iceberg"), (), ("iceberg",)
I8, I32, I64, U64, F32, F64 = pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float32(), pa.float64()
TEXT, NAIVE, ZONED = pa.string(), pa.timestamp("us"), pa.timestamp("us", "UTC")
MIDNIGHT = dt.datetime(2024, 1, 1)  # noqa: DTZ001  # a timestamp without a zone
TIMES: list[tuple[pa.DataType, Any]] = [(NAIVE, MIDNIGHT), (ZONED, MIDNIGHT.replace(tzinfo=UTC))]


def struct(**fields: pa.DataType) -> pa.DataType:
    return pa.struct(list(fields.items()))


#: Two datasets' types of a column with a value each, and the kinds of tables that take the second beside the first.
PAIRS: list[tuple[pa.DataType, Any, pa.DataType, Any, tuple[str, ...]]] = [
    (I64, 1, TEXT, CELL, NEITHER),
    (TEXT, CELL, I64, 5, NEITHER),
    (I32, 1, I64, 2**40, ICEBERG),
    (I64, 2**40, I32, 7, BOTH),
    (I64, 1, I8, -7, BOTH),
    (I64, 1, F64, 1.5, NEITHER),
    (F64, 1.5, I64, 2**53 + 1, NEITHER),
    (F64, 1.5, I32, 2**31 - 1, BOTH),
    (F32, 1.5, F64, 0.1, ICEBERG),
    (F64, 1.5, F32, 0.25, BOTH),
    (U64, 3, I64, -3, BOTH),
    (I64, 3, U64, 2**63 + 1, NEITHER),
    (pa.decimal128(10, 2), Decimal("1.25"), pa.decimal128(12, 4), Decimal("1.2345"), NEITHER),
    (pa.decimal128(12, 4), Decimal("1.2345"), pa.decimal128(10, 2), Decimal("12345678.25"), BOTH),
    (pa.decimal128(10, 2), Decimal("1.25"), pa.decimal128(12, 2), Decimal("1234567890.25"), ICEBERG),
    (*TIMES[0], *TIMES[1], NEITHER),
    (*TIMES[1], *TIMES[0], NEITHER),
    (NAIVE, MIDNIGHT, TEXT, CELL, NEITHER),
    (pa.date32(), dt.date(2024, 1, 1), NAIVE, MIDNIGHT.replace(hour=5), NEITHER),
    (pa.bool_(), True, TEXT, CELL, NEITHER),
    (pa.binary(), b"x", TEXT, CELL, NEITHER),
    (TEXT, CELL, pa.binary(), b"\xff", NEITHER),
    (pa.null(), None, I64, 3, BOTH),
    (I64, 3, pa.null(), None, BOTH),
    (pa.list_(I64), [1], pa.list_(TEXT), [CELL], NEITHER),
    (pa.list_(I64), [1], pa.list_(pa.null()), [], BOTH),
    (pa.list_(I64), [1], pa.list_(I32), [2, None], BOTH),
    (struct(a=I64), {"a": 1}, struct(a=TEXT), {"a": CELL}, NEITHER),
    (struct(a=TEXT, b=TEXT), {"a": "1", "b": "2"}, struct(b=TEXT, a=TEXT), {"b": "3", "a": "4"}, BOTH),
    (struct(a=I64), {"a": 1}, struct(a=pa.null()), {"a": None}, BOTH),
    (pa.map_(TEXT, I64), [("k", 1)], pa.map_(TEXT, I64), [("k", 2)], BOTH),
    (pa.map_(I64, I64), [(1, 1)], pa.map_(I32, I32), [(2, 2)], BOTH),
    (pa.map_(I32, I32), [(1, 1)], pa.map_(I64, I64), [(2**40, 2**41)], NEITHER),
    (pa.map_(I32, I32), [(1, 1)], pa.map_(I32, I64), [(2, 2**41)], ICEBERG),
]


def test_a_value_is_written_as_it_is_or_its_column_is_named_and_nothing_is(
    deployment: Deployment, lake: Lake
) -> None:
    for first_type, first, other_type, other, takes in PAIRS:
        case = f"{other_type} beside {first_type}"
        target = lake.new()
        assert write_table(deployment, target, written("d1", n=pa.array([first], first_type)))
        before = lake.values(target, "dataset", "n")
        assert before == [("d1", first)], case
        second = written("d2", n=pa.array([other], other_type))
        if lake.kind in takes:
            assert write_table(deployment, target, second), case
            assert lake.values(target, "dataset", "n") == [*before, ("d2", other)], case
            continue
        with pytest.raises(TableRejectedError, match="its column 'n' has the type") as caught:
            write_table(deployment, target, second)
        assert CELL not in str(caught.value), case
        assert caught.value.__cause__ is None, case
        assert lake.values(target, "dataset", "n") == before, case


def test_floats_of_32_bits_keep_their_digits_in_wider_columns(deployment: Deployment, lake: Lake) -> None:
    target = lake.new()
    write_table(deployment, target, written("d1", n=pa.array([1.5])))
    write_table(deployment, target, written("d2", n=pa.array([0.1], F32)))
    assert lake.values(target, "n") == [(0.1,), (1.5,)]


def test_a_struct_may_have_other_fields(deployment: Deployment, lake: Lake) -> None:
    target = lake.new()
    write_table(deployment, target, written("d1", n=pa.array([{"a": 1}])))
    write_table(deployment, target, written("d2", n=pa.array([{"b": "q"}])))
    assert lake.values(target, "n") == [({"a": 1, "b": None},), ({"a": None, "b": "q"},)]


def test_the_table_of_somebody_else_keeps_its_rows(deployment: Deployment, lake: Lake) -> None:
    target = lake.made(pa.table({"record_id": ["old1", "old2"]}))
    for version in (1, 1, 2):
        assert write_table(deployment, target, written(version=version, n=[version]))
    assert lake.values(target, "dataset", "record_id", "n") == [
        ("d", "a", 2),
        (None, "old1", None),
        (None, "old2", None),
    ]


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (pa.field("Record_Id", TEXT), "differ in case alone"),
        (pa.field("checked", TEXT, nullable=False), "needs values"),
        (pa.field("dataset", I64), "its column 'dataset' has the type int64"),
    ],
)
def test_a_table_of_somebody_else_that_cannot_take_the_rows_is_left_as_it_is(
    deployment: Deployment, lake: Lake, field: pa.Field, said: str
) -> None:
    value = [5] if field.type == I64 else [CELL]
    target = lake.made(pa.Table.from_arrays([pa.array(value, field.type)], schema=pa.schema([field])))
    with pytest.raises(TableRejectedError, match=said) as caught:
        write_table(deployment, target, written())
    assert CELL not in str(caught.value)
    assert lake.values(target, field.name) == [tuple(value)]


@pytest.mark.parametrize("break_it", ["constraint", "append-only"])
def test_a_delta_table_s_own_rules_reject_the_rows_without_showing_them(
    deployment: Deployment, tmp_path: Path, break_it: str
) -> None:
    target = DeltaTable(location=str(tmp_path / "t"))
    assert write_table(deployment, target, written(n=["harmless"]))
    table = deltalake.DeltaTable(target.location)
    if break_it == "constraint":
        table.alter.add_constraint({"no_secret": f"n <> '{CELL}'"})
    else:
        table.alter.set_table_properties({"delta.appendOnly": "true"})
    with pytest.raises(TableRejectedError, match=r"breaks a constraint|append-only") as caught:
        write_table(deployment, target, written(version=2, n=[CELL]))
    assert CELL not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("there", ["no table", "an empty table", "other rows", "its rows"])
def test_a_suspended_publisher_does_not_undo_a_later_one(
    deployment: Deployment, lake: Lake, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    target = lake.new()
    if there != "no table":
        write_table(deployment, target, written("d" if there == "its rows" else "e", n=["before"]))
    if there == "an empty table":
        rows = pa_dataset.dataset(pa.table({"record_id": pa.array([], TEXT), "n": pa.array([], TEXT)}))
        write_table(deployment, target, Written("p", "e", 2, 1, "s3://b/r/", rows))
    overtaken(monkeypatch, lambda: write_table(deployment, target, written(version=2, n=["new"])))
    with pytest.raises(TableBusyError):
        write_table(deployment, target, written(version=1, n=["old"]))
    assert not write_table(deployment, target, written(version=1, n=["old"])), "when it is tried again"
    others = [("e", "before")] if there == "other rows" else []
    assert lake.values(target, "dataset", "n") == [("d", "new"), *others]


def test_a_delta_table_that_another_publisher_creates_meanwhile_is_written(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake("delta", tmp_path)
    target = lake.new()
    with monkeypatch.context() as patch:

        def not_yet(*_: object) -> bool:
            patch.undo()
            assert write_table(deployment, target, written("e", n=["other"]))
            return False

        patch.setattr(deltalake.DeltaTable, "is_deltatable", not_yet)
        assert write_table(deployment, target, written("d", n=["mine"]))
    assert lake.values(target, "dataset", "n") == [("d", "mine"), ("e", "other")]


def test_packages_that_are_not_installed_are_named_by_their_extra(
    deployment: Deployment, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("deltalake.exceptions", "pyiceberg.catalog"):
        monkeypatch.setitem(sys.modules, module, None)  # as `import` finds nothing
    with pytest.raises(MissingExtraError, match=rf"bedrock-pipeline\[{lake.kind}\]"):
        write_table(deployment, lake.new(), written(n=[1]))


def test_a_new_table_whose_columns_would_differ_in_case_is_named(deployment: Deployment, lake: Lake) -> None:
    target = lake.new()
    named = target.location if isinstance(target, DeltaTable) else target.table
    with pytest.raises(TableRejectedError, match="differ in case alone") as caught:
        write_table(deployment, target, written(Dataset=[CELL]))
    assert named in str(caught.value)


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)  # Delta keeps the numbers in its log
def test_a_later_version_outlives_the_snapshots_of_iceberg(deployment: Deployment, lake: Lake) -> None:
    target = lake.new()
    assert isinstance(target, IcebergTable)
    write_table(deployment, target, written(version=2, n=["new"]))
    for version in (1, 2):
        write_table(deployment, target, written("e", version=version, n=["other"]))
    table = lake.catalog.load_table(target.table)
    table.maintenance.expire_snapshots().older_than(dt.datetime.now(UTC)).commit()
    assert len(lake.catalog.load_table(target.table).snapshots()) == 1
    assert not write_table(deployment, target, written(version=1, n=["old"]))
    assert lake.values(target, "dataset", "n") == [("d", "new"), ("e", "other")]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)  # a Delta table is partitioned anyhow
@pytest.mark.parametrize("column", ["dataset", "record_id"])
def test_an_iceberg_table_may_be_partitioned(
    deployment: Deployment, lake: Lake, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    monkeypatch.setattr(write_iceberg, "_PART_BYTES", 1)
    target = lake.made(pa.table({"pipeline": ["p"], "dataset": ["other"], "record_id": ["x"]}))
    assert isinstance(target, IcebergTable)
    with lake.catalog.load_table(target.table).update_spec() as spec:
        spec.add_field(column, IdentityTransform(), "part")
    rows = pa.concat_tables(pa.table({"record_id": [f"r{n}"], "n": [n]}) for n in range(5))
    for version in (1, 2):
        many = Written("p", "d", version, 1, "s3://b/r/", pa_dataset.dataset(rows.slice(version)))
        assert write_table(deployment, target, many)
    assert lake.values(target, "dataset", "record_id", "n") == [
        *(("d", f"r{n}", n) for n in range(2, 5)),
        ("other", "x", None),
    ]


@pytest.mark.parametrize("partitions", [["pipeline", "dataset"], []], ids=["ours", "the user's"])
def test_a_delta_table_in_the_embedded_s3_has_no_checkpoints(
    deployment: Deployment, partitions: list[str]
) -> None:
    """They could not be read there."""
    from bedrock_pipeline.aws.table_storage import delta_options

    location = f"s3://{deployment.settings.bucket}/tables/checkpoints"
    options = delta_options(deployment.settings, location)
    columns = pa.schema([*((name, TEXT) for name in partitions), ("record_id", TEXT)])
    often = {"delta.checkpointInterval": "1"}
    deltalake.DeltaTable.create(
        location,
        columns,
        partition_by=partitions,
        configuration=often,
        storage_options=options,
    )
    # Where the partitions are not ours, rows are replaced by reading files, which cannot be read there either.
    for version in range(1, 4 if partitions else 2):
        assert write_table(deployment, DeltaTable(location=location), written(version=version))
    table = deltalake.DeltaTable(location, storage_options=options)
    assert table.version() == (3 if partitions else 2)  # the first of them adds our columns
    table.create_checkpoint()
    with pytest.raises(TableRejectedError, match="the embedded S3 does not"):
        write_table(deployment, DeltaTable(location=location), written(version=4))
