"""Rows of the input into rows of a dataset: with a record id, or rejected with the reason.

What belongs here: one batch at a time, by the rules of `ids` and of the request. That ids are unique is found out
over all batches (`seen`, `duplicates`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.column_rules import content_ids, not_utf8, reasons_of, record_ids
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import IntakeBatch


def identified(
    batch: IntakeBatch, template: RequestTemplate, record_id: str | None, kept: Sequence[str]
) -> IntakeBatch:
    """Give every row of a batch its record id, and leave out what cannot be asked.

    Args:
        batch: some rows of the input.
        template: what is asked of every row.
        record_id: column with the ids; None derives them from the content.
        kept: the columns to keep beside `record_id`.

    Returns:
        Rows with `record_id` and the kept columns; and the rows left out, here or before.
    """
    rows = batch.rows
    positions = batch.positions
    reasons: dict[int, str] = dict.fromkeys(not_utf8(rows), "row is not UTF-8")
    rejected = [*batch.rejected, *(Rejection(positions[row], reason) for row, reason in reasons.items())]
    rows, positions = _without(rows, positions, reasons)
    ids, reasons = record_ids(rows[record_id]) if record_id else (content_ids(rows), {})
    rejected += [Rejection(positions[row], reason) for row, reason in reasons.items()]
    named = _named(rows, ids, kept)
    named, positions = _without(named, positions, reasons)
    reasons = reasons_of(named, template)
    ids = named["record_id"]
    rejected += [Rejection(positions[row], reason, ids[row].as_py()) for row, reason in reasons.items()]
    named, positions = _without(named, positions, reasons)
    return IntakeBatch(named, positions, _in_order(rejected))


def distinct(one: IntakeBatch, later: Mapping[int, int], *, derived: bool) -> IntakeBatch:
    """The rows with record ids that differ: derived ids get a counter, of others the first occurrence stays.

    Args:
        one: some rows with their record ids.
        later: rows whose record id occurred before, and the how-manieth occurrence each is (from 2).
        derived: whether the ids were derived from the content.
    """
    if not later:
        return one
    ids = one.rows["record_id"].to_pylist()
    if derived:
        for row, occurrence in later.items():
            ids[row] = f"{ids[row]}-{occurrence}"
        others = {name: one.rows[name] for name in one.rows.schema.names if name != "record_id"}
        rows = pa.RecordBatch.from_pydict({"record_id": pa.array(ids, pa.string()), **others})
        return IntakeBatch(rows, one.positions, one.rejected)
    doubled = [Rejection(one.positions[row], "record id occurred before", ids[row]) for row in later]
    rows, positions = _without(one.rows, one.positions, later)
    return IntakeBatch(rows, positions, _in_order([*one.rejected, *doubled]))


def _in_order(rejected: list[Rejection]) -> list[Rejection]:
    return sorted(rejected, key=lambda one: one.position)


def _named(rows: pa.RecordBatch, ids: pa.Array, kept: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([ids, *(rows[name] for name in kept)], names=["record_id", *kept])


def _without(
    rows: pa.RecordBatch, positions: Sequence[int], left_out: Mapping[int, object]
) -> tuple[pa.RecordBatch, Sequence[int]]:
    if not left_out:
        return rows, positions
    kept = np.delete(np.arange(rows.num_rows), list(left_out))
    return rows.take(pa.array(kept)), [positions[row] for row in kept]
