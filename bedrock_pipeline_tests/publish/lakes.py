"""Tables of Delta Lake and Iceberg, as others make, write and read them; and results for them."""

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pytest
from pyiceberg.catalog import Catalog

from bedrock_pipeline.publish.table_rows import Written
from bedrock_pipeline.sources import DeltaTable, IcebergTable
from bedrock_pipeline.sources.iceberg import load_catalog

Target = DeltaTable | IcebergTable


class Lake:
    """Tables of one kind, which are made, written and read as others do it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self._folder = kind, folder
        self._numbers = itertools.count()

    @property
    def catalog(self) -> Catalog:
        catalog: Catalog = load_catalog("lake", {})
        return catalog

    def new(self) -> Target:
        number = next(self._numbers)
        if self.kind == "iceberg":
            return IcebergTable(catalog="lake", table=f"answers.t{number}")
        return DeltaTable(location=str(self._folder / f"t{number}"))

    def made(self, rows: pa.Table) -> Target:
        """A table of somebody else's, with rows."""
        target = self.new()
        if isinstance(target, DeltaTable):
            deltalake.write_deltalake(target.location, rows)
        else:
            self.catalog.create_namespace_if_not_exists("answers")
            self.catalog.create_table(target.table, rows.schema).append(rows)
        return target

    def read(self, target: Target) -> pa.Table:
        if isinstance(target, DeltaTable):
            rows = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(target.location))
            return pa.table(rows.execute("SELECT * FROM t").read_all())
        return self.catalog.load_table(target.table).scan().to_arrow()

    def field(self, target: Target, name: str) -> pa.Field:
        """A column as the table's schema has it."""
        if isinstance(target, DeltaTable):
            return pa.schema(deltalake.DeltaTable(target.location).schema().to_arrow()).field(name)
        return self.catalog.load_table(target.table).schema().as_arrow().field(name)

    def values(self, target: Target, *names: str) -> list[tuple[Any, ...]]:
        return sorted(
            (tuple(row.get(name) for name in names) for row in self.read(target).to_pylist()), key=repr
        )


def written(dataset: str = "d", version: int = 1, **columns: Any) -> Written:
    rows = pa_dataset.dataset(pa.table({"record_id": ["a"], **columns}))
    return Written("p", dataset, version, 1, "s3://b/r/", rows)


def overtaken(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Once: something happens after a publisher has looked at the table, before it sends a row."""
    batches = Written.batches

    def late(self: Written) -> Iterator[pa.RecordBatch]:
        monkeypatch.setattr(Written, "batches", batches)
        other = threading.Thread(target=meanwhile)  # the writer's own thread cannot begin another commit
        other.start()
        other.join()
        yield from batches(self)

    monkeypatch.setattr(Written, "batches", late)
