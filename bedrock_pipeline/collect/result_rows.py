"""Batches of the results, from many responses as columns or from the outcomes of single records."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bedrock_pipeline.collect.line_parser import Outcome
from bedrock_pipeline.collect.tally import ChunkMetadata
from bedrock_pipeline.records.result_schema import COLUMNS, ResultRow

#: Rows of an index.
Places: TypeAlias = Sequence[int] | npt.NDArray[np.int64]


def outcome_batch(
    outcomes: Sequence[tuple[int, Outcome]], index: pa.Table, metadata: ChunkMetadata, schema: pa.Schema
) -> pa.RecordBatch:
    """Rows of single records.

    Args:
        outcomes: each with its row of the index.
        index: the chunk's.
        metadata: what all rows share.
        schema: of the results.
    """
    values = dict(
        zip(ResultRow._fields, zip(*(outcome.row for _, outcome in outcomes), strict=True), strict=True)
    )
    for number, field in enumerate(metadata.response_fields):
        values[field.name] = tuple(outcome.values and outcome.values[number] for _, outcome in outcomes)
    columns = {
        field.name: pa.array(values[field.name], field.type) for field in schema if field.name in values
    }
    return _batch(columns, [row for row, _ in outcomes], index, metadata, schema)


def plain_batch(
    columns: Mapping[str, pa.Array],
    places: Places,
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Rows of plain responses.

    Args:
        columns: those columns of the results that plain responses have.
        places: the row of the index of each.
        index: the chunk's.
        metadata: what all rows share.
        schema: of the results.
    """
    status = pa.repeat(pa.scalar("succeeded"), len(places))
    return _batch({"status": status, **columns}, places, index, metadata, schema)


def _batch(
    columns: Mapping[str, pa.Array],
    places: Places,
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Columns of records as they are given, carried columns from the index, the others one value for all rows."""
    taken = index.take(pa.array(places, pa.int64())).combine_chunks()

    def column(field: pa.Field) -> pa.Array:
        if field.name in taken.column_names:
            [chunk] = taken[field.name].chunks or [pa.array([], field.type)]
            return chunk
        if field.name in COLUMNS and COLUMNS[field.name].source == "chunk":
            return pa.repeat(pa.scalar(getattr(metadata, field.name), field.type), len(places))
        return columns[field.name] if field.name in columns else pa.nulls(len(places), field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in schema], schema=schema)
