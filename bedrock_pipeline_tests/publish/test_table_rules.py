"""What tables of users and their libraries demand: nulls stay nulls, columns that need values keep that, no moment wraps."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest
from pyiceberg.exceptions import NotInstalledError
from pyiceberg.io import pyarrow as pyiceberg_arrow
from pyiceberg.transforms import parse_transform

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.publish import write_iceberg
from bedrock_pipeline.publish.table_rows import TableBusyError, TableRejectedError, Written
from bedrock_pipeline.publish.write_table import write_table
from bedrock_pipeline.sources import DeltaTable, IcebergTable
from bedrock_pipeline.sources.iceberg import open_iceberg
from bedrock_pipeline_tests.publish.lakes import Lake, overtaken, written

UTC = dt.UTC
I64, TEXT = pa.int64(), pa.string()
ITEM = pa.struct([("a", I64)])
THING = {"a": 1}

#: Columns with nulls at each depth.
NULLS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.list_(ITEM), [None, [], [THING], [None, THING]]),
    (pa.list_(pa.list_(ITEM)), [None, [None, []], [[THING, None]]]),
    (pa.map_(TEXT, ITEM), [None, [], [("k", THING), ("n", None)]]),
    (pa.struct([("l", pa.list_(ITEM))]), [None, {"l": None}, {"l": []}, {"l": [THING]}]),
    (pa.list_(pa.struct([("l", pa.list_(ITEM))])), [None, [{"l": None}, None], [{"l": [THING]}]]),
    (pa.map_(TEXT, pa.list_(ITEM)), [None, [("k", None), ("e", [])]]),
]


@pytest.mark.parametrize(("kind", "values"), NULLS, ids=[str(kind) for kind, _ in NULLS])
def test_a_null_is_no_empty_list(
    deployment: Deployment, lake: Lake, tmp_path: Path, kind: pa.DataType, values: list[Any]
) -> None:
    target = lake.new()
    # The first is cut off, so that nothing begins at the beginning.
    column = pa.array([*values[-1:], *values], kind).slice(1)
    rows = pa.table({"record_id": [str(n) for n in range(len(values))], "n": column})
    assert write_table(deployment, target, Written("p", "d", 1, 1, "s3://b/r/", pa_dataset.dataset(rows)))
    expected = [(str(n), value) for n, value in enumerate(values)]
    assert lake.values(target, "record_id", "n") == expected
    files = [pq.read_table(path, partitioning=None) for path in tmp_path.rglob("*.parquet")]
    at_rest = [(row["record_id"], row["n"]) for table in files for row in table.to_pylist()]
    assert sorted(at_rest, key=lambda row: row[0]) == expected


@pytest.mark.parametrize(("kind", "values"), NULLS, ids=[str(kind) for kind, _ in NULLS])
@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
def test_a_null_of_an_iceberg_source_is_no_empty_list(
    lake: Lake, tmp_path: Path, kind: pa.DataType, values: list[Any]
) -> None:
    rows = pa.table({"n": pa.array(values, kind)})
    pq.write_table(rows, tmp_path / "theirs.parquet")
    lake.catalog.create_namespace("shop")
    lake.catalog.create_table("shop.theirs", rows.schema).add_files([f"file://{tmp_path}/theirs.parquet"])
    source = open_iceberg("lake", "shop.theirs", None, {})
    assert [row["n"] for batch in source.batches(["n"]) for row in batch.rows.to_pylist()] == values


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
def test_pyiceberg_s_own_mistake_is_still_there(
    deployment: Deployment, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, delete `_keep_nulls`."""
    target = lake.new()
    assert write_table(deployment, target, written(n=pa.array([None], pa.list_(ITEM))))
    assert isinstance(target, IcebergTable)
    scan = lake.catalog.load_table(target.table).scan()
    monkeypatch.setattr(
        pyiceberg_arrow, "ArrowProjectionVisitor", pyiceberg_arrow.ArrowProjectionVisitor.__base__
    )
    assert scan.to_arrow()["n"].to_pylist() == [[]]


LARGE = 2**62
#: A value of the results that no timestamp in microseconds has.
BEYOND: list[tuple[pa.DataType, Any]] = [
    (pa.timestamp("s"), LARGE),
    (pa.timestamp("ms", "UTC"), -LARGE),
    (pa.list_(pa.timestamp("ms")), [LARGE]),
    (pa.struct([("t", pa.timestamp("s"))]), {"t": LARGE}),
    (pa.map_(TEXT, pa.timestamp("s", "UTC")), [("k", LARGE)]),
    (pa.dictionary(pa.int8(), pa.timestamp("s")), LARGE),
]


@pytest.mark.parametrize(("kind", "value"), BEYOND, ids=[str(kind) for kind, _ in BEYOND])
def test_a_moment_that_a_table_does_not_have_is_an_error_with_its_column(
    deployment: Deployment, lake: Lake, kind: pa.DataType, value: Any
) -> None:
    target = lake.new()
    assert write_table(deployment, target, written("before"))
    with pytest.raises(TableRejectedError, match="a value of the column 'n' is outside of what") as caught:
        write_table(deployment, target, written(n=_of_numbers(value, kind)))
    assert str(LARGE) not in str(caught.value)
    assert lake.values(target, "dataset") == [("before",)]


def _of_numbers(value: Any, kind: pa.DataType) -> pa.Array:
    """A column of a type whose timestamps are given as numbers, which Python's have no years for."""
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(
            pa.array([0], kind.index_type), pa.array([value], kind.value_type)
        )
    return pa.array([value], kind)


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "value"), [(pa.date32(), 2_932_897), (pa.timestamp("us"), 253_402_300_800_000_000)]
)
def test_a_year_that_pyiceberg_lacks_is_not_tried_again(
    deployment: Deployment, lake: Lake, kind: pa.DataType, value: int
) -> None:
    with pytest.raises(TableRejectedError, match="no date or time before the year 1 or after 9999"):
        write_table(deployment, lake.new(), written(n=pa.array([value], kind)))


def test_parts_of_a_microsecond_are_cut_off_on_both_sides_of_1970(deployment: Deployment, lake: Lake) -> None:
    nanoseconds = pa.timestamp("ns", "UTC")
    for nested in (False, True):
        target = lake.new()
        column = pa.array([-1, -1000, -1001, 1999, None], nanoseconds)
        if nested:
            column = pa.ListArray.from_arrays(pa.array(range(6), pa.int32()), column)
        rows = pa.table({"record_id": list("abcde"), "n": column})
        write_table(deployment, target, Written("p", "d", 1, 1, "s3://b/r/", pa_dataset.dataset(rows)))
        began = dt.datetime(1970, 1, 1, tzinfo=UTC)
        expected = [*(began + dt.timedelta(microseconds=us) for us in (-1, -1, -2, 1)), None]
        found = [value for _, value in lake.values(target, "record_id", "n")]
        assert found == ([[one] for one in expected] if nested else expected)


#: A column of the user's that needs values, results with and without them, and what is named.
REQUIRED: list[tuple[pa.Field, Any, Any, str]] = [
    (pa.field("n", I64, nullable=False), 5, None, "n"),
    (pa.field("record_id", TEXT, nullable=False), "a", None, "record_id"),
    (pa.field("n", pa.struct([pa.field("a", I64, nullable=False)])), {"a": 5}, {"a": None}, "n.a"),
    (pa.field("n", pa.list_(pa.field("item", I64, nullable=False))), [5], [5, None], "n.item"),
    (
        pa.field("n", pa.map_(TEXT, pa.field("value", I64, nullable=False))),
        [("k", 5)],
        [("k", None)],
        "n.value",
    ),
]


@pytest.mark.parametrize(
    ("field", "value", "lacking", "named"), REQUIRED, ids=[str(one[0]) for one in REQUIRED]
)
def test_a_column_that_needs_values_goes_on_needing_them(
    deployment: Deployment, lake: Lake, field: pa.Field, value: Any, lacking: Any, named: str
) -> None:
    target = lake.made(pa.Table.from_arrays([pa.array([value], field.type)], schema=pa.schema([field])))
    kind, before = _optional(field.type), lake.field(target, field.name)
    with pytest.raises(TableRejectedError, match=f"its column '{named}' needs values"):
        write_table(deployment, target, written(**{field.name: pa.array([lacking], kind)}))
    assert len(lake.values(target, field.name)) == 1
    assert write_table(deployment, target, written(**{field.name: pa.array([value], kind)}))
    assert lake.values(target, field.name) == [(value,), (value,)]
    assert lake.field(target, field.name) == before


def _optional(kind: pa.DataType) -> pa.DataType:
    """A type whose parts may be null, as those of results."""
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, one.type) for one in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_type)
    return pa.map_(kind.key_type, kind.item_type) if pa.types.is_map(kind) else kind


def test_fields_whose_names_differ_in_case_alone_are_named(deployment: Deployment, lake: Lake) -> None:
    twins = pa.struct([("Name", TEXT), ("name", TEXT)])
    for kind, value, named in (
        (twins, {"Name": "x", "name": "y"}, "n.Name"),
        (pa.list_(twins), [{"Name": "x"}], "n.item.Name"),
        (pa.map_(TEXT, pa.struct([("in", twins)])), [], "n.value.in.Name"),
    ):
        with pytest.raises(TableRejectedError, match=f"'{named}' and .* differ in case alone"):
            write_table(deployment, lake.new(), written(n=pa.array([value], kind)))
    target = lake.new()
    assert write_table(deployment, target, written("d1", n=[{"Name": "x"}]))
    with pytest.raises(TableRejectedError, match="differ in case alone"):
        write_table(deployment, target, written("d2", n=[{"name": "x"}]))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([Decimal("-1.5")], pa.decimal128(20, 4)), "decimal"),
        (pa.array([b"\\u0061"], pa.binary()), "binary"),
    ],
    ids=["decimal", "binary"],
)
def test_delta_partitions_that_deltalake_spoils_are_rejected_before_they_destroy_the_table(
    deployment: Deployment, tmp_path: Path, column: pa.Array, kind: str
) -> None:
    target = DeltaTable(location=str(tmp_path / "t"))
    theirs = pa.array([None], column.type)
    rows = pa.table({"price": theirs, "record_id": ["theirs"]})
    deltalake.write_deltalake(target.location, rows, partition_by=["price"])
    with pytest.raises(TableRejectedError, match=f"partitions are those of 'price', of type {kind}"):
        write_table(deployment, target, written(price=column))
    assert Lake("delta", tmp_path).values(target, "record_id") == [("theirs",)]


@pytest.mark.parametrize("there", [False, True])
def test_a_delta_map_of_times_without_a_zone_can_be_read(
    deployment: Deployment, tmp_path: Path, there: bool
) -> None:
    lake = Lake("delta", tmp_path)
    target = lake.new()
    if there:
        assert write_table(deployment, target, written("before"))
    moment = dt.datetime(2024, 1, 1)  # noqa: DTZ001  # a timestamp without a zone
    column = pa.array([[("k", moment)]], pa.map_(TEXT, pa.timestamp("us")))
    for version in (1, 2):
        assert write_table(deployment, target, written(version=version, n=column))
    expected = [("before", None)] if there else []
    assert lake.values(target, "dataset", "n") == [*expected, ("d", [("k", moment)])]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
def test_an_iceberg_table_to_which_others_add_columns_meanwhile_is_tried_again(
    deployment: Deployment, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = lake.new()
    assert write_table(deployment, target, written("before"))

    def meanwhile() -> None:
        for other in ("b", "c"):
            assert write_table(deployment, target, written(other, 1, **{other: [1]}))

    overtaken(monkeypatch, meanwhile)
    with pytest.raises(TableBusyError):
        write_table(deployment, target, written(a=[1]))
    assert write_table(deployment, target, written(a=[1]))
    assert lake.values(target, "dataset", "a") == [("b", None), ("before", None), ("c", None), ("d", 1)]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
@pytest.mark.parametrize("transform", ["day", "month", "bucket[4]", "truncate[2]"])
def test_an_iceberg_table_may_have_partitions_of_any_transform(
    deployment: Deployment, lake: Lake, transform: str
) -> None:
    moment = dt.datetime(2024, 1, 1, tzinfo=UTC)
    target = lake.made(pa.table({"record_id": ["theirs"], "at": [moment]}))
    assert isinstance(target, IcebergTable)
    column = "at" if transform in ("day", "month") else "record_id"
    with lake.catalog.load_table(target.table).update_spec() as spec:
        spec.add_field(column, parse_transform(transform), "part")
    for version in (1, 2):
        assert write_table(deployment, target, written(version=version, at=[moment]))
    assert lake.values(target, "record_id", "at") == [("a", moment), ("theirs", moment)]


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("x" * 300, "too long for the name of a folder"),
        (float("nan"), "no NaN in a column by whose values"),
    ],
    ids=["long", "NaN"],
)
def test_a_partition_that_cannot_be_written_is_a_rejection_with_its_reason(
    deployment: Deployment, lake: Lake, value: object, why: str
) -> None:
    """Neither is tried again for ever."""
    column = pa.array([value])
    target = lake.made(pa.table({"record_id": ["theirs"], "n": pa.array([None], column.type)}))
    assert isinstance(target, IcebergTable)
    with lake.catalog.load_table(target.table).update_spec() as spec:
        spec.add_field("n", parse_transform("identity"), "part")
    with pytest.raises(TableRejectedError, match=why):
        write_table(deployment, target, written(n=column))
    assert lake.values(target, "record_id") == [("theirs",)]


def test_checkpoints_of_a_delta_table_are_written_where_they_can_be_read(
    deployment: Deployment, tmp_path: Path
) -> None:
    """Unlike in the embedded S3, in a folder."""
    folder = tmp_path / "t"
    none = deltalake.PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
    deltalake.write_deltalake(
        folder,
        pa.table({"record_id": ["theirs"]}),
        configuration={"delta.checkpointInterval": "1"},
        post_commithook_properties=none,
    )
    assert write_table(deployment, DeltaTable(location=str(folder)), written(n=[1]))
    assert {path.name for path in (folder / "_delta_log").glob("*checkpoint*")} > {"_last_checkpoint"}
    rows = deltalake.DeltaTable(folder).to_pyarrow_table()
    assert sorted(rows["record_id"].to_pylist()) == ["a", "theirs"]


def test_a_package_that_pyiceberg_lacks_is_named_with_the_table() -> None:
    found = write_iceberg._failure("lake:ns.t", NotInstalledError("x"))
    assert isinstance(found, TableRejectedError)
    assert "lake:ns.t" in found.what
    assert "install bedrock-pipeline[iceberg]" in found.what


@pytest.mark.parametrize("lake", ["iceberg"], indirect=True)
def test_an_iceberg_table_is_named_with_its_namespace(deployment: Deployment, lake: Lake) -> None:
    with pytest.raises(TableRejectedError, match="lacks a namespace"):
        write_table(deployment, IcebergTable(catalog="lake", table="answers"), written())


@pytest.mark.parametrize("carry", [("Status",), ("a", "A")])
def test_names_that_no_table_has_are_an_error_before_anything_is_bought(carry: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match=f"'{carry[-1]}' would have one name"):
        Pipeline(
            name="p",
            model_id="amazon.nova-lite-v1:0",
            prompt="{{ text }}",
            carry=carry,
            publish_to=DeltaTable(location="/lake/t"),
        )
