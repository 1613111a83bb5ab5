"""From locations to a source: files of one format, with the columns that their folders name."""

from collections.abc import Iterator, Mapping, Sequence
from csv import Error as CsvError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from bedrock_pipeline.sources.arrow_files import ArrowFileReader
from bedrock_pipeline.sources.csv_format import CsvFormat
from bedrock_pipeline.sources.delimited import CsvReader
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.finding import Objects, find_files
from bedrock_pipeline.sources.json_files import JsonReader
from bedrock_pipeline.sources.parquet import ParquetReader
from bedrock_pipeline.sources.partitions import partition_columns
from bedrock_pipeline.sources.source import FileReader, InputFile, RowBatch, Source

_NAMES = {"parquet": "parquet", "csv": "CSV", "json": "JSON", "arrow": "Arrow"}
_LISTED = 20


#: What readers of formats raise for files that they cannot read.
UNREADABLE: Final = (UnicodeError, CsvError, pa.ArrowException)


@dataclass(frozen=True, slots=True)
class FilesSource:
    """The rows of files, in their order.

    Attributes:
        skipped: what lies beside the files but is not read: its name, and why.
        stamps: size and time of the local files when they were found.
        typed: columns whose types are given.
    """

    files: Sequence[InputFile]
    reader: FileReader
    partitions: Mapping[str, pa.Array]
    skipped: Sequence[tuple[str, str]] = field(default_factory=list)
    stamps: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    typed: Sequence[str] = ()

    def columns(self, needed: Sequence[str] = ()) -> list[str]:
        """The columns of the files, and those that their folders name.

        Raises:
            InputError: a file cannot be read.
        """
        try:
            return self._columns(needed)
        except UNREADABLE as error:
            raise unreadable(self.files, error) from error

    def _columns(self, needed: Sequence[str]) -> list[str]:
        return list(dict.fromkeys([*self.reader.columns(needed), *self.partitions]))

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """The rows with these columns, numbered over all files.

        Raises:
            InputError: a file cannot be read, or was changed since it was found.
        """
        try:
            yield from self._batches(columns)
        except (InputError, *UNREADABLE) as error:
            self._check_unchanged()
            if isinstance(error, InputError):
                raise
            raise unreadable(self.files, error) from error
        self._check_unchanged()

    def _check_unchanged(self) -> None:
        for name, stamp in self.stamps.items():
            if stamp != _stamp(name):
                raise InputError(
                    f"{name} was changed while it was read.",
                    "Launch the dataset again once nothing writes to it.",
                )

    def _batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        own = self.reader.columns(columns)
        given = [name for name in columns if name in self.partitions and name not in own]
        read = [name for name in columns if name not in given] or own[:1]
        position = 0
        for number, batch, rejected in self.reader.batches(read):
            rows = batch.num_rows + len(rejected)
            places = {one.position for one in rejected}
            positions = [place for place in range(rows) if place not in places] if places else range(rows)
            yield RowBatch(
                _with(batch, {name: self.partitions[name][number] for name in given}, columns),
                [position + place for place in positions] if places else range(position, position + rows),
                [one.moved(position) for one in rejected],
            )
            position += rows

    def notes(self) -> list[str]:
        """What an operator should know about how the input was read: what was guessed, and what was skipped or not found."""
        shown = [f"{name} is not read: it {reason}." for name, reason in self.skipped[:_LISTED]]
        if len(self.skipped) > _LISTED:
            shown.append(f"{len(self.skipped) - _LISTED} further files are not read.")
        absent = [name for name in self.typed if name not in self.columns()]
        shown += [f"The type of column {name!r} has no effect: there is no such column." for name in absent]
        return [*shown, *self.reader.notes()]


def open_location(
    location: str | Sequence[str],
    objects: Objects,
    column_types: dict[str, str] | None = None,
    *,
    csv: CsvFormat | None = None,
    missing_columns: str = "error",
) -> FilesSource:
    """A source over the files of one or several locations, each location's in the order of their names.

    Args:
        location: paths, folders, patterns or `s3://` locations.
        objects: S3.
        column_types: types of columns of CSV and JSON files.
        csv: how CSV files are written.
        missing_columns: `null` gives rows of a file without a column nulls in it.

    Raises:
        InputError: no file was found, or files have several formats or an unknown one.
    """
    found = find_files([location] if isinstance(location, str) else list(location), objects)
    kinds = {kind: file.name for kind, file in reversed(found.files)}
    if len(kinds) > 1:
        examples = ", ".join(f"{name} is {_NAMES[kind]}" for kind, name in sorted(kinds.items()))
        raise InputError(
            f"The input mixes formats: {examples}.", "Name files of one format, for example by a pattern."
        )
    files = [file for _, file in found.files]
    nulls = missing_columns == "null"
    reader: FileReader
    match next(iter(kinds)):
        case "parquet":
            reader = ParquetReader(files, missing_as_null=nulls)
        case "csv":
            reader = CsvReader(files, column_types or {}, csv or CsvFormat(), missing_as_null=nulls)
        case "arrow":
            reader = ArrowFileReader(files)
        case _:
            reader = JsonReader(files, column_types or {})
    names = [file.name for file in files]
    stamps = {name: _stamp(name) for name in names if not name.startswith("s3://")}
    return FilesSource(
        files, reader, partition_columns(names), found.skipped, stamps, list(column_types or ())
    )


def _stamp(name: str) -> tuple[int, int] | None:
    """What differs once a file was written to; None if it is gone."""
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def unreadable(files: Sequence[InputFile], error: Exception) -> InputError:
    """The error of a reader as one of the input; its text may quote a row, so its type is named alone."""
    others = f" or one of the {len(files) - 1} files after it" if len(files) > 1 else ""
    return InputError(
        f"{files[0].name}{others} cannot be read ({type(error).__name__}).",
        "See the log for the place; write the file again, or correct how it is read.",
    )


def notes_of(source: Source) -> list[str]:
    """What a source reports about how it was read."""
    notes = getattr(source, "notes", None)
    return list(notes()) if callable(notes) else []


def _with(batch: pa.RecordBatch, given: Mapping[str, pa.Scalar], columns: Sequence[str]) -> pa.RecordBatch:
    if not given and batch.schema.names == list(columns):
        return batch
    fields = [
        pa.field(name, given[name].type) if name in given else batch.schema.field(name) for name in columns
    ]
    arrays = [pa.repeat(given[name], batch.num_rows) if name in given else batch[name] for name in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
