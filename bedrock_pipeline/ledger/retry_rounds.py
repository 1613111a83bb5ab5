"""Retry rounds: retryable records, and the chunks that they become.

What belongs here: the statements on table `retryable`, and entering the chunks of a later round. Retryable records are open
from when their chunk was collected until they were retried; waiting ones wait for an operator, or for more records.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal
from uuid import UUID

from bedrock_pipeline.ledger.chunks import insert_chunks, lock_groups
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import ChunkRow, DatasetRow, NewChunk
from bedrock_pipeline.ledger.versions import lock_dataset

#: How long the retryable records of a queue's job wait for those of others, to be asked together.
POOL = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class RetryableRecords:
    """The open retryable records of one chunk.

    Attributes:
        waits_for: `operator` if an operator must decide, `minimum` if they are too few; None if neither.
        origins: the chunks of attempt 1 that their chunk has records of.
        cancelled: of these, the jobs of a queue that are cancelled, or all if the records are; they are not sent again.
    """

    chunk: ChunkRow
    records: int
    waits_for: Literal["operator", "minimum"] | None
    wait_reason: str | None
    origins: frozenset[UUID]
    cancelled: frozenset[UUID]


class RetryRounds:
    """The retryable records of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, pipelines: list[str], limit: int) -> list[DatasetRow]:
        """Datasets whose every chunk is collected and that have retryable records which do not wait.

        Those that a run works on, or has failed at, come last.

        Those of a cancelled dataset or job do not wait, whenever it was cancelled: they end as final errors. A queue's
        dataset gets ever more chunks, so its retryable records wait for those of others no longer than `POOL`.
        """
        rows = self._database.fetch(
            """SELECT d.* FROM bedrock_pipeline.current_versions d JOIN (
                   SELECT c.pipeline, c.dataset, c.dataset_version AS version, min(c.collected_at) AS since,
                          bool_or(bedrock_pipeline.has_cancelled_job(c.chunk_id)) AS cancelled
                   FROM bedrock_pipeline.retryable_records o JOIN bedrock_pipeline.chunks c USING (chunk_id)
                   JOIN bedrock_pipeline.current_versions d USING (pipeline, dataset)
                   WHERE o.retried_at IS NULL AND (o.waits_for IS NULL OR o.cancel_requested_at IS NOT NULL OR d.cancel_requested_at IS NOT NULL
                                                   OR bedrock_pipeline.has_cancelled_job(c.chunk_id))
                   GROUP BY c.pipeline, c.dataset, c.dataset_version
               ) AS ready USING (pipeline, dataset, version)
               LEFT JOIN bedrock_pipeline.run_leases l
                 ON (l.kind, l.pipeline, l.subject) = ('retry', d.pipeline, d.dataset)
               WHERE d.pipeline = ANY(%s) AND (
                   d.open AND (ready.cancelled OR ready.since <= bedrock_pipeline.now() - %s)
                   OR NOT EXISTS (
                     SELECT FROM bedrock_pipeline.chunks c
                     WHERE (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                       AND c.collected_at IS NULL))
               ORDER BY l.expires_at NULLS FIRST, d.packed_at, d.pipeline, d.dataset LIMIT %s""",
            (pipelines, POOL, limit),
        )
        return [DatasetRow.of(row) for row in rows]

    def open_of(self, pipeline: str, dataset: str, version: int) -> list[RetryableRecords]:
        """The open retryable records of one version of a dataset, in the order of their chunks."""
        rows = self._database.fetch(
            """SELECT c.*, o.records AS retryable, o.waits_for, o.wait_reason, n.origins, n.cancelled
               FROM bedrock_pipeline.retryable_records o JOIN bedrock_pipeline.chunks c USING (chunk_id)
               CROSS JOIN LATERAL (
                   SELECT array_agg(own.id) AS origins,
                          coalesce(array_agg(own.id) FILTER (
                              WHERE coalesce(o.cancel_requested_at, j.cancel_requested_at) IS NOT NULL), '{}') AS cancelled
                   FROM (SELECT c.chunk_id AS id WHERE c.attempt = 1 UNION ALL
                         SELECT origin_id FROM bedrock_pipeline.chunk_origins WHERE chunk_id = c.chunk_id) own
                   LEFT JOIN bedrock_pipeline.queue_jobs j ON j.chunk_id = own.id) n
               WHERE o.retried_at IS NULL AND c.pipeline = %s AND c.dataset = %s AND c.dataset_version = %s
               ORDER BY c.attempt, c.sequence""",
            (pipeline, dataset, version),
        )
        return [
            RetryableRecords(
                ChunkRow.of(row),
                row["retryable"],
                row["waits_for"],
                row["wait_reason"],
                frozenset(row["origins"]),
                frozenset(row["cancelled"]),
            )
            for row in rows
        ]

    def next_sequence(self, pipeline: str, dataset: str, version: int, number: int) -> int:
        """The sequence of the next chunk of an attempt."""
        [row] = self._database.fetch(
            """SELECT coalesce(max(sequence) + 1, 0) AS next FROM bedrock_pipeline.chunks
               WHERE pipeline = %s AND dataset = %s AND dataset_version = %s AND attempt = %s""",
            (pipeline, dataset, version, number),
        )
        found: int = row["next"]
        return found

    def hold(self, row: DatasetRow, retryable: list[RetryableRecords], reason: str) -> None:
        """Let records that are too few for a job wait for an operator, or for more records.

        Nothing is changed where an operator has decided otherwise since the dataset and its records were read.

        Args:
            row: the dataset as it was read before the records.
            retryable: what waits.
            reason: one sentence for an operator.
        """

        def work(connection: Connection) -> None:
            if _is_as_read(row, lock_dataset(connection, row.pipeline, row.dataset)):
                connection.execute(
                    """UPDATE bedrock_pipeline.retryable_records SET waits_for = 'minimum', wait_reason = %s
                       WHERE chunk_id = ANY(%s) AND retried_at IS NULL""",
                    (reason, [one.chunk.chunk_id for one in retryable]),
                )

        self._database.transaction(work)

    def enter(
        self,
        read: DatasetRow,
        *,
        retryable: list[RetryableRecords],
        chunks: list[NewChunk],
        cancelled: Sequence[NewChunk] = (),
        stopped: bool = False,
        max_jobs: int | None = None,
    ) -> bool:
        """Enter the chunks that these retryable records became, all at once.

        If the dataset was cancelled, nothing is sent: its records end with the final error `cancelled`.

        Args:
            read: the dataset as it was read before the records.
            retryable: what was retried; all of it is in `chunks` and `cancelled`.
            chunks: uploaded, in order.
            cancelled: after these, those with the records of cancelled jobs, which are not sent.
            stopped: whether `chunks` are entered as stopped, so that their records wait for an operator as before.
            max_jobs: of the pipeline in the quota group at once; None: no limit of its own.

        Returns:
            False where another process has done so before, the retryable records changed meanwhile, a job was cancelled,
            a round of other records has taken a place of these chunks, an operator has decided otherwise, or the dataset
            has a new version.
        """
        pipeline, dataset = read.pipeline, read.dataset
        sources = [one.chunk.chunk_id for one in retryable]

        def work(connection: Connection) -> bool:
            lock_groups(connection, [*chunks, *cancelled])
            row = lock_dataset(connection, pipeline, dataset)
            if not _is_as_read(read, row):
                return False
            marked = connection.execute(
                """UPDATE bedrock_pipeline.retryable_records o
                   SET retried_at = bedrock_pipeline.now(), waits_for = NULL, wait_reason = NULL
                   FROM unnest(%s::uuid[], %s::text[]) AS r (chunk_id, waits_for)
                   WHERE o.chunk_id = r.chunk_id AND o.retried_at IS NULL
                     AND o.waits_for IS NOT DISTINCT FROM r.waits_for""",
                (sources, [one.waits_for for one in retryable]),
            )
            if marked.rowcount == 0:
                return False
            if marked.rowcount != len(sources):
                raise _RetryableChangedError
            if _is_taken(connection, pipeline, [*chunks, *cancelled]):
                raise _RetryableChangedError
            sending = [one.chunk.chunk_id for one in retryable if one.origins != one.cancelled]
            if _has_cancelled_job(connection, chunks) or _cancelled_since(connection, sending):
                raise _RetryableChangedError
            sent, ended = chunks, list(cancelled)
            if row.cancel_requested_at is not None:
                sent, ended = [], [*chunks, *cancelled]
            ended = [replace(chunk, mode="none", why="cancelled") for chunk in ended]
            insert_chunks(
                connection,
                pipeline,
                dataset,
                read.version,
                [*sent, *ended],
                max_jobs,
            )
            connection.execute(
                """UPDATE bedrock_pipeline.chunks SET cancel_requested_at = bedrock_pipeline.now()
                   WHERE chunk_id = ANY(%s)""",
                ([chunk.chunk_id for chunk in ended],),
            )
            if stopped and sent:
                connection.execute(
                    """UPDATE bedrock_pipeline.chunks
                       SET status = 'stopped', ended_at = bedrock_pipeline.now(), status_message = %s
                       WHERE chunk_id = ANY(%s)""",
                    (retryable[0].wait_reason, [chunk.chunk_id for chunk in sent]),
                )
            return True

        try:
            return self._database.transaction(work)
        except _RetryableChangedError:
            return False


def _is_as_read(read: DatasetRow, now: DatasetRow) -> bool:
    """Whether a dataset has neither a new version nor another policy for what is too little for a job."""
    return (read.version, read.below_minimum) == (now.version, now.below_minimum)


def _is_taken(connection: Connection, pipeline: str, chunks: Sequence[NewChunk]) -> bool:
    """Whether another round was entered in one of the places since they were chosen; the dataset is locked."""
    row = connection.execute(
        "SELECT FROM bedrock_pipeline.chunks WHERE pipeline = %s AND chunk_key = ANY(%s) LIMIT 1",
        (pipeline, [chunk.chunk_key for chunk in chunks]),
    ).fetchone()
    return row is not None


def _has_cancelled_job(connection: Connection, chunks: Sequence[NewChunk]) -> bool:
    """Whether a job with records in these chunks was cancelled since they were packed; their dataset is locked."""
    row = connection.execute(
        """SELECT FROM bedrock_pipeline.queue_jobs WHERE chunk_id = ANY(%s) AND cancel_requested_at IS NOT NULL LIMIT 1""",
        ([origin for chunk in chunks for origin in chunk.origins],),
    ).fetchone()
    return row is not None


def _cancelled_since(connection: Connection, sources: list[UUID]) -> bool:
    """Whether retryable records that are to be sent were cancelled since they were read; their dataset is locked."""
    row = connection.execute(
        """SELECT FROM bedrock_pipeline.retryable_records
           WHERE chunk_id = ANY(%s) AND cancel_requested_at IS NOT NULL LIMIT 1""",
        (sources,),
    ).fetchone()
    return row is not None


class _RetryableChangedError(Exception):
    """Another process was quicker with some of it; the transaction is rolled back."""
