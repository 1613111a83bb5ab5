"""Rows of the input as records, or as rejected rows with the reason.

Whether record ids are unique is known only over all batches (`duplicates`).
"""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import content_ids, not_utf8, reasons_of, record_ids
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import RowBatch


def classify(
    batch: RowBatch, template: RequestTemplate, record_id: str | None, kept: Sequence[str]
) -> RowBatch:
    """Give every row of a batch its record id, and reject the rows that cannot be sent.

    Without a column `record_id` the ids are derived from the content.

    Returns:
        Rows with `record_id` and the kept columns; all rejected rows, in the order of the input.
    """
    rows, positions = batch.rows, batch.positions
    rejected = list(batch.rejected)
    if broken := not_utf8(rows):  # first, since such a row cannot be read any further
        rejected += [Rejection(positions[row], "row is not UTF-8") for row in broken]
        rows, positions = _without(rows, positions, broken)
    ids, reasons = record_ids(rows[record_id]) if record_id else (content_ids(rows), {})
    reasons = {**reasons_of(rows, template), **reasons}
    rejected += [Rejection(positions[row], reason, ids[row].as_py()) for row, reason in reasons.items()]
    named = pa.RecordBatch.from_arrays([ids, *(rows[name] for name in kept)], names=["record_id", *kept])
    named, positions = _without(named, positions, reasons)
    return RowBatch(named, positions, sorted(rejected, key=lambda rejection: rejection.position))


def _without(
    rows: pa.RecordBatch, positions: Sequence[int], rejected: Collection[int]
) -> tuple[pa.RecordBatch, Sequence[int]]:
    if not rejected:
        return rows, positions
    kept = np.delete(np.arange(rows.num_rows), list(rejected))
    return rows.take(pa.array(kept)), [positions[row] for row in kept]
