"""A table of Delta Lake, read by its maintained reader: the rows that its log says, at one version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import RowBatch, positioned


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """The rows of a version.

    Attributes:
        table: deltalake's.
        location: for messages.
    """

    table: Any
    location: str

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """Its columns, partition columns among them."""
        return [field.name for field in self.table.schema().fields]

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, without those that deletion vectors delete, in the same order in each pass."""
        from deltalake import QueryBuilder

        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        # One partition, since several would come in any order.
        builder = QueryBuilder({"datafusion.execution.target_partitions": "1"})
        try:
            found = builder.register("input", self.table).execute(f"SELECT {quoted} FROM input")  # noqa: S608
            yield from positioned(iter(pa.RecordBatchReader.from_stream(found)))
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"Version {self.table.version()} of the Delta table {self.location} cannot be read: a file is missing or damaged.",
                "Read a version whose files are still there; VACUUM deletes those of old ones.",
            ) from error

    def notes(self) -> list[str]:
        """The version, since later reads may find another."""
        return [f"Version {self.table.version()} of the Delta table {self.location} is read."]


def open_delta(location: str, version: int | None, storage_options: Mapping[str, str]) -> DeltaSource:
    """A version of a table, the newest if none is given.

    Raises:
        InputError: there is no such table or version, or it has a feature that the reader does not know.
        MissingExtraError: the extra `delta` is not installed.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError
    except ImportError as error:
        raise missing_extra("delta", "A Delta table") from error
    try:
        table = DeltaTable(location, version, dict(storage_options))
    except TableNotFoundError as error:
        raise InputError(
            f"There is no Delta table at {location}.", "Give the folder that has `_delta_log`."
        ) from error
    except (DeltaError, OSError, ValueError) as error:
        asked = f"Version {version} of the" if version is not None else "The"
        raise InputError(
            f"{asked} Delta table {location} cannot be opened: {_first_line(error)}",
            "Check the version, and that the package deltalake supports the table's features.",
        ) from error
    return DeltaSource(table, location)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") + "."
