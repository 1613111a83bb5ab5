"""Versions that have not changed for long: what still needs them, what they have, and what was deleted of them.

What belongs here: the statements of `bedrock-pipeline prune`. What may be deleted is decided in `retention/decision.py`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import DatasetRow, State, _Row

#: What was deleted of a version: its chunks' inputs and outputs, or all of its files.
Extent = Literal["exchange", "everything"]


@dataclass(frozen=True, slots=True)
class OldVersion(_Row):
    """A version of a dataset, and who needs what of it.

    Attributes:
        current: whether it is the dataset's latest version.
        published: whether its results are the published ones.
        open: whether it is a queue's day, which is published again whenever responses were collected.
        pruned: what was deleted of it before.
        unchanged: whether nothing of it has changed for the time that was asked, and its dataset was not published since.
        launching: whether a launch of its dataset waits.
        publishing: whether `latest.json` is written, or is to be.
        chunks: how many it has.
        unended: of them, those that wait, are in doubt or have a job in flight.
        uncollected: of them, those whose responses are to be collected.
        rejected: of them, those that Bedrock rejected, which wait for `retry`.
        retryable: of them, those that have records for a retry round.
        open_jobs: jobs of the queue that are not final.
    """

    pipeline: str
    dataset: str
    version: int
    state: State
    pruned: Extent | None
    current: bool
    published: bool
    open: bool
    unchanged: bool
    launching: bool
    publishing: bool
    chunks: int
    unended: int
    uncollected: int
    rejected: int
    retryable: int
    open_jobs: int


@dataclass(frozen=True, slots=True)
class ChunkFiles(_Row):
    """Where the files of a chunk are."""

    chunk_id: UUID
    chunk_key: str
    files: list[dict[str, Any]]
    index_uri: str
    parsed_uri: str | None
    request: dict[str, Any]


class Retention:
    """What `prune` reads and changes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def older_than(self, age: timedelta, pipeline: str | None = None) -> list[OldVersion]:
        """The versions that began longer ago than `age` and still have files, oldest first; None: of all pipelines."""
        rows = self._database.fetch(_OLD, {"age": age, "pipeline": pipeline})
        return [OldVersion.of(row) for row in rows]

    def snapshot(self, version: OldVersion) -> str | None:
        """The folder of its snapshot; None where it has none, or another version has the same."""
        rows = self._database.fetch(
            """SELECT v.snapshot_uri FROM bedrock_pipeline.versions v
               WHERE v.pipeline = %(pipeline)s AND v.dataset = %(dataset)s AND v.version = %(version)s
                 AND v.snapshot_uri IS NOT NULL AND NOT EXISTS (
                   SELECT FROM bedrock_pipeline.versions o
                   WHERE o.pipeline = v.pipeline AND o.dataset = v.dataset AND o.version <> v.version
                     AND o.snapshot_uri = v.snapshot_uri)""",
            _key(version),
        )
        return rows[0]["snapshot_uri"] if rows else None

    def chunk_files(self, version: OldVersion) -> list[ChunkFiles]:
        """The files of its chunks."""
        rows = self._database.fetch(
            """SELECT chunk_id, chunk_key, files, index_uri, parsed_uri, coalesce(frozen_request, request) AS request
               FROM bedrock_pipeline.chunks
               WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND dataset_version = %(version)s
               ORDER BY attempt, sequence""",
            _key(version),
        )
        return [ChunkFiles.of(row) for row in rows]

    def pruned_at(self, pipeline: str, dataset: str, version: int) -> datetime | None:
        """When everything of a version was deleted; None if it was not."""
        rows = self._database.fetch(
            """SELECT pruned_at FROM bedrock_pipeline.versions
               WHERE (pipeline, dataset, version) = (%(pipeline)s, %(dataset)s, %(version)s) AND pruned = 'everything'""",
            {"pipeline": pipeline, "dataset": dataset, "version": version},
        )
        return rows[0]["pruned_at"] if rows else None

    def count_events(self, version: OldVersion) -> int:
        """The number of events of its chunks."""
        rows = self._database.fetch(
            """SELECT count(*) AS count FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.events e USING (chunk_id)
               WHERE c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s AND c.dataset_version = %(version)s""",
            _key(version),
        )
        return int(rows[0]["count"])

    def record_pruned(self, version: OldVersion, extent: Extent) -> None:
        """Delete the events of its chunks, and record what was deleted of it."""

        def work(connection: Any) -> None:
            connection.execute(
                """DELETE FROM bedrock_pipeline.events e USING bedrock_pipeline.chunks c
                   WHERE e.chunk_id = c.chunk_id AND c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s
                     AND c.dataset_version = %(version)s""",
                _key(version),
            )
            connection.execute(
                """UPDATE bedrock_pipeline.versions SET pruned = %(extent)s, pruned_at = bedrock_pipeline.now()
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s""",
                _key(version) | {"extent": extent},
            )

        self._database.transaction(work)


def forget_pruned(connection: Connection, row: DatasetRow) -> None:
    """Note in the transaction that files of the current version, which were deleted, were uploaded again."""
    connection.execute(
        """UPDATE bedrock_pipeline.versions SET pruned = NULL, pruned_at = NULL
           WHERE pipeline = %s AND dataset = %s AND version = %s AND pruned IS NOT NULL""",
        (row.pipeline, row.dataset, row.version),
    )


def _key(version: OldVersion) -> dict[str, Any]:
    return {"pipeline": version.pipeline, "dataset": version.dataset, "version": version.version}


_OLD = """
    SELECT v.pipeline, v.dataset, v.version, v.state, v.pruned, v.version = d.version AS current, d.open,
           coalesce(v.version = d.published_version, false) AS published, d.launch_id IS NOT NULL AS launching,
           d.latest_written_publication <> d.publication OR d.latest_writes > 0 AS publishing,
           n.chunks, n.unended, n.uncollected, n.rejected, n.retryable, n.open_jobs,
           greatest(v.state_changed_at, n.changed_at, d.published_at)
               <= bedrock_pipeline.now() - %(age)s AS unchanged
    FROM bedrock_pipeline.versions v JOIN bedrock_pipeline.datasets d USING (pipeline, dataset)
    CROSS JOIN LATERAL (
        SELECT count(*) AS chunks, count(*) FILTER (WHERE c.ended_at IS NULL) AS unended,
               count(*) FILTER (WHERE c.ended_at IS NOT NULL AND c.collected_at IS NULL AND NOT c.is_rejected) AS uncollected,
               count(*) FILTER (WHERE c.collected_at IS NULL AND c.is_rejected) AS rejected,
               count(o.chunk_id) AS retryable, count(q.chunk_id) AS open_jobs,
               max(greatest(c.status_changed_at, c.ended_at, c.collected_at, o.retried_at)) AS changed_at
        FROM (SELECT *, ended_at IS NOT NULL AND job_arn IS NULL AND status = 'failed' AS is_rejected
              FROM bedrock_pipeline.chunks) c
        LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
        LEFT JOIN bedrock_pipeline.queue_jobs q ON q.chunk_id = c.chunk_id AND q.final_at IS NULL
        WHERE (c.pipeline, c.dataset, c.dataset_version) = (v.pipeline, v.dataset, v.version)) n
    WHERE v.created_at <= bedrock_pipeline.now() - %(age)s AND v.pruned IS DISTINCT FROM 'everything'
      AND (%(pipeline)s::text IS NULL OR v.pipeline = %(pipeline)s)
    ORDER BY v.created_at, v.pipeline, v.dataset, v.version"""
