"""A table of Iceberg, read by its maintained reader: the rows of one snapshot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError, ConfigurationError
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import RowBatch, positioned


@dataclass(frozen=True, slots=True)
class IcebergSource:
    """The rows of a snapshot.

    Attributes:
        table: PyIceberg's.
        name: for messages.
        snapshot_id: as given; None: the one that was current when the table was loaded, in the schema of then.
    """

    table: Any
    name: str
    snapshot_id: int | None = None

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """The columns of the snapshot's schema."""
        scan = self.table.scan(snapshot_id=self.snapshot_id)
        return [field.name for field in scan.projection().fields]

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, without those that delete files delete, in the order of the data files' names."""
        try:
            yield from positioned(self._read(columns))
        except BedrockPipelineError:
            raise
        except FileNotFoundError:
            raise self._unreadable(
                "a file is missing", "Read a snapshot that has not been expired."
            ) from None
        except Exception as error:  # whatever PyIceberg's parts raise; their text may quote a value
            raise self._unreadable(
                f"its reader failed ({type(error).__name__})",
                "Check that its files are whole, and that the package pyiceberg can read them.",
            ) from None

    def _read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        from pyiceberg.io.pyarrow import ArrowScan

        scan = self.table.scan(selected_fields=tuple(columns), snapshot_id=self.snapshot_id)
        reader = ArrowScan(self.table.metadata, self.table.io, scan.projection(), scan.row_filter)
        # One data file after the other: PyIceberg would read all of them at once.
        for task in sorted(scan.plan_files(), key=lambda task: str(task.file.file_path)):
            for batch in reader.to_record_batches([task]):
                yield batch.select(list(columns))

    def _unreadable(self, why: str, fix: str) -> InputError:
        return InputError(
            f"Snapshot {self._read_id} of the Iceberg table {self.name} cannot be read: {why}.", fix
        )

    @property
    def _read_id(self) -> int | None:
        current = self.table.current_snapshot()
        return self.snapshot_id or (current.snapshot_id if current else None)

    def notes(self) -> list[str]:
        """The snapshot, since later reads may find another."""
        return [f"Snapshot {self._read_id} of the Iceberg table {self.name} is read."]


def open_iceberg(
    catalog: str, table: str, snapshot_id: int | None, properties: Mapping[str, str]
) -> IcebergSource:
    """A snapshot of a table, the current one if none is given.

    Raises:
        InputError: there is no such table or snapshot.
        ConfigurationError: the catalog is not configured.
        MissingExtraError: the extra `iceberg` is not installed.
    """
    found = load_table(catalog, table, properties)
    name = f"{catalog}.{table}"
    if snapshot_id is not None and found.snapshot_by_id(snapshot_id) is None:
        raise InputError(
            f"The Iceberg table {name} has no snapshot {snapshot_id}.", "It may have been expired."
        )
    return IcebergSource(found, name, snapshot_id)


def load_table(catalog: str, table: str, properties: Mapping[str, str]) -> Any:
    """A table of a catalog.

    Raises:
        InputError, ConfigurationError, MissingExtraError: as `open_iceberg`.
    """
    opened = load_catalog(catalog, properties)
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    try:
        return opened.load_table(table)
    except (NoSuchTableError, NoSuchNamespaceError, ValueError) as error:
        raise InputError(
            f"The catalog {catalog!r} has no Iceberg table {table!r}.",
            "Name it with its namespace, such as sales.reviews.",
        ) from error


def load_catalog(catalog: str, properties: Mapping[str, str]) -> Any:
    """A catalog, as PyIceberg's configuration describes it.

    Args:
        catalog: its name.
        properties: what is set where the configuration says nothing else.

    Raises:
        ConfigurationError, MissingExtraError: as `open_iceberg`.
    """
    try:
        from pyiceberg.catalog import load_catalog
        from pyiceberg.utils.config import Config
    except ImportError as error:
        raise missing_extra("iceberg", "An Iceberg table") from error
    _keep_nulls()
    # PyIceberg itself reads its variables when it is imported, and not again.
    given: dict[str, Any] = {**properties, **(Config().get_catalog_config(catalog) or {})}
    try:
        return load_catalog(catalog, **given)
    except Exception as error:  # any client's; its message may quote a URI with a password
        raise ConfigurationError(
            f"The Iceberg catalog {catalog!r} cannot be opened ({type(error).__name__}).",
            f"Configure it in .pyiceberg.yaml or by PYICEBERG_CATALOG__{catalog.upper()}__URI where runs execute.",
        ) from None


def _keep_nulls() -> None:
    """Correct PyIceberg, which reads and writes a null list or map of structs as an empty one.

    A failed record's answer would be an empty list of items. https://github.com/apache/iceberg-python/issues/3833
    """
    from pyiceberg.io import pyarrow as io

    inherited: Any = io.ArrowProjectionVisitor
    if inherited.__module__ == __name__:
        return

    class KeepsNulls(inherited):  # type: ignore[misc]  # of Any
        def list(self, list_type: Any, list_array: Any, value_array: Any) -> Any:
            return _nulls_of(list_array, super().list(list_type, list_array, value_array))

        def map(self, map_type: Any, map_array: Any, key_result: Any, value_result: Any) -> Any:
            return _nulls_of(map_array, super().map(map_type, map_array, key_result, value_result))

    io.ArrowProjectionVisitor = KeepsNulls  # type: ignore[misc]


def _nulls_of(given: Any, projected: Any) -> Any:
    """A projected column, null where the given one was."""
    if projected is None or projected.null_count == given.null_count:
        return projected
    offsets, absent = pa.array(projected.offsets.to_numpy()), given.is_null()
    if pa.types.is_map(projected.type):
        parts = (offsets, projected.keys, projected.items)
        return pa.MapArray.from_arrays(*parts, type=projected.type, mask=absent)
    lists = pa.LargeListArray if pa.types.is_large_list(projected.type) else pa.ListArray
    return lists.from_arrays(offsets, projected.values, type=projected.type, mask=absent)
