"""A table of Delta Lake, read by its maintained reader: the rows that its log says, at one version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import BATCH_ROWS, RowBatch, positioned

#: Features of a table's protocol that Arrow's datasets do not apply.
_ENGINE_ONLY: Final = {"deletionVectors", "columnMapping"}


@dataclass(frozen=True, slots=True)
class DeltaSource:
    """The rows of a version.

    Attributes:
        table: deltalake's.
        location: for messages.
        files: its folder as a file system of Arrow, if it is in S3. Data files are then read by boto3, which renews its
            credentials; deltalake has only those of the moment at which the table was opened.
    """

    table: Any
    location: str
    files: Any = None

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """Its columns, partition columns among them."""
        return [field.name for field in self.table.schema().fields]

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows, without those that deletion vectors delete, in the same order in each pass."""
        try:
            yield from positioned(self._read(list(columns)))
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"Version {self.table.version()} of the Delta table {self.location} cannot be read: a file is missing or damaged.",
                "Read a version whose files are still there; VACUUM deletes those of old ones.",
            ) from error

    def _read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        features = set(self.table.protocol().reader_features or ())
        if self.files is not None and not features & _ENGINE_ONLY:
            # One fragment ahead: Arrow would read sixteen of them at once.
            ahead = {"batch_size": BATCH_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
            yield from self.table.to_pyarrow_dataset(filesystem=self.files).to_batches(
                columns=columns, **ahead
            )
            return
        from deltalake import QueryBuilder

        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        # One partition, since several would come in any order.
        builder = QueryBuilder({"datafusion.execution.target_partitions": "1"}).register("input", self.table)
        yield from pa.RecordBatchReader.from_stream(builder.execute(f"SELECT {quoted} FROM input"))  # noqa: S608

    def notes(self) -> list[str]:
        """The version, since later reads may find another."""
        return [f"Version {self.table.version()} of the Delta table {self.location} is read."]


def open_delta(
    location: str, version: int | None, storage_options: Mapping[str, str], files: Any = None
) -> DeltaSource:
    """A version of a table, the newest if none is given.

    Args:
        location: its folder.
        version: None: the newest.
        storage_options: deltalake's, for its log.
        files: the folder as a file system of Arrow.

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
    return DeltaSource(table, location, files)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") + "."
