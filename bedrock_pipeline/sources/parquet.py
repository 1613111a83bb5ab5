"""Parquet files."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.sources.source import InputError, InputFile, RowBatch, batch_rows, positioned

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ParquetSource:
    """Parquet files with the same columns; the types of the first file hold for all."""

    files: Sequence[InputFile]

    def columns(self) -> list[str]:
        """The names of the first file's columns."""
        return list(self.schema().names)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """Row group by row group."""
        yield from positioned(self._read(list(columns)))

    def schema(self) -> pa.Schema:
        """Columns and types of the first file."""
        with self.files[0].open() as stream:
            return _opened(stream, self.files[0].name).schema_arrow

    def _read(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        wanted = self.schema()
        schema = pa.schema([wanted.field(name) for name in columns]).remove_metadata()
        for file in self.files:
            with file.open() as stream:
                yield from _batches(
                    _opened(stream, file.name), file.name, self.files[0].name, columns, schema
                )


def _batches(
    file: pq.ParquetFile, name: str, first: str, columns: list[str], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(rows_of_a_batch(file.metadata), columns=columns, use_threads=False)
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{name} is damaged: it cannot be read to its end.", "Write it again."
            ) from error
        if batch is None:
            return
        try:
            alike = batch.select(columns).cast(schema)
        except (KeyError, pa.ArrowException) as error:
            raise InputError(
                f"{name} has other columns or types than {first}.", "Make them alike."
            ) from error
        yield alike


def rows_of_a_batch(metadata: pq.FileMetaData) -> int:
    """Number of rows of a file that are read at once: fewer if rows are large."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    largest = max((group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0)
    return batch_rows(largest)


def _opened(stream: BinaryIO, name: str) -> pq.ParquetFile:
    here = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)
    try:
        # Arrow reads a local file without Python.
        source = pa.OSFile(stream.name) if here else stream
        # Without a buffer a whole column of a row group is held in memory, with `pre_buffer` the whole file.
        return pq.ParquetFile(source, buffer_size=_READ_BYTES, pre_buffer=False)
    except pa.ArrowException as error:
        raise InputError(f"{name} is not a readable parquet file.", "Write it again.") from error
