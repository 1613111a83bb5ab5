"""Rows as lines of a job's input, many at a time.

The kernel renders a prompt in a constant body for a whole batch; the scalar rule (`RequestTemplate.line`) renders
everything else row by row. Both give the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa

from bedrock_pipeline.kernel import library, render_lines
from bedrock_pipeline.prepare.requests.request_template import Frame, NotRenderableError, RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import texts_of, wire_ids
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line, LineBatch, line_batch_of
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import RowBatch

_ID = "record_id"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A batch of rows as lines, and its rejected rows."""

    lines: LineBatch
    rejected: list[Rejection]


class Renderer:
    """Renders the rows of a dataset."""

    def __init__(self, template: RequestTemplate, carry: pa.Schema, limits: Limits) -> None:
        self._template = template
        self._carry = carry.names
        self._carry_schema = carry
        self._largest = limits.max_record_bytes
        self._too_large = f"the record is larger than a file may be ({limits.max_file_bytes} bytes)"
        frame = template.frame
        self._names = frame.names if frame else ()
        self._pieces = _pieces(frame) if frame else None

    def render(self, batch: RowBatch) -> Rendered:
        """The rows as lines; a row that has no line, or one that is too large, is rejected.

        Rows have `record_id`, the columns that the template needs, and the carried ones.
        """
        if lines := self._by_kernel(batch.rows):
            return Rendered(lines, batch.rejected)
        rejected = list(batch.rejected)
        lines = line_batch_of(list(self._row_by_row(batch, rejected)), self._carry_schema)
        return Rendered(lines, rejected)

    def _by_kernel(self, rows: pa.RecordBatch) -> LineBatch | None:
        """All rows at once; None where the scalar rule must render them, or reject one of them."""
        kernel = library()
        if kernel is None or self._pieces is None:
            return None
        try:
            texts = {name: texts_of(rows[name], name, self._template) for name in set(self._names)}
        except NotRenderableError:
            return None
        columns = [wire_ids(rows[_ID]), *(texts[name] for name in self._names)]
        data, ends = render_lines(kernel, self._pieces, columns)
        if np.diff(ends, prepend=0).max(initial=0) > self._largest:
            return None
        return LineBatch(rows.select([_ID, *self._carry]), data, ends)

    def _row_by_row(self, batch: RowBatch, rejected: list[Rejection]) -> Iterator[Line]:
        for position, row in zip(batch.positions, batch.rows.to_pylist(), strict=True):
            try:
                data = self._template.line(row[_ID], row)
            except NotRenderableError as error:
                rejected.append(Rejection(position, str(error), row[_ID]))
                continue
            if len(data) > self._largest:
                rejected.append(Rejection(position, self._too_large, row[_ID]))
                continue
            yield Line(row[_ID], tuple(row[name] for name in self._carry), data)


def _pieces(frame: Frame) -> list[bytes]:
    """The JSON before, between and after the wire id and the prompt's columns."""
    around = [orjson.dumps(literal)[1:-1] for literal in frame.literals]
    around[-1] += b'"%b}\n' % frame.after.encode()
    around[0] = b'","modelInput":%b"%b' % (frame.before.encode(), around[0])
    return [b'{"recordId":"', *around]
