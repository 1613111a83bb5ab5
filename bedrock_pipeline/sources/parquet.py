"""Parquet files, also those of one table whose types differ from file to file."""

import io
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.records.cells import WHOLE
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.errors import InputError, TypesChangedError
from bedrock_pipeline.sources.shared_values import shared_row_bytes
from bedrock_pipeline.sources.source import InputFile, batch_rows, positioned
from bedrock_pipeline.sources.widening import widened, wider

_READ_BYTES = 1 << 20
_FOOTERS_AT_ONCE = 8
#: A dictionary whose values cannot make a batch larger than this is not looked at.
_HARMLESS_BYTES = 64_000_000


class ParquetReader:
    """Parquet files with the same columns, in types that hold the values of all.

    The types are those of the first file; where a later one does not fit, the others' are read, and `TypesChangedError`
    raised.
    """

    def __init__(self, files: Sequence[InputFile], *, missing_as_null: bool = False) -> None:
        self._files = files
        self._missing_as_null = missing_as_null
        self._schema: pa.Schema | None = None
        self._notes: list[str] = []

    def columns(self, needed: Sequence[str]) -> list[str]:
        """The names of the first file's columns; or of all files' if one that is needed may be null."""
        if self._missing_as_null and not set(needed) <= set(self.schema().names):
            self._schema = self._of_all()
        return list(self.schema().names)

    def schema(self) -> pa.Schema:
        """Columns and types."""
        self._schema = self._schema or _schema_of(self._files[0])
        return self._schema

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch, list[Rejection]]]:
        """Row group by row group."""
        wanted = self.schema()
        schema = pa.schema([_field(wanted, name, self._files[0].name) for name in columns])
        self._notes = _notes(schema)
        for number, file in enumerate(self._files):
            with file.open() as stream:
                opened = _opened(stream, file.name)
                if any(_misfit(opened.schema_arrow, field) for field in schema):
                    self._widen(opened.schema_arrow, file.name, schema)
                for batch in positioned(self._batches(opened, file, schema)):
                    yield number, batch.rows, []

    def notes(self) -> list[str]:
        """Which types were widened."""
        return self._notes

    def _widen(self, found: pa.Schema, name: str, schema: pa.Schema) -> None:
        """Take types that hold the values of all files.

        Raises:
            InputError: there are none, or a column is missing.
            TypesChangedError: there are.
        """
        for field in schema:
            if field.name not in found.names:
                if self._missing_as_null:
                    continue
                raise InputError(
                    f"{name} has no column {field.name!r}, which {self._files[0].name} has.",
                    "All files must have it, or set missing_columns to null.",
                )
        before = schema
        self._schema = self._of_all(schema.names)
        if before.equals(pa.schema([self._schema.field(one) for one in schema.names]), check_metadata=True):
            return  # nothing but a missing column, which is null
        raise TypesChangedError

    def _of_all(self, columns: Sequence[str] | None = None) -> pa.Schema:
        """Columns of all files, in types that hold their values."""
        fields: dict[str, pa.Field] = {}
        first: dict[str, str] = {}
        with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
            for file, schema in zip(self._files, threads.map(_schema_of, self._files), strict=True):
                for field in schema:
                    if columns is not None and field.name not in columns:
                        continue
                    given = fields.setdefault(field.name, field)
                    kind = wider(given.type, field.type)
                    if kind is None:
                        raise InputError(
                            f"Column {field.name!r} is {given.type} in {first[field.name]}, but {field.type} in "
                            f"{file.name}, and no type holds both.",
                            "Write it with one type.",
                        )
                    if not pa.types.is_null(field.type):
                        first.setdefault(field.name, file.name)
                    whole = pa.types.is_floating(kind) and (_is_whole(given) or _is_whole(field))
                    fields[field.name] = pa.field(field.name, kind).with_metadata(WHOLE if whole else None)
        return pa.schema(list(fields.values()))

    def _batches(
        self, opened: pq.ParquetFile, file: InputFile, schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        there = [name for name in schema.names if name in opened.schema_arrow.names]
        rows = rows_of_a_batch(opened.metadata)
        rows = min(rows, batch_rows(_largest_shared_row(opened, file, there, rows)))
        batches = opened.iter_batches(rows, columns=there, use_threads=False)
        row = 0
        while True:
            try:
                batch = next(batches, None)
            except MemoryError as error:  # which Arrow's is too, beside being its exception
                raise InputError(
                    f"{file.name} has {'a row' if rows == 1 else 'rows'} too large for the memory of this machine.",
                    "Leave the column or the row out.",
                ) from error
            except (OSError, pa.ArrowException) as error:
                raise InputError(
                    f"{file.name} is damaged{_damaged_group(opened, there, rows)}: it cannot be read.",
                    "Write it again.",
                ) from error
            if batch is None:
                return
            place = f"{file.name}, row group {_row_group(opened.metadata, row)}"
            yield pa.RecordBatch.from_arrays(
                [_column(batch, field, place) for field in schema], schema=schema
            )
            row += batch.num_rows


def rows_of_a_batch(metadata: pq.FileMetaData) -> int:
    """Number of rows of a file that are read at once: fewer if rows are large."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return batch_rows(largest)


def _largest_shared_row(opened: pq.ParquetFile, file: InputFile, columns: Sequence[str], rows: int) -> int:
    """The most bytes that values of dictionaries can add to a row.

    A file says how large a dictionary is, not how large its values become in the rows. So the dictionaries of row groups that
    might become too large are read.

    Args:
        opened: the file.
        file: the same, to open it another time.
        columns: those that are read.
        rows: of a batch.
    """
    suspects: dict[int, set[str]] = {}
    for number in range(opened.num_row_groups):
        group = opened.metadata.row_group(number)
        for leaf in (group.column(index) for index in range(group.num_columns)):
            large = leaf.total_uncompressed_size * min(rows, group.num_rows) > _HARMLESS_BYTES
            if large and leaf.has_dictionary_page and leaf.physical_type == "BYTE_ARRAY":
                suspects.setdefault(number, set()).add(leaf.path_in_schema)
    largest = 0
    with file.open() as stream:
        paths = sorted(set().union(*suspects.values()))
        dictionaries = _opened(stream, file.name, read_dictionary=paths) if paths else opened
        for number, leaves in suspects.items():
            names = [name for name in columns if any(f"{leaf}.".startswith(f"{name}.") for leaf in leaves)]
            with suppress(OSError, pa.ArrowException):  # damage is reported when the rows are read
                one_row = dictionaries.iter_batches(1, row_groups=[number], columns=names, use_threads=False)
                largest = max([largest, *(shared_row_bytes(first) for first in itertools.islice(one_row, 1))])
    return largest


def _row_group(metadata: pq.FileMetaData, row: int) -> int:
    """The row group that has a row, counted from 0 as other tools count."""
    ends = itertools.accumulate(
        metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
    )
    return next((number for number, end in enumerate(ends) if row < end), 0)


def _damaged_group(opened: pq.ParquetFile, columns: Sequence[str], rows: int) -> str:
    """The first row group that cannot be read, for a message; a batch may have rows of several."""
    for number in range(opened.num_row_groups):
        try:
            for _ in opened.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False):
                pass
        except (OSError, pa.ArrowException):
            return f" in row group {number}"
    return ""


def _column(batch: pa.RecordBatch, field: pa.Field, place: str) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(field.name)
    if column.type == field.type:
        return column
    try:
        return widened(column, field.type)
    except pa.ArrowException as error:
        raise InputError(
            f"Column {field.name!r} is {column.type} in {place}, and a value does not fit {field.type}, the type that "
            "holds those of the other files.",
            "Write it with one type.",
        ) from error


def _field(schema: pa.Schema, name: str, first: str) -> pa.Field:
    if len(schema.get_all_field_indices(name)) > 1:
        raise InputError(f"{first} has two columns named {name!r}.", "Rename one.")
    field = schema.field(name)
    metadata = {key: value for key, value in (field.metadata or {}).items() if key != b"PARQUET:field_id"}
    return field.with_metadata(metadata or None).with_nullable(nullable=True)


def _misfit(found: pa.Schema, field: pa.Field) -> bool:
    """Whether the values of a file's column do not fit a type for certain."""
    if field.name not in found.names:
        return True
    kind = found.field(field.name).type
    if kind == field.type:
        return False
    mixed = pa.types.is_floating(field.type) and pa.types.is_integer(kind)
    return wider(field.type, kind) != field.type or (mixed and field.metadata is None)


def _is_whole(field: pa.Field) -> bool:
    marked = field.metadata is not None and WHOLE.items() <= field.metadata.items()
    return bool(pa.types.is_integer(field.type) or marked)


def _notes(schema: pa.Schema) -> list[str]:
    mixed = [field.name for field in schema if field.metadata and WHOLE.items() <= field.metadata.items()]
    return [f"Column {name!r} has whole numbers in some files and fractions in others." for name in mixed]


def _schema_of(file: InputFile) -> pa.Schema:
    with file.open() as stream:
        return _opened(stream, file.name).schema_arrow


def _opened(stream: BinaryIO, name: str, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    here = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)
    try:
        # Arrow reads a local file without Python.
        source = pa.OSFile(stream.name) if here else stream
        # Without a buffer a whole column of a row group is held in memory, with `pre_buffer` the whole file.
        # Spark's times of 96 bits reach beyond the years that nanoseconds hold.
        return pq.ParquetFile(
            source,
            buffer_size=_READ_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",
            read_dictionary=list(read_dictionary),
        )
    except (OSError, pa.ArrowException) as error:  # a damaged footer is an OSError
        raise InputError(f"{name} is not a readable parquet file.", "Write it again.") from error
