"""Rows into lines, many at a time.

What belongs here: rendering a batch of rows into a block with the bytes that `RequestTemplate.line` gives row by row.
A prompt in a constant body is rendered by Polars, in which escaping and joining cost a nanosecond a byte and which
lets other threads run; every other kind of request takes the way of single lines.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from bedrock_pipeline.intake.source import IntakeBatch
from bedrock_pipeline.records.ahead import ahead, in_order
from bedrock_pipeline.records.block import Block, Line, block_of
from bedrock_pipeline.records.columns import reasons_of, texts_of, wire_ids
from bedrock_pipeline.records.encode import Frame, NotRenderableError, RequestTemplate
from bedrock_pipeline.records.forked import is_forked
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter

#: Threads that render.
WORKERS = 2
_ID = "record_id"


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

    def block(self, rows: pa.RecordBatch, positions: Sequence[int]) -> tuple[Block, list[Rejection]]:
        """The rows that can be asked, as lines; and those that cannot.

        Args:
            rows: `record_id`, the columns that the template needs, and the carried ones.
            positions: the number of each row in the input.
        """
        if self._frame is None or is_forked():
            return self._line_by_line(rows, positions)
        if reasons := reasons_of(rows, self._template):
            return self._without(rows, positions, reasons)
        block = self._joined(rows, self._frame)
        sizes = np.diff(block.ends, prepend=0)
        if block.records and sizes.max() > self._largest:
            large = np.flatnonzero(sizes > self._largest)
            return self._without(rows, positions, {int(row): self._too_large for row in large})
        return block, []

    def _joined(self, rows: pa.RecordBatch, frame: Frame) -> Block:
        lines = _concatenated(rows, frame, self._template).to_arrow()
        ends = np.frombuffer(lines.buffers()[1], np.int64, len(lines) + 1, lines.offset * 8)[1:]
        size = int(ends[-1]) if len(ends) else 0
        data = memoryview(lines.buffers()[2] or b"")[:size]
        return Block(self._index(rows), data, ends)

    def _index(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.select([_ID, *self._carry.names])

    def _without(
        self, rows: pa.RecordBatch, positions: Sequence[int], reasons: dict[int, str]
    ) -> tuple[Block, list[Rejection]]:
        ids = rows[_ID]
        rejected = [
            Rejection(positions[row], reason, ids[row].as_py()) for row, reason in sorted(reasons.items())
        ]
        kept = [row for row in range(rows.num_rows) if row not in reasons]
        block, later = self.block(rows.take(pa.array(kept, pa.int64())), [positions[row] for row in kept])
        return block, sorted([*rejected, *later], key=lambda one: one.position)

    def _line_by_line(self, rows: pa.RecordBatch, positions: Sequence[int]) -> tuple[Block, list[Rejection]]:
        rejected: list[Rejection] = []
        return block_of(list(self._lines(rows, positions, rejected)), self._carry), rejected

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


def rendered(
    batches: Iterator[IntakeBatch], renderer: Renderer, rejected: RejectionWriter, workers: int = WORKERS
) -> Iterator[Block]:
    """Batches of rows as blocks, in their order, read and rendered ahead; what cannot be asked is rejected."""

    def render(batch: IntakeBatch) -> tuple[Block, list[Rejection]]:
        block, rejections = renderer.block(batch.rows, batch.positions)
        return block, [*batch.rejected, *rejections]

    for block, rejections in in_order(render, ahead(batches), workers):
        rejected.add(*rejections)
        yield block


def _concatenated(rows: pa.RecordBatch, frame: Frame, template: RequestTemplate) -> pl.Series:
    """The lines of a batch as one column of text."""
    columns = {"id": wire_ids(rows[_ID])}
    columns |= {f"_{name}": texts_of(rows[name], template) for name in dict.fromkeys(frame.names)}
    first, *others = [orjson.dumps(literal).decode()[1:-1] for literal in frame.literals]
    pieces = [pl.lit('{"recordId":"'), pl.col("id"), pl.lit(f'","modelInput":{frame.before}"{first}')]
    for name, literal in zip(frame.names, others, strict=True):
        pieces += (_escaped(f"_{name}"), pl.lit(literal))
    pieces.append(pl.lit(f'"{frame.after}}}\n'))
    frame_of_texts = pl.DataFrame(pa.table(columns))
    return frame_of_texts.select(line=pl.concat_str(pieces))["line"].rechunk()


def _escaped(name: str) -> pl.Expr:
    """A column as the inside of a JSON string."""
    as_object = pl.struct(pl.col(name).alias("t")).struct.json_encode()
    return as_object.str.strip_prefix('{"t":"').str.strip_suffix('"}')
