"""What `bedrock-pipeline status` shows: one statement for the datasets, one for the chunks of a dataset."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.rows import Budget, ChunkRow, State, WaitingChunks
from bedrock_pipeline.ledger.served_pipelines import RUNNING_WITHIN
from bedrock_pipeline.ledger.status import Status
from bedrock_pipeline.records.packed_chunk import Mode

#: What happens to a submission of which it is not known whether it made a job.
_LOOKED_UP: Final = "its job is looked up in the list of jobs, and it is sent again if there is none"
#: What a launched dataset in one of these states is about to be.
_NEXT: Final = {
    "requested": "Dagster is about to read its input",
    "snapshotted": "its input is read; Dagster is about to pack it into chunks",
}
#: What one in these states waits for that is not launched, and that no run prepares.
_NOT_LAUNCHED: Final = {
    "requested": "it is not launched: materialize input_dataset and batch_chunks in Dagster, or",
    "snapshotted": "its input is read, and it is not launched: materialize batch_chunks in Dagster, or",
}


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """A dataset's current version: its records by outcome, its chunks by status, and what it waits for.

    Attributes:
        state: of the version; a day of a queue is `packed` while a job of it is not final, and `final` until it is published.
        records: records with their duplicates; `answered`, `failed`, `retryable`, and those without an outcome yet.
        duplicates: of them, those that get the response to another record.
        processed: of them, processed by Bedrock.
        answered: records with a response.
        failed: records with a final error.
        failed_by_code: by the code of their error.
        rejected: rows of the input that are not sent.
        retryable: records that wait for a retry round.
        waiting_records: of these, those that wait for an operator, or for more records.
        chunks: their number by status, such as `2 pending, 1 queued`.
        cost_usd: US dollars of the collected chunks; None if there are none, or a price is unknown.
        expected_cost_usd: with the estimates of the others; None if there are no chunks, or a price is unknown.
        results: URI of the published results; None before the first publication.
        why: why chunks wait; None if none waits for a time or an operator.
        until: when the first of the waiting chunks is submitted again, where nothing else holds them; None once that is over.
        next: what happens next by itself; None while Bedrock works, and at the end.
    """

    pipeline: str
    dataset: str
    version: int
    state: State | Literal["final"]
    records: int
    duplicates: int
    processed: int
    answered: int
    failed: int
    failed_by_code: dict[str, int]
    rejected: int
    retryable: int
    waiting_records: int
    chunks: str
    cost_usd: Decimal | None
    expected_cost_usd: Decimal | None
    results: str | None
    why: str | None
    until: datetime | None
    next: str | None

    @property
    def waiting(self) -> str | None:
        """What it waits for, or what happens next; None while Bedrock works, and at the end."""
        return self.why or self.next


@dataclass(frozen=True, slots=True)
class ChunkStatus:
    """A chunk, and what it waits for.

    Attributes:
        chunk: the chunk's key.
        mode: how its records are sent.
        processed: of its records, processed by Bedrock.
        answered: records with a response; None until collected.
        failed_by_code: records with a final error, by its code.
        job: ARN of its job.
        retryable: records that wait for a retry round; None until collected.
        waiting_records: of these, those that wait for an operator, or for more records.
        retried: records that are in a chunk of a later attempt.
        cost_usd: US dollars; None until collected, or if the price is unknown.
        why: why it waits, or what its job's problem was.
        until: when it is submitted again, if it waits for a time; None once that is over.
        next: what happens next by itself; None while Bedrock works, and at the end.
    """

    chunk: str
    status: Status
    mode: Mode
    records: int
    processed: int
    answered: int | None
    failed_by_code: dict[str, int]
    job: str | None
    retryable: int | None
    waiting_records: int
    retried: int
    cost_usd: Decimal | None
    why: str | None
    until: datetime | None
    next: str | None


class StatusReport:
    """Reports over all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def datasets(self, pipeline: str | None = None, limit: int = 50) -> list[DatasetStatus]:
        """The datasets requested last, newest first; None: of all pipelines.

        What was cancelled before anything of it was packed is not among them.
        """
        rows = self._database.fetch(
            _DATASETS,
            {"pipeline": pipeline, "dataset": None, "limit": limit, "running_within": RUNNING_WITHIN},
        )
        return [_dataset_status(row) for row in rows]

    def dataset(self, pipeline: str, dataset: str) -> DatasetStatus | None:
        """One dataset; None if there is none of this key."""
        rows = self._database.fetch(
            _DATASETS,
            {"pipeline": pipeline, "dataset": dataset, "limit": 1, "running_within": RUNNING_WITHIN},
        )
        return _dataset_status(rows[0]) if rows else None

    def unresolved_of_replaced_versions(self) -> list[tuple[str, str]]:
        """Pipeline and key of chunks that need resolution and belong to a version that is not the current one."""
        rows = self._database.fetch(
            """SELECT c.pipeline, c.chunk_key FROM bedrock_pipeline.chunks c
               JOIN bedrock_pipeline.datasets d USING (pipeline, dataset)
               WHERE c.status = 'needs-resolution' AND c.dataset_version < d.version ORDER BY 1, 2"""
        )
        return [(row["pipeline"], row["chunk_key"]) for row in rows]

    def waiting_for_operator(self, pipelines: list[str], most: int = 50) -> dict[str, WaitingChunks]:
        """The chunks of these pipelines that wait for an operator, at most `most` of each by name.

        Those of replaced versions are among them only where they keep a slot.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._database.fetch(_WAITING, {"pipelines": pipelines, "most": most}):
            found.setdefault(row["pipeline"], []).append(row)
        return {
            pipeline: WaitingChunks(rows[0]["count"], tuple((row["chunk_key"], row["why"]) for row in rows))
            for pipeline, rows in found.items()
        }

    def chunks(self, pipeline: str, dataset: str) -> list[ChunkStatus]:
        """The chunks of a dataset's current version, in order."""
        rows = self._database.fetch(_CHUNKS, {"pipeline": pipeline, "dataset": dataset})
        return [_chunk_status(row) for row in rows]


def _dataset_status(row: dict[str, Any]) -> DatasetStatus:
    """An operator's decision comes before what passes with time."""
    why, until = row["state_reason"], None
    forget = (
        f"To take it off the list of datasets: bedrock-pipeline cancel {row['pipeline']} {row['dataset']}"
    )
    if row["state"] == "failed" and row["never_packed"]:
        why = f"{_sentence(why)} {forget}"
    if row["unserved"]:
        why = f"no running code location has a pipeline {row['pipeline']!r}: it waits for one that has."
        why += f" {forget}" if row["never_packed"] else ""
    elif row["publication_rejected"]:
        why = f"{row['publication_rejected']} {_retry(row)}"
    elif row["unresolved"]:
        why = f"waits for an operator, with {row['unresolved']} of its chunks: {_sentence(row['unresolved_reason'])} "
        why += _resolve(row["pipeline"], row["unresolved_key"])
    elif row["for_operator"]:
        why = f"waits for an operator, with {row['for_operator']} of its chunks: {_sentence(row['operator_reason'])} {_retry(row)}"
    elif row["too_few"]:
        why = f"{_sentence(row['too_few_reason'])} {_send(row)}"
    elif row["over_budget"]:
        why = Budget.of(row).reason
    elif row["requeued"]:
        why, until = f"{row['requeued']} requeued: {row['requeue_reason']}", row["until"]
    elif row["backoff_until"]:
        why, until = row["backoff_reason"], row["backoff_until"]
    elif row["state"] in _NOT_LAUNCHED and not row["launch_requested_at"] and not row["preparing"]:
        why = f"{_NOT_LAUNCHED[row['state']]} bedrock-pipeline launch {row['pipeline']} {row['dataset']}"
    if row["launch_failure"]:
        why = " ".join(filter(None, [f"the last launch has failed: {_sentence(row['launch_failure'])}", why]))
    values = row | {"why": why, "until": until, "state": _state(row), "next": _next(row)}
    return DatasetStatus(**{field.name: values[field.name] for field in fields(DatasetStatus)})


def _state(row: dict[str, Any]) -> str:
    """Of a day of a queue, which goes on being packed, what its jobs are."""
    state: str = row["state"]
    if not row["open"] or state not in ("packed", "published"):
        return state
    if row["unfinished"]:
        return "packed"
    return "published" if row["collections"] == row["published_collections"] else "final"


def _next(row: dict[str, Any]) -> str | None:
    """What happens to a dataset where it waits for nothing."""
    if row["launch_requested_at"] and row["state"] in ("packed", "published"):
        return f"it is launched again; Dagster is about to compare its input with version {row['version']}"
    if row["in_doubt"]:
        return f"submissions in doubt: {row['in_doubt']}; {_LOOKED_UP}"
    if row["to_collect"]:
        return f"chunks that have ended: {row['to_collect']}; their responses are about to be read"
    if row["state"] == "packed" and not row["unfinished"] and not row["open"]:
        return "its results are about to be published"
    if not row["launch_requested_at"]:
        return "a run prepares it" if row["state"] in _NEXT and row["preparing"] else None
    of, _, failure = (row["preparation_failure"] or "").partition(": ")
    if row["state"] in _NEXT and of == f"{row['dataset']} v{row['version']}":
        name = failure.partition(":")[0]  # what is behind it may quote a row
        return f"a run that prepared it has failed with {name}, see its log in Dagster; it is tried again"
    return _NEXT.get(row["state"])


def _chunk_status(row: dict[str, Any]) -> ChunkStatus:
    chunk = ChunkRow.of(row)
    why: str | None = row["wait_reason"] or chunk.lasting_problem or chunk.status_message
    until: datetime | None = None
    if chunk.status == "needs-resolution":
        why = f"{_sentence(chunk.status_message)} {_resolve(chunk.pipeline, chunk.chunk_key)}"
    elif row["for_operator"]:
        why = f"{_sentence(row['wait_reason'] or chunk.status_message)} {_retry(row)}"
    elif row["too_few"]:
        why = f"{_sentence(row['wait_reason'] or chunk.status_message)} {_send(row)}"
    elif row["over_budget"]:
        why = Budget.of(row).reason
    elif chunk.requeued_since:
        why, until = chunk.requeue_reason, row["submitted_at"]
    elif row["backoff_until"]:
        why, until = row["backoff_reason"], row["backoff_until"]
    following = None if row["for_operator"] else _next_of_chunk(chunk)
    values = row | {"why": why, "until": until, "next": following, "retryable": row["open_records"]}
    return ChunkStatus(**{field.name: values[field.name] for field in fields(ChunkStatus)})


def _next_of_chunk(chunk: ChunkRow) -> str | None:
    if chunk.status == "in-doubt":
        return _LOOKED_UP
    if chunk.ended:
        return None if chunk.collected_at else "it has ended; its responses are about to be read"
    return "it is cancelled; its job is about to be stopped" if chunk.cancel_requested_at else None


def _sentence(reason: str | None) -> str:
    text = reason or "the reason is unknown"
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def _resolve(pipeline: str, chunk_key: str) -> str:
    """What an operator does who has looked at the jobs of a chunk."""
    command = f"bedrock-pipeline resolve {pipeline} {chunk_key}"
    return f"With the ARN of its job: {command} --job ARN. If it has none: {command} --no-job"


def _send(row: dict[str, Any]) -> str:
    """What an operator does with records that are too few for a job."""
    command = f"bedrock-pipeline retry {row['pipeline']} {row['dataset']} --below-minimum on_demand"
    return f"To send them all the same: {command}"


def _retry(row: dict[str, Any]) -> str:
    """What an operator does where the cause is not the records' own."""
    return f"Once the cause is fixed: bedrock-pipeline retry {row['pipeline']} {row['dataset']}"


_DATASETS = """
    SELECT d.launch_requested_at IS NOT NULL AND NOT EXISTS (
               SELECT FROM bedrock_pipeline.served_pipelines p
               WHERE p.pipeline = d.pipeline AND p.seen_at > bedrock_pipeline.now() - %(running_within)s) AS unserved,
           d.packed_hash IS NULL AND d.publication = 0 AND NOT EXISTS (
               SELECT FROM bedrock_pipeline.chunks c WHERE c.pipeline = d.pipeline AND c.dataset = d.dataset) AS never_packed,
           EXISTS (SELECT FROM bedrock_pipeline.run_leases l
               WHERE (l.kind, l.pipeline, l.subject) = ('prepare', d.pipeline, d.dataset) AND l.state = 'acquired') AS preparing,
           (SELECT l.failure FROM bedrock_pipeline.run_leases l WHERE (l.kind, l.pipeline, l.subject) = ('prepare', d.pipeline, d.dataset)) AS preparation_failure,
           n.in_doubt, n.unresolved, n.unresolved_key, n.unresolved_reason, d.launch_requested_at, d.launch_failure,
           d.open, d.collections, d.published_collections, n.to_collect, n.unfinished,
           d.pipeline, d.dataset, d.version, d.state, d.state_reason, d.publication_rejected, d.results_uri AS results, b.cap_usd, b.committed_usd, b.wanted_usd,
           n.records + d.packed_duplicates AS records, d.packed_duplicates AS duplicates,
           n.processed + d.duplicates_answered + d.duplicates_failed AS processed,
           n.answered + d.duplicates_answered AS answered, n.failed + d.duplicates_failed AS failed,
           coalesce(d.snapshot_rejected, 0) + coalesce(d.packed_rejected, 0) AS rejected,
           e.failed_by_code, n.retryable, n.waiting_records, n.cost_usd, n.expected_cost_usd, n.requeued, n.requeue_reason, n.until, n.backoff_until, n.backoff_reason, n.over_budget, s.chunks,
           CASE WHEN d.cancel_requested_at IS NULL THEN n.for_operator ELSE 0 END AS for_operator, n.operator_reason,
           CASE WHEN d.cancel_requested_at IS NULL THEN n.too_few ELSE 0 END AS too_few, n.too_few_reason
    FROM (SELECT * FROM bedrock_pipeline.current_versions v
          WHERE (%(pipeline)s::text IS NULL OR pipeline = %(pipeline)s)
            AND (dataset = %(dataset)s::text OR %(dataset)s::text IS NULL
              AND NOT (state = 'cancelled' AND packed_hash IS NULL AND publication = 0 AND NOT EXISTS (
                SELECT FROM bedrock_pipeline.chunks c WHERE c.pipeline = v.pipeline AND c.dataset = v.dataset)))
          ORDER BY created_at DESC, pipeline, dataset LIMIT %(limit)s) d
    LEFT JOIN bedrock_pipeline.budgets b USING (pipeline, dataset, version)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(c.records) FILTER (WHERE attempt = 1), 0)::bigint AS records,
               coalesce(sum(CASE WHEN collected_at IS NULL THEN least(coalesce(processed_count, 0), c.records)
                                 ELSE answered + final_errors END), 0)::bigint AS processed,
               coalesce(sum(answered), 0)::bigint AS answered, coalesce(sum(final_errors), 0)::bigint AS failed,
               coalesce(sum(o.records), 0)::bigint AS retryable,
               coalesce(sum(o.records) FILTER (WHERE o.waits_for IS NOT NULL), 0)::bigint AS waiting_records,
               CASE WHEN count(collected_at) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd,
               CASE WHEN count(*) = count(w.usd) THEN sum(w.usd) END AS expected_cost_usd,
               count(*) FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL) AS requeued,
               count(*) FILTER (WHERE h.for_operator) AS for_operator,
               count(*) FILTER (WHERE h.too_few) AS too_few,
               (array_agg(coalesce(o.wait_reason, c.status_message) ORDER BY c.chunk_key) FILTER (WHERE h.too_few))[1] AS too_few_reason,
               count(*) FILTER (WHERE c.status = 'in-doubt') AS in_doubt,
               count(*) FILTER (WHERE c.status = 'needs-resolution') AS unresolved,
               (array_agg(c.chunk_key ORDER BY c.chunk_key) FILTER (WHERE c.status = 'needs-resolution'))[1] AS unresolved_key,
               (array_agg(c.status_message ORDER BY c.chunk_key) FILTER (WHERE c.status = 'needs-resolution'))[1] AS unresolved_reason,
               count(*) FILTER (WHERE c.collected_at IS NULL OR o.chunk_id IS NOT NULL) AS unfinished,
               count(*) FILTER (WHERE c.collected_at IS NULL AND c.ended_at IS NOT NULL AND h.for_operator IS NOT TRUE) AS to_collect,
               (array_agg(coalesce(o.wait_reason, c.status_message) ORDER BY c.chunk_key) FILTER (WHERE h.for_operator))[1] AS operator_reason,
               min(greatest(c.next_attempt_at, g.backoff_until)) FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL
                   AND greatest(c.next_attempt_at, g.backoff_until) > bedrock_pipeline.now()) AS until,
               max(g.backoff_until) AS backoff_until,
               (array_agg(g.backoff_reason ORDER BY g.backoff_until DESC NULLS LAST))[1] AS backoff_reason,
               (array_agg(requeue_reason ORDER BY next_attempt_at)
                   FILTER (WHERE c.status = 'pending' AND requeued_since IS NOT NULL))[1] AS requeue_reason,
               coalesce(bool_or(b.cap_usd IS NOT NULL AND c.status = 'pending' AND c.mode IN ('batch', 'on-demand')
                   AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE),
                   false) AS over_budget
        FROM bedrock_pipeline.chunks c
        LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
        LEFT JOIN bedrock_pipeline.quota_groups g ON g.quota_group = c.quota_group
            AND g.backoff_until > bedrock_pipeline.now() AND c.status = 'pending' AND c.mode = 'batch'
        CROSS JOIN LATERAL (SELECT c.collected_at IS NULL AND c.status = 'failed' AND c.job_arn IS NULL OR o.waits_for = 'operator' AS for_operator,
                                   c.status = 'pending' AND c.mode = 'waiting' OR o.waits_for = 'minimum' AS too_few) h
        CROSS JOIN LATERAL (SELECT CASE WHEN c.status = 'pending' THEN c.estimated_cost_usd ELSE bedrock_pipeline.taken_usd(c) END AS usd) w
        WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)) n
    CROSS JOIN LATERAL (
        SELECT coalesce(string_agg(g.count || ' ' || g.status, ', ' ORDER BY g.status), '') AS chunks
        FROM (SELECT status, count(*) FROM bedrock_pipeline.chunks c
              WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
              GROUP BY status) g) s
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(g.code, g.records), '{}') AS failed_by_code
        FROM (SELECT f.code, sum(f.records::bigint) AS records
              FROM (SELECT c.final_by_code AS by_code FROM bedrock_pipeline.chunks c
                    WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                    UNION ALL SELECT d.duplicates_failed_by_code) a
              CROSS JOIN LATERAL jsonb_each_text(a.by_code) f(code, records)
              GROUP BY f.code) g) e
    ORDER BY d.created_at DESC, d.pipeline, d.dataset"""

_CHUNKS = """
    SELECT c.*, c.chunk_key AS chunk,
           CASE WHEN greatest(c.next_attempt_at, g.backoff_until) > bedrock_pipeline.now()
                THEN greatest(c.next_attempt_at, g.backoff_until) END AS submitted_at,
           c.job_arn AS job, c.final_by_code AS failed_by_code,
           CASE WHEN c.collected_at IS NULL THEN least(coalesce(c.processed_count, 0), c.records)
                ELSE c.answered + c.final_errors END AS processed,
           (c.collected_at IS NULL AND c.status = 'failed' AND c.job_arn IS NULL OR o.waits_for = 'operator') IS TRUE AND d.cancel_requested_at IS NULL AS for_operator,
           (c.status = 'pending' AND c.mode = 'waiting' OR o.waits_for = 'minimum') IS TRUE AND d.cancel_requested_at IS NULL AS too_few,
           CASE WHEN c.collected_at IS NOT NULL THEN coalesce(o.records, 0) END AS open_records,
           CASE WHEN o.waits_for IS NULL THEN 0 ELSE o.records END AS waiting_records,
           coalesce(c.retryable, 0) - coalesce(o.records, 0) AS retried, o.wait_reason, g.backoff_until, g.backoff_reason, b.version, b.cap_usd, b.committed_usd, b.wanted_usd,
           b.cap_usd IS NOT NULL AND c.status = 'pending' AND c.mode IN ('batch', 'on-demand')
               AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE
               AS over_budget
    FROM bedrock_pipeline.current_versions d
    JOIN bedrock_pipeline.chunks c ON (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
    LEFT JOIN bedrock_pipeline.budgets b ON (b.pipeline, b.dataset, b.version) = (d.pipeline, d.dataset, d.version)
    LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
    LEFT JOIN bedrock_pipeline.quota_groups g ON g.quota_group = c.quota_group
        AND g.backoff_until > bedrock_pipeline.now() AND c.status = 'pending' AND c.mode = 'batch'
    WHERE d.pipeline = %(pipeline)s AND d.dataset = %(dataset)s
    ORDER BY c.attempt, c.sequence"""

_WAITING = """
    WITH waiting AS (
        SELECT c.pipeline, c.dataset, c.dataset_version AS version, c.chunk_key, c.status, c.status_message AS why
        FROM bedrock_pipeline.chunks c
        WHERE c.collected_at IS NULL AND c.pipeline = ANY(%(pipelines)s)
          AND (c.status = 'needs-resolution' OR c.status = 'failed' AND c.job_arn IS NULL)
        UNION ALL
        SELECT c.pipeline, c.dataset, c.dataset_version, c.chunk_key, c.status, o.wait_reason
        FROM bedrock_pipeline.retryable_records o JOIN bedrock_pipeline.chunks c USING (chunk_id)
        WHERE o.retried_at IS NULL AND o.waits_for = 'operator' AND c.pipeline = ANY(%(pipelines)s)),
    numbered AS (
        SELECT w.*, count(*) OVER (PARTITION BY w.pipeline) AS count,
               row_number() OVER (PARTITION BY w.pipeline ORDER BY w.chunk_key) AS number
        FROM waiting w JOIN bedrock_pipeline.current_versions d USING (pipeline, dataset)
        WHERE w.status = 'needs-resolution' OR w.version = d.version AND d.cancel_requested_at IS NULL)
    SELECT pipeline, chunk_key, why, count FROM numbered WHERE number <= %(most)s ORDER BY pipeline, number"""
