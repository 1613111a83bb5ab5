"""Rows of the results: batches made from the outcomes of records."""

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from bedrock_pipeline.collect.fast_parser import PlainResponses
from bedrock_pipeline.collect.line_parser import Outcome
from bedrock_pipeline.collect.tally import ChunkMetadata


def outcome_batch(
    pending: list[tuple[int, Outcome]],
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Rows of what became of records, each with its row of the index."""
    taken = index.take([row for row, _ in pending]).combine_chunks()
    answers = [outcome.answer for _, outcome in pending]
    errors = [outcome.error for _, outcome in pending]
    count = len(pending)
    values: dict[str, Any] = {
        "status": ["failed" if error else "succeeded" for error in errors],
        "output_text": [answer.text for answer in answers],
        "embedding": [answer.embedding for answer in answers],
        "tool_use": [_json(answer.tool_use or None) for answer in answers],
        "content_blocks": [_json(answer.content) for answer in answers],
        "raw_output": [outcome.raw for _, outcome in pending],
        "stop_reason": [answer.stop_reason for answer in answers],
        "input_tokens": [answer.input_tokens for answer in answers],
        "output_tokens": [answer.output_tokens for answer in answers],
        "cost_usd": [_float(metadata.cost_of(answer, metadata.asked)) for answer in answers],
        "on_demand_cost_usd": [_float(metadata.cost_of(answer, "on-demand")) for answer in answers],
        "error_code": [error.code if error else None for error in errors],
        "error_message": [error.message if error else None for error in errors],
        "model_id": [metadata.model_id] * count,
        "chunk_key": [metadata.chunk_key] * count,
        "job_arn": [metadata.job_arn] * count,
        "attempt": [metadata.attempt] * count,
        "answered_by": [None] * count,
    }
    for number, column in enumerate(metadata.columns.fields if metadata.columns else ()):
        values[column.name] = [outcome.values and outcome.values[number] for _, outcome in pending]
    columns = [
        taken[field.name].combine_chunks()
        if field.name in taken.column_names
        else pa.array(values[field.name], field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays([_flat(column) for column in columns], schema=schema)


def plain_batch(
    answers: PlainResponses,
    places: npt.NDArray[np.int64],
    costs: tuple[pa.Array, pa.Array],
    index: pa.Table,
    metadata: ChunkMetadata,
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Rows of plain answers.

    Args:
        answers: the answers.
        places: the row of the index of each.
        costs: what each costs as it was asked, and would cost on demand.
        index: the chunk's.
        metadata: what all rows share.
        schema: of the results.
    """
    taken = index.take(pa.array(places)).combine_chunks()
    given: dict[str, pa.Array] = {
        "output_text": answers.texts,
        "stop_reason": answers.stop_reasons,
        "input_tokens": answers.input_tokens,
        "output_tokens": answers.output_tokens,
        "cost_usd": costs[0],
        "on_demand_cost_usd": costs[1],
    }
    same: dict[str, object] = {
        "status": "succeeded",
        "model_id": metadata.model_id,
        "chunk_key": metadata.chunk_key,
        "job_arn": metadata.job_arn,
        "attempt": metadata.attempt,
    }
    columns = []
    for field in schema:
        if field.name in taken.column_names:
            columns.append(_flat(taken[field.name].combine_chunks()))
        elif field.name in given:
            columns.append(given[field.name])
        else:
            columns.append(pa.repeat(pa.scalar(same.get(field.name), field.type), len(places)))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _float(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)


def _flat(column: Any) -> pa.Array:
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
