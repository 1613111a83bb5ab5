"""Rows into lines, many at a time.

What belongs here: rendering a batch of rows into a block with the bytes that `RequestTemplate.line` gives row by row.
A prompt in a constant body is rendered by the kernel, or where there is none by Polars; every other kind of request
takes the way of single lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa

from bedrock_pipeline.concurrency import is_forked
from bedrock_pipeline.kernel import library, render_lines
from bedrock_pipeline.prepare.requests.request_template import Frame, NotRenderableError, RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import reasons_of, texts_of, wire_ids
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Ends, Line, LineBatch, line_batch_of
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import IntakeBatch

if TYPE_CHECKING:
    import polars as pl

_ID = "record_id"


@dataclass(frozen=True, slots=True)
class Rendered:
    """Rows as lines, and the rows that cannot be asked."""

    block: LineBatch
    rejected: list[Rejection]


class Renderer:
    """Renders the rows of a dataset.

    Args:
        template: what is asked of every row.
        carry: the carried columns.
        limits: what a file and a job may hold.
    """

    def __init__(self, template: RequestTemplate, carry: pa.Schema, limits: Limits) -> None:
        self._template = template
        self._carry = carry
        self._largest = limits.max_record_bytes
        self._too_large = f"the record is larger than a file may be ({limits.max_file_bytes} bytes)"
        self._frame = template.frame

    def line_batch(self, rows: pa.RecordBatch, positions: Sequence[int]) -> tuple[LineBatch, list[Rejection]]:
        """The rows that can be asked, as lines; and those that cannot.

        Args:
            rows: `record_id`, the columns that the template needs, and the carried ones.
            positions: the number of each row in the input.
        """
        if self._frame is None or (is_forked() and not library()):
            return self._line_by_line(rows, positions)
        if reasons := reasons_of(rows, self._template):
            return self._without(rows, positions, reasons)
        block = self._joined(rows, self._frame)
        sizes = np.diff(block.ends, prepend=0)
        if block.records and sizes.max() > self._largest:
            large = np.flatnonzero(sizes > self._largest)
            return self._without(rows, positions, {int(row): self._too_large for row in large})
        return block, []

    def batch(self, batch: IntakeBatch) -> Rendered:
        """Rows of the input that have their record ids."""
        block, rejections = self.line_batch(batch.rows, batch.positions)
        return Rendered(block, [*batch.rejected, *rejections])

    def _joined(self, rows: pa.RecordBatch, frame: Frame) -> LineBatch:
        names = list(dict.fromkeys(frame.names))
        texts = {name: texts_of(rows[name], self._template) for name in names}
        pieces, columns = _pieces(frame), [wire_ids(rows[_ID]), *(texts[name] for name in frame.names)]
        kernel = library()
        data, ends = render_lines(kernel, pieces, columns) if kernel else _by_polars(pieces, columns)
        return LineBatch(self._index(rows), data, ends)

    def _index(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.select([_ID, *self._carry.names])

    def _without(
        self, rows: pa.RecordBatch, positions: Sequence[int], reasons: dict[int, str]
    ) -> tuple[LineBatch, list[Rejection]]:
        ids = rows[_ID]
        rejected = [
            Rejection(positions[row], reason, ids[row].as_py()) for row, reason in sorted(reasons.items())
        ]
        kept = [row for row in range(rows.num_rows) if row not in reasons]
        block, later = self.line_batch(
            rows.take(pa.array(kept, pa.int64())), [positions[row] for row in kept]
        )
        return block, sorted([*rejected, *later], key=lambda one: one.position)

    def _line_by_line(
        self, rows: pa.RecordBatch, positions: Sequence[int]
    ) -> tuple[LineBatch, list[Rejection]]:
        rejected: list[Rejection] = []
        return line_batch_of(list(self._lines(rows, positions, rejected)), self._carry), rejected

    def _lines(
        self, rows: pa.RecordBatch, positions: Sequence[int], rejected: list[Rejection]
    ) -> Iterator[Line]:
        names = self._carry.names
        for position, row in zip(positions, rows.to_pylist(), strict=True):
            try:
                data = self._template.line(row[_ID], row)
            except NotRenderableError as error:
                rejected.append(Rejection(position, str(error), row[_ID]))
                continue
            if len(data) > self._largest:
                rejected.append(Rejection(position, self._too_large, row[_ID]))
                continue
            yield Line(row[_ID], tuple(row[name] for name in names), data)


def _pieces(frame: Frame) -> list[bytes]:
    """JSON before, between and after the record id and the prompt's columns."""
    around = [orjson.dumps(literal)[1:-1] for literal in frame.literals]
    around[-1] += b'"%b}\n' % frame.after.encode()
    around[0] = b'","modelInput":%b"%b' % (frame.before.encode(), around[0])
    return [b'{"recordId":"', *around]


def _by_polars(pieces: Sequence[bytes], columns: Sequence[pa.Array]) -> tuple[memoryview, Ends]:
    """What `kernel.render_lines` does, by a library."""
    import polars as pl  # here: the kernel does without

    texts = pl.DataFrame(pa.table({str(number): column for number, column in enumerate(columns)}))
    first, *others = [pl.lit(piece.decode()) for piece in pieces]
    joined = [first]
    for number, piece in enumerate(others):
        joined += (_escaped(str(number)), piece)
    lines = texts.select(line=pl.concat_str(joined))["line"].rechunk().to_arrow()
    ends = np.frombuffer(lines.buffers()[1], np.int64, len(lines) + 1, lines.offset * 8)[1:]
    size = int(ends[-1]) if len(ends) else 0
    return memoryview(lines.buffers()[2] or b"")[:size], ends


def _escaped(name: str) -> "pl.Expr":
    """A column as the inside of a JSON string."""
    import polars as pl

    as_object = pl.struct(pl.col(name).alias("t")).struct.json_encode()
    return as_object.str.strip_prefix('{"t":"').str.strip_suffix('"}')
