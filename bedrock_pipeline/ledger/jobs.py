"""Jobs at Bedrock, as the last poll saw them.

What belongs here: the statements that read which jobs are in flight and that record what List showed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import AT_BEDROCK, ENDED, RANK, Status

_RANKS = json.dumps(RANK)


@dataclass(frozen=True, slots=True)
class InFlight:
    """A job that has not ended, as far as the ledger knows."""

    chunk_id: UUID
    pipeline: str
    chunk_key: str
    job_arn: str
    status: Status
    submitted_at: datetime
    cancel_requested_at: datetime | None


@dataclass(frozen=True, slots=True)
class Observation:
    """A job as Bedrock showed it. Counts are None before processing has begun: Bedrock's 0 means nothing then."""

    job_arn: str
    status: Status
    message: str | None
    total: int | None
    processed: int | None
    succeeded: int | None
    errors: int | None


class Jobs:
    """The jobs of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def in_flight(self) -> list[InFlight]:
        """Every job that has not ended, whatever pipeline it is of, oldest first: each holds a slot."""
        rows = self._database.fetch(
            """SELECT chunk_id, pipeline, chunk_key, job_arn, status, submitted_at, cancel_requested_at
               FROM bedrock_pipeline.chunks
               WHERE status <> 'pending' AND ended_at IS NULL AND job_arn IS NOT NULL
               ORDER BY submitted_at"""
        )
        return [InFlight(**row) for row in rows]

    def observe(self, observations: Sequence[Observation]) -> list[ChunkRow]:
        """Record what changed, in one statement; a status that goes backwards is ignored.

        Returns:
            The chunks whose status or counts changed.
        """

        def work(connection: Connection) -> list[ChunkRow]:
            rows = connection.execute(
                """UPDATE bedrock_pipeline.chunks c
                   SET status = v.status, status_message = coalesce(v.message, c.status_message),
                       status_changed_at = CASE WHEN c.status = v.status THEN c.status_changed_at ELSE bedrock_pipeline.now() END,
                       ended_at = CASE WHEN v.status = ANY(%(ended)s) THEN bedrock_pipeline.now() END,
                       total_count = coalesce(v.total, c.total_count),
                       processed_count = coalesce(v.processed, c.processed_count),
                       success_count = coalesce(v.succeeded, c.success_count),
                       error_count = coalesce(v.errors, c.error_count)
                   FROM unnest(%(arns)s::text[], %(statuses)s::text[], %(messages)s::text[], %(ranks)s::int[],
                               %(totals)s::bigint[], %(processed)s::bigint[], %(succeeded)s::bigint[], %(errors)s::bigint[])
                        AS v(arn, status, message, rank, total, processed, succeeded, errors)
                   WHERE c.job_arn = v.arn AND c.status = ANY(%(at_bedrock)s)
                     AND v.rank >= (%(rank_of)s::jsonb ->> c.status)::int
                     AND (c.status, c.total_count, c.processed_count, c.success_count, c.error_count)
                         IS DISTINCT FROM (v.status, coalesce(v.total, c.total_count), coalesce(v.processed, c.processed_count),
                                           coalesce(v.succeeded, c.success_count), coalesce(v.errors, c.error_count))
                   RETURNING c.*""",
                {
                    "ended": list(ENDED),
                    "at_bedrock": list(AT_BEDROCK),
                    "rank_of": _RANKS,
                    "arns": [seen.job_arn for seen in observations],
                    "statuses": [seen.status for seen in observations],
                    "messages": [seen.message for seen in observations],
                    "ranks": [RANK[seen.status] for seen in observations],
                    "totals": [seen.total for seen in observations],
                    "processed": [seen.processed for seen in observations],
                    "succeeded": [seen.succeeded for seen in observations],
                    "errors": [seen.errors for seen in observations],
                },
            ).fetchall()
            return [ChunkRow.of(row) for row in rows]

        return self._database.transaction(work) if observations else []

    def known(self, job_arns: list[str]) -> set[str]:
        """Those of these jobs that belong to a chunk."""
        rows = self._database.fetch(
            "SELECT job_arn FROM bedrock_pipeline.chunks WHERE job_arn = ANY(%s)", (job_arns,)
        )
        return {row["job_arn"] for row in rows}

    def record_reached(self, region: str, error: str | None) -> None:
        """Record whether the jobs of a region could be listed; None: they could."""
        if error is None:
            self._database.execute(
                "DELETE FROM bedrock_pipeline.unreachable_regions WHERE region = %s", (region,)
            )
        else:
            self._database.execute(
                """INSERT INTO bedrock_pipeline.unreachable_regions (region, error) VALUES (%s, %s)
                   ON CONFLICT (region) DO UPDATE SET error = excluded.error""",
                (region, error),
            )

    def unreachable_regions(self) -> list[dict[str, Any]]:
        """Regions whose jobs could not be listed at the last poll: `region`, `since`, `error`."""
        return self._database.fetch("SELECT * FROM bedrock_pipeline.unreachable_regions ORDER BY region")

    def backoffs(self) -> list[dict[str, object]]:
        """Quota groups in backoff: why, and until when."""
        return self._database.fetch(
            """SELECT quota_group, backoff_until, backoff_reason, throttles FROM bedrock_pipeline.quota_groups
               WHERE backoff_until > bedrock_pipeline.now() ORDER BY quota_group"""
        )

    def counts(self, pipelines: list[str]) -> list[dict[str, object]]:
        """Chunks that are not collected yet, counted by pipeline, dataset and status."""
        return self._database.fetch(
            """SELECT pipeline, dataset, status, count(*) AS chunks, sum(records)::bigint AS records,
                      coalesce(sum(processed_count), 0)::bigint AS processed
               FROM bedrock_pipeline.chunks WHERE collected_at IS NULL AND pipeline = ANY(%s)
               GROUP BY pipeline, dataset, status ORDER BY pipeline, dataset, status""",
            (pipelines,),
        )
