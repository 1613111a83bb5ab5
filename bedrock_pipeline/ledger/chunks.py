"""Chunks: entered, found, collected.

What belongs here: the statements on chunks that neither submit nor poll.
"""

from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.quota_groups import ensure_groups
from bedrock_pipeline.ledger.rows import ChunkRow, NewChunk
from bedrock_pipeline.records.tally import Tally


class Chunks:
    """The chunks of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_key(self, pipeline: str, chunk_key: str) -> ChunkRow:
        """The chunk of a Dagster partition.

        Raises:
            NotFoundError: the ledger has no such chunk (its dataset may have been packed again).
        """
        found = self._database.fetch(
            "SELECT * FROM bedrock_pipeline.chunks WHERE pipeline = %s AND chunk_key = %s",
            (pipeline, chunk_key),
        )
        if not found:
            raise NotFoundError(
                f"Pipeline {pipeline!r} has no chunk {chunk_key!r}.",
                "Materialize batch_chunks of its dataset first.",
            )
        return ChunkRow.of(found[0])

    def has(self, pipeline: str, chunk_key: str) -> bool:
        """Whether a pipeline has a chunk of this key."""
        return bool(
            self._database.fetch(
                "SELECT FROM bedrock_pipeline.chunks WHERE pipeline = %s AND chunk_key = %s",
                (pipeline, chunk_key),
            )
        )

    def of_dataset(self, pipeline: str, dataset: str, version: int) -> list[ChunkRow]:
        """The chunks of one version of a dataset, in order."""
        rows = self._database.fetch(
            """SELECT * FROM bedrock_pipeline.chunks
               WHERE pipeline = %s AND dataset = %s AND dataset_version = %s ORDER BY attempt, sequence""",
            (pipeline, dataset, version),
        )
        return [ChunkRow.of(row) for row in rows]

    def of_pipeline(self, pipeline: str, *, after: str, limit: int) -> list[ChunkRow]:
        """The chunks of the current versions of a pipeline's datasets, in the order of keys, from the first one after a key on."""
        rows = self._database.fetch(
            """SELECT c.* FROM bedrock_pipeline.chunks c
               JOIN bedrock_pipeline.datasets d
                 ON (d.pipeline, d.dataset, d.version) = (c.pipeline, c.dataset, c.dataset_version)
               WHERE c.pipeline = %s AND c.chunk_key > %s ORDER BY c.chunk_key LIMIT %s""",
            (pipeline, after, limit),
        )
        return [ChunkRow.of(row) for row in rows]

    def by_id(self, chunk_id: UUID) -> ChunkRow | None:
        """A chunk by its UUID; None if it does not exist."""
        found = self._database.fetch("SELECT * FROM bedrock_pipeline.chunks WHERE chunk_id = %s", (chunk_id,))
        return ChunkRow.of(found[0]) if found else None

    def to_collect(self, pipelines: list[str], limit: int) -> list[ChunkRow]:
        """Chunks that ended and whose results have not been read, first ended first.

        Those that a run works on, or has failed at, come after the others, so that they keep none of them waiting.
        A chunk whose submission was rejected is not among them: it has no job, and waits for an operator.
        """
        rows = self._database.fetch(
            """SELECT c.* FROM bedrock_pipeline.chunks c
               LEFT JOIN bedrock_pipeline.run_leases l
                 ON (l.kind, l.pipeline, l.subject) = ('collect', c.pipeline, c.chunk_key)
               WHERE c.ended_at IS NOT NULL AND c.collected_at IS NULL AND c.pipeline = ANY(%s)
                 AND (c.job_arn IS NOT NULL OR c.status = 'stopped' OR c.mode = 'on-demand' AND c.status = 'completed')
               ORDER BY l.expires_at NULLS FIRST, c.ended_at LIMIT %s""",
            (pipelines, limit),
        )
        return [ChunkRow.of(row) for row in rows]

    def requeued(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Requeued chunks, by pipeline and dataset: `count`, `why`, `since`, `until`."""
        rows = self._database.fetch(
            """SELECT pipeline, dataset, count(*) AS count, min(requeued_since) AS since,
                      min(next_attempt_at) AS until,
                      (array_agg(requeue_reason ORDER BY next_attempt_at))[1] AS why
               FROM bedrock_pipeline.chunks WHERE status = 'pending' AND requeued_since IS NOT NULL
               GROUP BY pipeline, dataset"""
        )
        return {(row.pop("pipeline"), row.pop("dataset")): row for row in rows}

    def is_final(self, chunk_id: UUID) -> bool:
        """Whether every record of a chunk of attempt 1 has its response or final error, in any attempt."""
        unsettled = self._database.fetch(
            """SELECT FROM bedrock_pipeline.chunks c
               LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
               WHERE (c.chunk_id = %(chunk)s OR c.chunk_id IN (
                        SELECT chunk_id FROM bedrock_pipeline.chunk_origins WHERE origin_id = %(chunk)s))
                 AND (c.collected_at IS NULL OR o.chunk_id IS NOT NULL) LIMIT 1""",
            {"chunk": chunk_id},
        )
        return not unsettled

    def record_collected(
        self,
        chunk_id: UUID,
        fence: int,
        tally: Tally,
        *,
        parsed_uri: str,
        problem: str | None = None,
        waits_for_operator: str | None = None,
    ) -> bool:
        """Record results that are complete in S3.

        Args:
            chunk_id: the chunk.
            fence: its fencing token when they were read.
            tally: how its records ended.
            parsed_uri: folder of its parts and its retryable records.
            problem: what an operator must know; None if all is well.
            waits_for_operator: why an operator must decide before the retryable records are retried.

        Returns:
            False if results were recorded before, or the chunk has adopted another job since these were read.
        """

        def work(connection: Connection) -> bool:
            recorded = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET collected_at = bedrock_pipeline.now(), parsed_uri = %(parsed_uri)s, problem = %(problem)s,
                       answered = %(answered)s, final_errors = %(final_errors)s, retryable = %(retryable)s,
                       final_by_code = %(final_by_code)s,
                       input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s, cost_usd = %(cost_usd)s,
                       on_demand_cost_usd = %(on_demand_cost_usd)s
                   WHERE chunk_id = %(chunk)s AND fence = %(fence)s AND ended_at IS NOT NULL AND collected_at IS NULL""",
                {
                    **asdict(tally),
                    "final_by_code": Jsonb(dict(tally.final_by_code)),
                    "chunk": chunk_id,
                    "fence": fence,
                    "parsed_uri": parsed_uri,
                    "problem": problem,
                },
            )
            if recorded.rowcount != 1:
                return False
            if tally.retryable:
                connection.execute(
                    """INSERT INTO bedrock_pipeline.retryable_records (chunk_id, records, waits_for, wait_reason)
                       VALUES (%s, %s, %s, %s)""",
                    (
                        chunk_id,
                        tally.retryable,
                        "operator" if waits_for_operator else None,
                        waits_for_operator,
                    ),
                )
            if tally.retryable and waits_for_operator:
                connection.execute(
                    """INSERT INTO bedrock_pipeline.events
                           (pipeline, dataset, chunk_id, status, previous, fence, job_arn, message)
                       SELECT pipeline, dataset, chunk_id, 'waiting', status, fence, job_arn, %s
                       FROM bedrock_pipeline.chunks WHERE chunk_id = %s""",
                    (waits_for_operator, chunk_id),
                )
            connection.execute(
                "UPDATE bedrock_pipeline.on_demand_calls SET answer = NULL WHERE chunk_id = %s", (chunk_id,)
            )
            return True

        return self._database.transaction(work)


def lock_groups(connection: Connection, chunks: Sequence[NewChunk]) -> None:
    """Lock the quota groups of chunks that will be entered, before their dataset, in the order of an intent."""
    connection.execute(
        "SELECT FROM bedrock_pipeline.quota_groups WHERE quota_group = ANY(%s) ORDER BY quota_group FOR UPDATE",
        ([chunk.quota_group for chunk in chunks],),
    )


def insert_chunks(
    connection: Connection,
    pipeline: str,
    dataset: str,
    version: int,
    chunks: Sequence[NewChunk],
    max_jobs: int | None,
) -> None:
    """Enter chunks in the caller's transaction; those of mode `none` have ended."""
    ensure_groups(connection, chunks)
    [clock] = connection.execute("SELECT bedrock_pipeline.now() AS now").fetchall()
    with connection.cursor() as cursor:
        with cursor.copy(
            """COPY bedrock_pipeline.chunks
               (chunk_id, pipeline, dataset, dataset_version, attempt, sequence, chunk_key, records, bytes, files,
                content_hash, index_uri, model_id, quota_group, max_jobs, request, settings_digest, mode, status_message, status, ended_at,
                guessed_input_tokens, guessed_output_tokens, estimated_input_tokens, estimated_output_tokens,
                estimated_cost_usd) FROM STDIN"""
        ) as copy:
            for chunk in chunks:
                copy.write_row(
                    (
                        chunk.chunk_id,
                        pipeline,
                        dataset,
                        version,
                        chunk.attempt,
                        chunk.sequence,
                        chunk.chunk_key,
                        chunk.records,
                        chunk.bytes,
                        Jsonb([asdict(file) for file in chunk.files]),
                        chunk.content_hash,
                        chunk.index_uri,
                        chunk.model_id,
                        chunk.quota_group,
                        max_jobs,
                        Jsonb(chunk.request),
                        chunk.settings_digest,
                        chunk.mode,
                        chunk.why,
                        "stopped" if chunk.mode == "none" else "pending",
                        clock["now"] if chunk.mode == "none" else None,
                        *(astuple(chunk.estimate) if chunk.estimate else (None,) * 5),
                    )
                )
        cursor.executemany(
            "INSERT INTO bedrock_pipeline.chunk_origins (chunk_id, origin_id) VALUES (%s, %s)",
            [(chunk.chunk_id, origin) for chunk in chunks for origin in chunk.origins],
        )


def estimate_again(connection: Connection, chunks: list[NewChunk]) -> None:
    """Replace the estimates of chunks that were entered without a cost."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """UPDATE bedrock_pipeline.chunks
               SET guessed_input_tokens = %s, guessed_output_tokens = %s, estimated_input_tokens = %s,
                   estimated_output_tokens = %s, estimated_cost_usd = %s
               WHERE chunk_id = %s AND collected_at IS NULL AND estimated_cost_usd IS NULL""",
            [(*astuple(chunk.estimate), chunk.chunk_id) for chunk in chunks if chunk.estimate],
        )
