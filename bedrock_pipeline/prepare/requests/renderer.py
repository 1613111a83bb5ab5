"""Rows as lines of a job's input, many at a time.

The kernel renders a prompt in a constant body for a whole batch; the scalar rule (`RequestTemplate.line`) renders
everything else row by row. Both give the same bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.kernel import library, render_lines
from bedrock_pipeline.prepare.requests.request_template import Frame, NotRenderableError, RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import texts_of, wire_ids
from bedrock_pipeline.prompts.template import NOT_BLANK
from bedrock_pipeline.prompts.values import rows_of
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
        self._frame = template.frame
        self._pieces = _pieces(self._frame) if self._frame else None
        self._blank_without = template.blank_without

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
        if kernel is None or self._frame is None or self._pieces is None:
            return None
        try:
            texts = {
                field: texts_of(rows[field.column], field, self._template)
                for field in {*self._frame.fields, *(one for group in self._blank_without for one in group)}
            }
        except NotRenderableError:
            return None
        if any(_some_blank([texts[field] for field in group]) for group in self._blank_without):
            return None
        columns = [wire_ids(rows[_ID]), *(texts[field] for field in self._frame.fields)]
        data, ends = render_lines(kernel, self._pieces, columns)
        if np.diff(ends, prepend=0).max(initial=0) > min(self._largest, self._template.safe_bytes):
            return None
        return LineBatch(rows.select([_ID, *self._carry]), data, ends)

    def _row_by_row(self, batch: RowBatch, rejected: list[Rejection]) -> Iterator[Line]:
        for position, row in zip(batch.positions, rows_of(batch.rows), strict=True):
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
    """The JSON before, between and after the wire id and the fields."""
    first, *others = frame.pieces
    around = [b'","modelInput":' + first, *others]
    around[-1] += b"}\n"
    return [b'{"recordId":"', *around]


def _some_blank(texts: Sequence[pa.Array]) -> bool:
    """Whether all texts of one row are blank."""
    if not texts:
        return True
    written = [pc.match_substring_regex(column, NOT_BLANK.pattern) for column in texts]
    return not pc.all(reduce(pc.or_, written)).as_py()
