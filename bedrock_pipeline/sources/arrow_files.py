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
                        for piece in positioned(_pieces(_checked(batch.select(list(columns))))):
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


def _checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose offsets lead nowhere outside of it. Arrow takes them as the file has them, and would read any memory.

    Raises:
        ArrowException: they lead outside.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:  # a text that is not UTF-8 costs its own row, so only as bytes it must be valid
        for column in batch.columns:
            _check_as_bytes(column)
    return batch


def _check_as_bytes(column: pa.Array) -> None:
    if pa.types.is_dictionary(column.type):
        _check_as_bytes(column.dictionary)
        places = pa.nulls(len(column.dictionary))
        pa.DictionaryArray.from_arrays(column.indices, places, safe=False).validate(full=True)
    else:
        column.view(_as_bytes(column.type)).validate(full=True)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """A type with bytes in the place of texts."""
    plain = {
        pa.string(): pa.binary(),
        pa.large_string(): pa.large_binary(),
        pa.string_view(): pa.binary_view(),
    }
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    for is_list, made in (
        (pa.types.is_list, pa.list_),
        (pa.types.is_large_list, pa.large_list),
        (pa.types.is_fixed_size_list, lambda inner: pa.list_(inner, kind.list_size)),
    ):
        if is_list(kind):
            return made(kind.value_field.with_type(_as_bytes(kind.value_type)))
    return plain.get(kind, kind)


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
