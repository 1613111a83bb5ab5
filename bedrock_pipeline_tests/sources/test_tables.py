"""Tables of Delta Lake and Iceberg as inputs: what their log says, at one version, whatever lies in the folder."""

from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
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
