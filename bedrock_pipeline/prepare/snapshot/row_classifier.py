"""Rows of the input as records, or as rejected rows with the reason.

Whether record ids are unique is known only over all batches (`duplicates`).
"""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa

from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import content_ids, not_utf8, reasons_of, record_ids
from bedrock_pipeline.prepare.snapshot.records_batch import Records, taken
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import RowBatch


def classify(
    batch: RowBatch,
    template: RequestTemplate,
    record_id: str | None,
    kept: Sequence[str],
    *,
    digest_long_ids: bool = False,
) -> Records:
    """Give every row of a batch its record id, and reject the rows that cannot be sent.

    Without a column `record_id` the ids are derived from the content. With `digest_long_ids` an id that is too long is
    replaced by a digest rather than its row rejected.

    Returns:
        The records with the kept columns; all rejected rows, in the order of the input.
    """
    rows, positions = batch.rows, batch.positions
    rejected = list(batch.rejected)
    if broken := not_utf8(rows):  # first, since such a row cannot be read any further
        rejected += [Rejection(positions[row], "row is not UTF-8") for row in broken]
        others = _others(rows.num_rows, broken)
        rows, positions = taken(rows, others), [positions[row] for row in others]
    ids, reasons = (
        record_ids(rows[record_id], digest_longer=digest_long_ids)
        if record_id is not None
        else (content_ids(rows), {})
    )
    reasons = {**reasons_of(rows, template), **reasons}
    rejected += [Rejection(positions[row], reason, ids[row].as_py()) for row, reason in reasons.items()]
    rejected.sort(key=lambda rejection: rejection.position)
    rows = rows.select(list(kept))
    if not reasons:
        return Records(ids, rows, positions, rejected)
    others = _others(len(ids), reasons)
    return Records(
        ids.take(pa.array(others, pa.int64())),
        taken(rows, others),
        [positions[row] for row in others],
        rejected,
    )


def _others(rows: int, without: Collection[int]) -> list[int]:
    return [int(row) for row in np.delete(np.arange(rows), list(without))]
