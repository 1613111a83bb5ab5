"""Lines of a job's input, many at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ends: TypeAlias = npt.NDArray[np.int64]

_LINES = 1024
_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """A rendered record: its id, its carried values, and its line.

    A value is a column of one cell, as `cells_of` gives it, so that nothing of any type is lost; or a Python value.
    """

    record_id: str
    carried: tuple[Any, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Consecutive rendered records.

    Attributes:
        index: `record_id` and the carried columns, a row for each line.
        data: the lines, each with its newline.
        ends: the end of each line in `data`, in bytes.
    """

    index: pa.RecordBatch
    data: memoryview
    ends: Ends

    @property
    def records(self) -> int:
        """Number of lines."""
        return len(self.ends)

    def slice(self, start: int, stop: int) -> "LineBatch":
        """The records from `start` to before `stop`, without copying a line."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return LineBatch(
            self.index.slice(start, stop - start), self.data[first:last], self.ends[start:stop] - first
        )

    def fitting(self, start: int, size: int) -> int:
        """The end of the longest run of lines from `start` with at most `size` bytes."""
        first = int(self.ends[start - 1]) if start else 0
        return int(np.searchsorted(self.ends, first + size, side="right"))


def index_schema(carry: pa.Schema) -> pa.Schema:
    """Columns of an index with these carried columns."""
    return pa.schema([pa.field("record_id", pa.string()), *carry])


def line_batch_of(lines: Sequence[Line], carry: pa.Schema) -> LineBatch:
    """Single lines as a batch."""
    columns = [pa.array([line.record_id for line in lines], pa.string())]
    columns += [
        _column([line.carried[number] for line in lines], field.type) for number, field in enumerate(carry)
    ]
    return LineBatch(
        pa.RecordBatch.from_arrays(columns, schema=index_schema(carry)),
        memoryview(b"".join(line.data for line in lines)),
        np.cumsum([len(line.data) for line in lines], dtype=np.int64),
    )


def line_batches_of(lines: Iterable[Line], carry: pa.Schema) -> Iterator[LineBatch]:
    """A stream of single lines as batches of bounded size."""
    rest = iter(lines)
    while first := next(rest, None):
        block, size = [first], len(first.data)
        while size < _BYTES and len(block) < _LINES and (line := next(islice(rest, 1), None)):
            block.append(line)
            size += len(line.data)
        yield line_batch_of(block, carry)


def lines_of(blocks: Iterable[LineBatch]) -> Iterator[Line]:
    """Batches as single lines again."""
    for block in blocks:
        start = 0
        ids = block.index.column(0).to_pylist()
        names = range(1, block.index.num_columns)
        for row, (record_id, end) in enumerate(zip(ids, block.ends.tolist(), strict=True)):
            yield Line(record_id, cells_of(block.index, row, names), bytes(block.data[start:end]))
            start = end


def cells_of(batch: pa.RecordBatch, row: int, columns: Iterable[int | str]) -> tuple[pa.Array, ...]:
    """Cells of a row, each as a column of one."""
    return tuple(batch.column(column).slice(row, 1) for column in columns)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if not any(isinstance(value, pa.Array) for value in values):
        return (
            pa.array(values, kind)
            if any(value is not None for value in values)
            else pa.nulls(len(values), kind)
        )
    return pa.concat_arrays(
        [value if isinstance(value, pa.Array) else _cell(value, kind) for value in values]
    )


def _cell(value: Any, kind: pa.DataType) -> pa.Array:
    return pa.nulls(1, kind) if value is None else pa.array([value], kind)
