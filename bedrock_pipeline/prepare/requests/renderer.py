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
from bedrock_pipeline.prepare.snapshot.attachments import attachments_in
from bedrock_pipeline.prepare.snapshot.column_rules import prompt_values, texts_of, wire_ids
from bedrock_pipeline.prepare.snapshot.records_batch import Records, taken
from bedrock_pipeline.prompts.template import NOT_BLANK
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import LineBatch, index_schema
from bedrock_pipeline.records.rejections import Rejection


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
        self._pieces = _pieces(self._frame) if self._frame else []
        self._blank_without = template.blank_without

    def render(self, records: Records) -> Rendered:
        """Records as lines; one that has no line, or one that is too large, is rejected.

        They have the columns that the template needs, and the carried ones.
        """
        if lines := self._by_kernel(records):
            return Rendered(lines, records.rejected)
        rejected = list(records.rejected)
        lines_of = dict(self._row_by_row(records, rejected))
        rows = list(lines_of)
        index = taken(self._index(records), rows)
        data = memoryview(b"".join(lines_of.values()))
        ends = np.cumsum([len(line) for line in lines_of.values()], dtype=np.int64)
        return Rendered(LineBatch(index, data, ends), rejected)

    def _index(self, records: Records) -> pa.RecordBatch:
        columns = [records.rows[name] for name in self._carry]
        return pa.RecordBatch.from_arrays([records.ids, *columns], schema=index_schema(self._carry_schema))

    def _by_kernel(self, records: Records) -> LineBatch | None:
        """All rows at once; None where the scalar rule must render them, or reject one of them."""
        kernel = library()
        if kernel is None or self._frame is None:
            return None
        rows = records.rows
        needed = {*self._frame.fields, *(field for fields in self._blank_without for field in fields)}
        try:
            texts = {
                field: texts_of(rows[field.column], field, self._template, rows.schema.field(field.column))
                for field in needed
            }
        except NotRenderableError:
            return None
        if any(_some_blank([texts[field] for field in fields]) for fields in self._blank_without):
            return None
        columns = [wire_ids(records.ids), *(texts[field] for field in self._frame.fields)]
        data, ends = render_lines(kernel, self._pieces, columns)
        if np.diff(ends, prepend=0).max(initial=0) > min(self._largest, self._template.safe_bytes):
            return None
        return LineBatch(self._index(records), data, ends)

    def _row_by_row(self, records: Records, rejected: list[Rejection]) -> Iterator[tuple[int, bytes]]:
        """The number of each record that has a line, and the line."""
        rows, names = records.rows, self._template.columns
        columns = [prompt_values(rows[name], rows.schema.field(name)) for name in names]
        ids = records.ids.to_pylist()
        for number, (position, record_id) in enumerate(zip(records.positions, ids, strict=True)):
            cells = {name: column[number] for name, column in zip(names, columns, strict=True)}
            attached, said = (
                None if column is None else column[number].as_py()
                for column in (records.attachments, records.conversations)
            )
            try:
                data = self._template.line(record_id, cells, attachments_in(attached), said)
            except NotRenderableError as error:
                rejected.append(Rejection(position, str(error), record_id))
                continue
            if len(data) > self._largest:
                rejected.append(Rejection(position, self._too_large, record_id))
                continue
            yield number, data


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
