"""Ordinary responses, many at a time.

The kernel reads them by the paths that a family declares (`models.family.Plain`). Every other line, and without the
kernel every line, is read by `line_parser`.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.collect.line_reader import Lines
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.concurrency import ahead, in_order, workers_here
from bedrock_pipeline.kernel import MOST_BYTES, ResponseReader, Responses, library
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.exact_numbers import dumps
from bedrock_pipeline.models.family import INK, Plain
from bedrock_pipeline.models.structured import TOOL
from bedrock_pipeline.prepare.snapshot.column_rules import not_utf8
from bedrock_pipeline.records.error_codes import STOP_REASONS, WHOLE
from bedrock_pipeline.system import ExecutorFactory, threads

#: A run of lines with the plain responses among them; None if there are none.
Run: TypeAlias = tuple[Lines, Responses | None]


def read_runs(
    buffers: Iterable[memoryview],
    metadata: ChunkMetadata,
    dimension: int | None = None,
    executor: ExecutorFactory = threads,
) -> Iterator[Run]:
    """Buffers of lines as runs, in their order; threads read ahead.

    Args:
        buffers: the lines.
        metadata: what all rows share.
        dimension: length of the vectors; None if responses have none.
        executor: makes the threads.
    """
    kernel, plain, columns = library(), metadata.plain, metadata.columns
    whole = pa.array(
        [*WHOLE, *(reason for reason, kind in STOP_REASONS.items() if kind in metadata.accepted)], pa.string()
    )
    reader = None
    if kernel and plain and bool(plain.vector) == bool(dimension):
        reader = ResponseReader(kernel, plain, dimension or 0)

    def read(data: memoryview) -> list[Run]:
        if reader is None or plain is None or len(data) > MOST_BYTES:
            return [(Lines.of(data), None)]
        return [
            (Lines(data[start : start + int(ends[-1])], ends), _ordinary(responses, plain, whole))
            for start, ends, responses in reader.read(data)
        ]

    runs = chain.from_iterable(
        in_order(read, ahead(iter(buffers), executor=executor), workers_here(), executor)
    )
    if columns is None or plain is None:
        return runs
    # In the caller's thread, as by the scalar rule: a class's validators may depend on it, as decimals do on their context.
    is_tool = plain.tool_input is not None
    return ((lines, found and _structured(found, columns, is_tool=is_tool)) for lines, found in runs)


def _ordinary(responses: Responses, plain: Plain, whole: pa.Array) -> Responses | None:
    """Those that ended as known, whose text is UTF-8, not empty, and does not begin as a family excludes."""
    if broken := not_utf8(responses.rows):
        responses = responses.take(np.delete(np.arange(len(responses.lines)), broken))
    if plain.vector:
        return responses if len(responses.lines) else None
    reasons, texts = responses.rows["stop_reason"], responses.rows["output_text"]
    excluded = pc.invert(pc.or_(pc.is_null(reasons), pc.is_in(reasons, value_set=whole)))
    excluded = pc.or_(excluded, pc.invert(pc.match_substring_regex(texts, INK.pattern)))
    if plain.unless_text_begins is not None:
        begins = pc.match_substring_regex(texts, plain.unless_text_begins)
        excluded = pc.or_(excluded, begins)
    if pc.any(excluded).as_py():
        responses = responses.take(np.flatnonzero(~excluded.to_numpy(zero_copy_only=False)))
    return responses if len(responses.lines) else None


def _structured(responses: Responses, columns: AnswerColumns, *, is_tool: bool) -> Responses | None:
    """Those that certainly keep the schema, with the values of their columns."""
    found = columns.certain(responses.rows["output_text"])
    if not found.places:
        return None
    if len(found.places) < len(responses.lines):
        responses = responses.take(np.array(found.places))
    values = pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for field, column in zip(columns.fields, found.columns, strict=True)],
        schema=pa.schema(columns.fields),
    )
    rows = responses.rows
    if is_tool:
        uses = [dumps([{"name": TOOL, "input": given}]).decode() for given in found.given]
        rows = rows.set_column(
            rows.schema.get_field_index("output_text"), "output_text", pa.repeat(pa.scalar(""), len(uses))
        ).append_column("tool_use", pa.array(uses, pa.string()))
    return Responses(responses.lines, rows, values)
