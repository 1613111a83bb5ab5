"""Tables of Delta Lake and Iceberg as inputs: what their log says, at one version, whatever lies in the folder."""

import json
import uuid
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
import pytest
from pyiceberg.types import StringType

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.sources import InputError
from bedrock_pipeline.sources.delta import open_delta
from bedrock_pipeline.sources.iceberg import load_catalog, open_iceberg
from bedrock_pipeline_tests.sources.test_sources import read

NAMES = ['a"b', "select", "A.b", "ä ö"]


def rows(start: int, count: int = 3, day: str = "mon") -> pa.Table:
    numbers = range(start, start + count)
    return pa.table(
        {
            **{name: [f"{name}{n}" for n in numbers] for name in NAMES},
            "n": list(numbers),
            "day": [day] * count,
        }
    )


def numbers(source: Any) -> list[int]:
    return [row["n"] for row in read(source, "n")[0]]


@pytest.fixture
def delta(tmp_path: Path) -> str:
    """Of five commits: three days, of which one is replaced, and a row is deleted by a deletion vector."""
    location = str(tmp_path / "orders")
    deletion_vectors = {"delta.enableDeletionVectors": "true"}
    deltalake.write_deltalake(location, rows(0), partition_by=["day"], configuration=deletion_vectors)
    deltalake.write_deltalake(location, rows(10, day="tue"), mode="append")
    deltalake.write_deltalake(location, rows(20, day="wed"), mode="append")
    deltalake.write_deltalake(location, rows(30, day="mon"), mode="overwrite", predicate="day = 'mon'")
    deltalake.DeltaTable(location).delete("n = 11")
    return location


def test_a_delta_table_has_the_rows_that_its_log_says(delta: str) -> None:
    newest = open_delta(delta, None, {})
    assert newest.columns() == [*NAMES, "n", "day"]
    assert sorted(numbers(newest)) == [10, 12, 20, 21, 22, 30, 31, 32]
    found, _ = read(newest, "day", *NAMES)
    assert {row["day"] for row in found} == {"mon", "tue", "wed"}
    assert all(row[name].startswith(name) for row in found for name in NAMES)
    assert newest.notes() == [f"Version 4 of the Delta table {delta} is read."]
    assert sorted(numbers(open_delta(delta, 1, {}))) == [0, 1, 2, 10, 11, 12]


def test_a_version_is_pinned_when_the_table_is_opened_and_has_one_order(delta: str) -> None:
    opened = open_delta(delta, None, {})
    first = numbers(opened)
    deltalake.write_deltalake(delta, rows(90), mode="append")
    assert numbers(opened) == first
    assert all(numbers(open_delta(delta, 4, {})) == first for _ in range(5))
    assert opened.notes() == [f"Version 4 of the Delta table {delta} is read."]


def test_a_delta_table_that_cannot_be_read_is_named(delta: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no Delta table at .*nowhere"):
        open_delta(str(tmp_path / "nowhere"), None, {})
    with pytest.raises(InputError, match="Version 99 of the Delta table"):
        open_delta(delta, 99, {})
    for file in Path(delta).rglob("*.parquet"):
        file.unlink()
    with pytest.raises(InputError, match=r"Version 4 of the Delta table .* a file is missing"):
        read(open_delta(delta, None, {}))


#: Columns of a table that an engine made, by their physical names with column mapping, and by their own.
MAPPED = [{"col-1": [1, 2], "col-2": ["x", "y"]}, {"id": [1, 2], "a": ["x", "y"]}]
MAPPING = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "2"}
V3 = {"minReaderVersion": 3, "minWriterVersion": 7}


def made_by_an_engine(folder: Path, protocol: dict[str, Any], configuration: dict[str, str]) -> str:
    """A table of two rows, with its log as Spark or Databricks writes it."""
    (folder / "_delta_log").mkdir(parents=True)
    pq.write_table(pa.table(MAPPED[not configuration]), folder / "f.parquet")
    fields = [
        {
            "name": name,
            "type": kind,
            "nullable": True,
            "metadata": {
                "delta.columnMapping.id": place,
                "delta.columnMapping.physicalName": f"col-{place}",
            }
            if configuration
            else {},
        }
        for place, (name, kind) in enumerate([("id", "long"), ("a", "string")], 1)
    ]
    metadata = {
        "id": str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": [],
        "configuration": configuration,
        "createdTime": 0,
    }
    size = (folder / "f.parquet").stat().st_size
    added = {
        "path": "f.parquet",
        "partitionValues": {},
        "size": size,
        "modificationTime": 0,
        "dataChange": True,
    }
    log = [{"protocol": protocol}, {"metaData": metadata}, {"add": added}]
    (folder / "_delta_log" / "00000000000000000000.json").write_text("\n".join(map(json.dumps, log)))
    return str(folder)


@pytest.mark.parametrize(
    ("protocol", "configuration"),
    [
        ({"minReaderVersion": 1, "minWriterVersion": 2}, {}),
        ({"minReaderVersion": 2, "minWriterVersion": 5}, MAPPING),
        (V3 | {"readerFeatures": ["columnMapping"], "writerFeatures": ["columnMapping"]}, MAPPING),
        (V3 | {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}, {}),
        (V3 | {"readerFeatures": ["timestampNtz"], "writerFeatures": ["timestampNtz"]}, {}),
    ],
)
def test_both_readers_of_delta_have_the_rows_of_any_protocol(
    tmp_path: Path, protocol: dict[str, Any], configuration: dict[str, str]
) -> None:
    """That of a folder, and that of S3, which reads the files where they have the table's columns."""
    location = made_by_an_engine(tmp_path / "t", protocol, configuration)
    for files in (None, pa_fs.SubTreeFileSystem(location, pa_fs.LocalFileSystem())):
        opened = open_delta(location, None, {}, files)
        assert read(opened, "id", "a")[0] == [{"": 0, "id": 1, "a": "x"}, {"": 1, "id": 2, "a": "y"}]


@pytest.mark.parametrize("partition", ["p", None])
def test_both_readers_of_delta_have_the_same_values(tmp_path: Path, partition: str | None) -> None:
    """Names that Arrow's datasets use themselves; and an empty partition value, which is null in Delta."""
    location = str(tmp_path / "t")
    names = ["__filename", "__batch_index", "__fragment_index", "__last_in_fragment"]
    columns = {name: [name] * 3 for name in names} if partition is None else {}
    given = pa.table({"n": [0, 1, 2], "p": ["x", "", None], **columns})
    deltalake.write_deltalake(location, given, partition_by=[partition] if partition else None)
    expected = given.to_pylist()
    if partition:
        expected[1]["p"] = None
    for files in (None, pa_fs.SubTreeFileSystem(location, pa_fs.LocalFileSystem())):
        found, _ = read(open_delta(location, None, {}, files), *given.column_names)
        found.sort(key=lambda row: row["n"])
        assert [{name: row[name] for name in given.column_names} for row in found] == expected


def test_a_damaged_file_is_not_called_missing(delta: str) -> None:
    for file in Path(delta).rglob("*.parquet"):
        file.write_bytes(b"cell-4711")
    with pytest.raises(InputError, match=r"cannot be read: its reader failed") as caught:
        read(open_delta(delta, None, {}))
    assert "4711" not in str(caught.value)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/catalog.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{tmp_path}/warehouse")
    catalog = load_catalog("lake", {})
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.orders", rows(0).schema)
    table.append(rows(0))
    table.append(rows(10, day="tue"))
    table.delete("n = 11")
    return "lake"


def test_an_iceberg_table_has_the_rows_of_a_snapshot(lake: str) -> None:
    opened = open_iceberg(lake, "shop.orders", None, {})
    first = numbers(opened)
    assert sorted(first) == [0, 1, 2, 10, 12]
    assert opened.columns() == [*NAMES, "n", "day"]
    found, _ = read(opened, "day", *NAMES)
    assert all(row[name].startswith(name) for row in found for name in NAMES)
    table = load_catalog(lake, {}).load_table("shop.orders")
    table.append(rows(90))
    assert numbers(opened) == first, "pinned"
    ids = [snapshot.snapshot_id for snapshot in table.snapshots()]
    assert numbers(open_iceberg(lake, "shop.orders", ids[0], {})) == [0, 1, 2]
    assert opened.notes() == [f"Snapshot {ids[-2]} of the Iceberg table lake.shop.orders is read."]


def test_a_renamed_column_of_an_iceberg_table_is_read_by_its_name_now(lake: str) -> None:
    table = load_catalog(lake, {}).load_table("shop.orders")
    with table.update_schema() as update:
        update.rename_column("n", "number")
    with table.update_schema() as update:
        update.add_column("n", StringType())
    found, _ = read(open_iceberg(lake, "shop.orders", None, {}), "number", "n")
    assert sorted(row["number"] for row in found) == [0, 1, 2, 10, 12]
    assert {row["n"] for row in found} == {None}


def test_an_iceberg_table_that_cannot_be_read_is_named(lake: str) -> None:
    with pytest.raises(InputError, match=r"'lake' has no Iceberg table 'shop\.nothing'"):
        open_iceberg(lake, "shop.nothing", None, {})
    with pytest.raises(InputError, match="has no snapshot 7"):
        open_iceberg(lake, "shop.orders", 7, {})
    with pytest.raises(ConfigurationError, match="PYICEBERG_CATALOG__ELSEWHERE__URI") as caught:
        open_iceberg("elsewhere", "shop.orders", None, {})
    assert "sqlite" not in str(caught.value)
