"""A table of Delta Lake, read by its maintained reader: the rows that its log says, at one version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.extras import missing_extra
from bedrock_pipeline.sources.source import BATCH_ROWS, RowBatch, positioned

#: Features of a table's protocol under which its files, read as they are, have the table's rows. An allow-list: a feature
#: that is not known here may change what a file means.
_PLAIN_FEATURES: Final = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"}
#: What deltalake says of a store that answers a request for the end of an object with all of it.
_NO_RANGE: Final = "non-partial response"
#: Columns that Arrow's datasets have besides those of the files.
_VIRTUAL: Final = {"__filename", "__batch_index", "__fragment_index", "__last_in_fragment"}


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
        except BedrockPipelineError:
            raise
        except Exception as error:  # deltalake raises whatever its parts raise; their text may quote a value
            if isinstance(error, FileNotFoundError) or "not found" in str(error):
                raise self._unreadable(
                    "a file is missing",
                    "Read a version whose files are still there; VACUUM deletes those of old ones.",
                ) from None
            raise self._unreadable(
                f"its reader failed ({type(error).__name__})",
                "Check that its files are whole, and that the package deltalake can read them.",
            ) from None

    def _read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        if self.files is not None and self._is_plain:
            # One fragment ahead: Arrow would read sixteen of them at once.
            ahead = {"batch_size": BATCH_ROWS, "batch_readahead": 1, "fragment_readahead": 1}
            yield from self.table.to_pyarrow_dataset(filesystem=self.files).to_batches(
                columns=columns, **ahead
            )
            return
        from deltalake import QueryBuilder

        # One partition, since several would come in any order.
        builder = QueryBuilder({"datafusion.execution.target_partitions": "1"}).register("input", self.table)
        selected = ", ".join(self._selected(name) for name in columns)
        yield from pa.RecordBatchReader.from_stream(builder.execute(f"SELECT {selected} FROM input"))  # noqa: S608

    @property
    def _is_plain(self) -> bool:
        """Whether Arrow reads from the files what the table has."""
        protocol = self.table.protocol()
        version, features = protocol.min_reader_version, set(protocol.reader_features or ())
        known = version == 1 or (version == 3 and features <= _PLAIN_FEATURES)  # 2 is column mapping
        mapping = self.table.metadata().configuration.get("delta.columnMapping.mode", "none")
        return known and mapping == "none" and not _VIRTUAL.intersection(self.columns())

    def _selected(self, name: str) -> str:
        quoted = '"' + name.replace('"', '""') + '"'
        if name not in self.table.metadata().partition_columns:
            return quoted
        # By Delta's protocol an empty partition value is null, of whatever type.
        [field] = [field for field in self.table.schema().fields if field.name == name]
        return f"NULLIF({quoted}, '') AS {quoted}" if getattr(field.type, "type", "") == "string" else quoted

    def _unreadable(self, why: str, fix: str) -> InputError:
        return InputError(
            f"Version {self.table.version()} of the Delta table {self.location} cannot be read: {why}.", fix
        )

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
            f"{asked} Delta table {location} cannot be opened: {opening_problem(error, version)}.",
            "Check the version, the credentials, and that the package deltalake supports the table's features.",
        ) from error
    return DeltaSource(table, location, files)


def opening_problem(error: Exception, version: int | None = None) -> str:
    """Why a table's log cannot be read, in our words: the log has the least and greatest values of columns."""
    said = str(error).lower()
    if _NO_RANGE in said:
        return (
            "its store does not serve the ends of objects, by which checkpoints are read, as the embedded S3 does not; "
            "keep such a table in a folder or in another S3"
        )
    if version is not None and "version" in said:
        return "there is no such version"
    if "feature" in said or "protocol" in said:
        return "it has a feature that the package deltalake does not support"
    if "403" in said or "denied" in said or "forbidden" in said:
        return "its store denies access"
    return f"its log cannot be read ({type(error).__name__})"
