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
from bedrock_pipeline.prepare.snapshot.column_rules import prompt_values, texts_of, wire_ids
from bedrock_pipeline.prepare.snapshot.records_batch import Records, taken
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
        frame = template.frame
        self._names = frame.names if frame else ()
        self._pieces = _pieces(frame) if frame else None

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
        if kernel is None or self._pieces is None:
            return None
        try:
            rows = records.rows
            texts = {
                name: texts_of(rows[name], name, self._template, rows.schema.field(name))
                for name in set(self._names)
            }
        except NotRenderableError:
            return None
        columns = [wire_ids(records.ids), *(texts[name] for name in self._names)]
        data, ends = render_lines(kernel, self._pieces, columns)
        if np.diff(ends, prepend=0).max(initial=0) > self._largest:
            return None
        return LineBatch(self._index(records), data, ends)

    def _row_by_row(self, records: Records, rejected: list[Rejection]) -> Iterator[tuple[int, bytes]]:
        """The number of each record that has a line, and the line."""
        rows, names = records.rows, self._template.columns
        columns = [prompt_values(rows[name], rows.schema.field(name)) for name in names]
        ids = records.ids.to_pylist()
        for number, (position, record_id) in enumerate(zip(records.positions, ids, strict=True)):
            cells = {name: column[number] for name, column in zip(names, columns, strict=True)}
            pictures = records.images[number].as_py() if records.images is not None else ()
            try:
                data = self._template.line(record_id, cells, pictures)
            except NotRenderableError as error:
                rejected.append(Rejection(position, str(error), record_id))
                continue
            if len(data) > self._largest:
                rejected.append(Rejection(position, self._too_large, record_id))
                continue
            yield number, data


def _pieces(frame: Frame) -> list[bytes]:
    """The JSON before, between and after the wire id and the prompt's columns."""
    around = [orjson.dumps(literal)[1:-1] for literal in frame.literals]
    around[-1] += b'"%b}\n' % frame.after.encode()
    around[0] = b'","modelInput":%b"%b' % (frame.before.encode(), around[0])
    return [b'{"recordId":"', *around]
