"""Arrow's own files: IPC streams, as Hugging Face saves datasets, and IPC files (Feather)."""

import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.source import InputFile, batch_rows, positioned

_MAGIC = b"ARROW1"


class ArrowFileReader:
    """Arrow files with the same columns in the same types."""

    def __init__(self, files: Sequence[InputFile]) -> None:
        self._files = files
        self._schema: pa.Schema | None = None

    def columns(self, needed: Sequence[str]) -> list[str]:  # noqa: ARG002  # a FileReader
        """The names of the first file's columns."""
        return list(self._first().names)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch, list[Rejection]]]:
        """Batch by batch."""
        schema = self._first()
        for number, file in enumerate(self._files):
            with file.open() as stream:
                try:
                    schema_here, found = _opened(stream)
                    self._check(schema_here, file.name, schema, columns)
                    for batch in found:
                        for piece in positioned(_pieces(batch.select(list(columns)))):
                            yield number, piece.rows, []
                except (OSError, pa.ArrowException) as error:
                    raise InputError(
                        f"{file.name} is damaged, or no Arrow file: it cannot be read to its end.",
                        "Write it again.",
                    ) from error

    def notes(self) -> list[str]:
        """Nothing is guessed."""
        return []

    def _first(self) -> pa.Schema:
        if self._schema is None:
            with self._files[0].open() as stream:
                try:
                    self._schema, _ = _opened(stream)
                except (OSError, pa.ArrowException) as error:
                    raise InputError(
                        f"{self._files[0].name} is no readable Arrow file.", "Write it again."
                    ) from error
        names = self._schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{self._files[0].name} has two columns named {twice[0]!r}.", "Rename one.")
        return self._schema

    def _check(self, found: pa.Schema, name: str, first: pa.Schema, columns: Sequence[str]) -> None:
        for column in columns:
            if column not in found.names:
                raise InputError(
                    f"{name} has no column {column!r}, which {self._files[0].name} has.",
                    "All files must have it.",
                )
            if found.field(column).type != first.field(column).type:
                raise InputError(
                    f"Column {column!r} is {first.field(column).type} in {self._files[0].name}, but "
                    f"{found.field(column).type} in {name}.",
                    "Write it with one type.",
                )


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch as smaller ones if its rows are large."""
    rows = batch_rows(batch.nbytes // max(batch.num_rows, 1))
    return (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def _opened(stream: BinaryIO) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    head = stream.read(len(_MAGIC))
    stream.seek(0)
    here = isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO)
    # A local file is mapped: a batch of many images takes no memory as a whole.
    source = pa.memory_map(stream.name) if here else stream
    if head == _MAGIC:
        file = pa.ipc.open_file(source)
        return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
    reader = pa.ipc.open_stream(source)
    return reader.schema, iter(reader)
