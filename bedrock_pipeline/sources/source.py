"""The interface of every reader: batches of rows, and the rows that could not be read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TypeVar

import pyarrow as pa

from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.errors import InputError as InputError
from bedrock_pipeline.sources.plain_layout import plain_batch
from bedrock_pipeline.sources.shared_values import shared_row_bytes

#: Rows of a batch at most.
BATCH_ROWS = 4096
#: Approximate bytes of input of a batch; large cells make small batches.
BATCH_BYTES = 4_000_000
#: Bytes or characters of a record of a file at most: more than any request has. A longer one is not read into memory.
LONGEST_RECORD = 64 << 20
#: Values of a record of a file at most, for the same reason: each takes some hundred bytes of memory, however short it is written.
MOST_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Consecutive rows of the input.

    Attributes:
        rows: the rows that could be read.
        positions: the number of each of them in the input, from 0.
        rejected: the rows in between that could not be read.
    """

    rows: pa.RecordBatch
    positions: Sequence[int]
    rejected: list[Rejection] = field(default_factory=list)


class Source(Protocol):
    """An input that can be read from the beginning any number of times."""

    def columns(self, needed: Sequence[str] = ()) -> list[str]:
        """The names of its columns.

        Args:
            needed: columns that are wanted; a source that learns its columns from rows reads on until it has seen them.

        Raises:
            InputError: the input cannot be read.
        """
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """Its rows with these columns, each of one type throughout.

        A source that finds later that a column needs a wider type says so with `sources.errors.TypesChangedError`, once; it is
        then read again from the beginning.

        Raises:
            InputError: the input as a whole cannot be read.
        """
        ...


class FileReader(Protocol):
    """Reads files of one format."""

    def columns(self, needed: Sequence[str]) -> list[str]:
        """As `Source.columns`."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch, list[Rejection]]]:
        """Rows of one file each: its number, the rows, and those in between that could not be read, by their places in the batch."""
        ...

    def notes(self) -> list[str]:
        """What an operator should know about how the files were read."""
        ...


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of an input: its name, for messages, and a function that opens it (seekable)."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class ArrowSource:
    """Data that is already in Arrow: its schema, and a function that starts a new pass over its batches."""

    schema: pa.Schema
    read: Callable[[], Iterator[pa.RecordBatch]]

    def columns(self, needed: Sequence[str] = ()) -> list[str]:  # noqa: ARG002  # a Source
        """The names of the schema."""
        return list(self.schema.names)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """One pass, in batches of bounded size."""
        yield from positioned(batch.select(list(columns)) for batch in self.read())


def positioned(batches: Iterator[pa.RecordBatch]) -> Iterator[RowBatch]:
    """Number the rows of batches and cut the large ones."""
    position = 0
    for batch in batches:
        size = batch_rows(shared_row_bytes(batch))
        for start in range(0, batch.num_rows, size):
            for rows in _light(plain_batch(batch.slice(start, size))):
                yield RowBatch(rows, range(position, position + rows.num_rows))
                position += rows.num_rows


def _light(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Rows in parts of about `BATCH_BYTES`; the words of a dictionary do not count, by which the rows were cut before."""
    weight = sum(
        (column.indices if pa.types.is_dictionary(column.type) else column).nbytes for column in rows.columns
    )
    if weight <= BATCH_BYTES or rows.num_rows == 1:
        yield rows
        return
    half = rows.num_rows // 2
    yield from _light(rows.slice(0, half))
    yield from _light(rows.slice(half))


def batch_rows(row_bytes: int) -> int:
    """Rows of a batch by the bytes of a row: fewer if rows are large."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(row_bytes, 1)))


_T = TypeVar("_T")


def in_blocks(items: Iterable[tuple[_T, int]]) -> Iterator[list[_T]]:
    """Items, each given with its size, in blocks of at most `BATCH_ROWS` items and about `BATCH_BYTES`."""
    block: list[_T] = []
    total = 0
    for item, size in items:
        block.append(item)
        total += size
        if len(block) == BATCH_ROWS or total >= BATCH_BYTES:
            yield block
            block, total = [], 0
    if block:
        yield block
