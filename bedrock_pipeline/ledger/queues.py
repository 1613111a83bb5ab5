"""Queues: their settings, and the jobs that their flushes made.

What belongs here: the statements on tables `queues` and `queue_jobs`, and the one transaction in which tasks become
chunks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import ConfigurationError, StateError
from bedrock_pipeline.ledger.chunks import insert_chunks, lock_groups
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.names import lock_name
from bedrock_pipeline.ledger.rows import ChunkRow, NewChunk
from bedrock_pipeline.ledger.versions import ensure_dataset, start_version
from bedrock_pipeline.records.keys import ChunkKey

#: `packed_hash` of a queue's datasets: their content is what was flushed on that day.
OPEN = "open"


class QueueModelError(ConfigurationError):
    """A queue's tasks are for another model."""


class NameTakenError(ConfigurationError):
    """A queue has the name of a pipeline that has datasets."""


class TasksChangedError(StateError):
    """Tasks that a flush had read were replaced, or flushed by another; it reads them again."""


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue.

    Attributes:
        settings: of `BedrockQueueConfig`, as JSON; no secret.
    """

    queue: str
    job_type: str
    model_id: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class QueueJob:
    """A job of a queue.

    Attributes:
        final_at: since when every one of its records has an answer or a final error; counts are None before.
        answered: records, over all rounds.
        failed: records with a final error.
        waits_for: why its records, of any attempt, wait for an operator or for more records; None if they do not.
    """

    queue: str
    chunk: ChunkRow
    made_at: datetime
    final_at: datetime | None
    answered: int | None
    failed: int | None
    input_tokens: int | None
    output_tokens: int | None
    waits_for: str | None


class Queues:
    """All queues."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, queue: str, *, job_type: str, model_id: str, settings: dict[str, Any]) -> None:
        """Create a queue, or change its settings.

        Raises:
            QueueModelError: it exists for another model.
            NameTakenError: a pipeline of this name has datasets.
        """

        def work(connection: Connection) -> None:
            lock_name(connection, queue)
            _must_not_be_a_pipeline(connection, queue)
            row = connection.execute(
                """INSERT INTO bedrock_pipeline.queues AS q (queue, job_type, model_id, settings)
                   VALUES (%(queue)s, %(job_type)s, %(model)s, %(settings)s)
                   ON CONFLICT (queue) DO UPDATE
                   SET job_type = excluded.job_type, settings = excluded.settings, updated_at = bedrock_pipeline.now()
                   WHERE q.model_id = excluded.model_id RETURNING queue""",
                {"queue": queue, "job_type": job_type, "model": model_id, "settings": Jsonb(settings)},
            ).fetchone()
            if row is None:
                raise QueueModelError(
                    f"Queue {queue!r} exists for another model than {model_id!r}.",
                    "Give this one another name.",
                )

        self._database.transaction(work)

    def get(self, queue: str) -> QueueRow | None:
        """One queue; None if it does not exist."""
        rows = self._database.fetch(
            "SELECT queue, job_type, model_id, settings FROM bedrock_pipeline.queues WHERE queue = %s",
            (queue,),
        )
        return QueueRow(**rows[0]) if rows else None

    def all(self) -> list[QueueRow]:
        """Every queue, by name."""
        rows = self._database.fetch(
            "SELECT queue, job_type, model_id, settings FROM bedrock_pipeline.queues ORDER BY queue"
        )
        return [QueueRow(**row) for row in rows]

    def today(self) -> str:
        """Today's key, in UTC: the dataset that a flush adds to."""
        row = self._database.fetch("SELECT (bedrock_pipeline.now() AT TIME ZONE 'UTC')::date::text AS day")[0]
        return str(row["day"])

    def enter_chunks(
        self,
        queue: str,
        dataset: str,
        *,
        task_ids: Sequence[int],
        chunks: Sequence[NewChunk],
        max_jobs: int | None = None,
        max_cost_usd: Decimal | None = None,
    ) -> list[NewChunk]:
        """Turn tasks into chunks, in one transaction: they no longer wait and will be submitted.

        Args:
            queue: the queue's name, which is its pipeline's.
            dataset: the day's key.
            task_ids: the tasks that the chunks hold.
            chunks: uploaded; their places in the dataset are given here.
            max_jobs: of the pipeline in the quota group at once; None: no limit of its own.
            max_cost_usd: what the day may cost; None leaves it.

        Returns:
            The chunks in their places.

        Raises:
            TasksChangedError: one of the tasks waits no more; nothing was changed.
            NameTakenError: the day's key is a dataset of a pipeline of this name; nothing was changed.
        """

        def work(connection: Connection) -> list[NewChunk]:
            if entered := _entered(connection, chunks):
                return entered  # the acknowledgement of our commit was lost
            gone = connection.execute(
                "DELETE FROM bedrock_pipeline.tasks WHERE queue = %s AND task_id = ANY(%s)",
                (queue, list(task_ids)),
            )
            if gone.rowcount != len(task_ids):
                raise TasksChangedError(
                    f"{len(task_ids) - gone.rowcount} tasks of queue {queue!r} were replaced or flushed meanwhile.",
                    "Flush again.",
                )
            lock_groups(connection, chunks)
            version, sequence = _open_dataset(connection, queue, dataset)
            placed = [_placed(chunk, dataset, version, sequence + n) for n, chunk in enumerate(chunks)]
            insert_chunks(connection, queue, dataset, version, placed, max_jobs)
            connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET packed_records = packed_records + %s, max_cost_usd = coalesce(%s, max_cost_usd),
                       cancel_requested_at = NULL
                   WHERE pipeline = %s AND dataset = %s AND version = %s""",
                (sum(chunk.records for chunk in placed), max_cost_usd, queue, dataset, version),
            )
            connection.execute(
                """WITH made AS (
                       INSERT INTO bedrock_pipeline.queue_jobs (chunk_id, queue)
                       SELECT chunk_id, pipeline FROM bedrock_pipeline.chunks WHERE chunk_id = ANY(%s)),
                   inserted AS (
                       INSERT INTO bedrock_pipeline.events (pipeline, dataset, chunk_id, status, fence)
                       SELECT pipeline, dataset, chunk_id, status, fence FROM bedrock_pipeline.chunks
                       WHERE chunk_id = ANY(%s) ORDER BY sequence)
                   SELECT pg_notify('bedrock_pipeline', id::text) FROM unnest(%s::uuid[]) AS id""",
                ([chunk.chunk_id for chunk in placed],) * 3,
            )
            return placed

        return self._database.transaction(work)

    def job(self, chunk_id: UUID) -> QueueJob | None:
        """A job of any queue; None if no flush made it."""
        rows = self._database.fetch(_JOBS + " WHERE j.chunk_id = %s", (chunk_id,))
        return _job(rows[0]) if rows else None

    def jobs(self, queue: str, limit: int) -> list[QueueJob]:
        """The jobs made last, newest first."""
        rows = self._database.fetch(
            _JOBS + " WHERE j.queue = %s ORDER BY j.made_at DESC, c.sequence DESC LIMIT %s", (queue, limit)
        )
        return [_job(row) for row in rows]

    def open_jobs(self, queues: list[str]) -> list[UUID]:
        """Jobs that are not recorded as final yet, oldest first."""
        rows = self._database.fetch(
            """SELECT chunk_id FROM bedrock_pipeline.queue_jobs
               WHERE final_at IS NULL AND queue = ANY(%s) ORDER BY made_at""",
            (queues,),
        )
        return [row["chunk_id"] for row in rows]

    def later_chunks(self, chunk_id: UUID) -> list[ChunkRow]:
        """The chunks of later rounds that hold records of this job, and maybe of others."""
        rows = self._database.fetch(
            """SELECT c.* FROM bedrock_pipeline.chunk_origins o JOIN bedrock_pipeline.chunks c USING (chunk_id)
               WHERE o.origin_id = %s ORDER BY c.attempt, c.sequence""",
            (chunk_id,),
        )
        return [ChunkRow.of(row) for row in rows]

    def record_final(
        self, chunk_id: UUID, *, answered: int, failed: int, input_tokens: int, output_tokens: int
    ) -> bool:
        """Every record of a job is final: write it down once, with an event; False where it was."""
        return bool(
            self._database.fetch(
                """WITH ended AS (
                       UPDATE bedrock_pipeline.queue_jobs
                       SET final_at = bedrock_pipeline.now(), answered = %(answered)s, failed = %(failed)s,
                           input_tokens = %(input)s, output_tokens = %(output)s
                       WHERE chunk_id = %(chunk)s AND final_at IS NULL RETURNING chunk_id),
                   inserted AS (
                       INSERT INTO bedrock_pipeline.events (pipeline, dataset, chunk_id, status, previous, fence, job_arn)
                       SELECT pipeline, dataset, chunk_id, 'final', status, fence, job_arn
                       FROM bedrock_pipeline.chunks JOIN ended USING (chunk_id))
                   SELECT pg_notify('bedrock_pipeline', chunk_id::text) FROM ended""",
                {
                    "chunk": chunk_id,
                    "answered": answered,
                    "failed": failed,
                    "input": input_tokens,
                    "output": output_tokens,
                },
            )
        )


_JOBS = """
    SELECT c.*, j.queue, j.made_at, j.final_at, j.answered AS all_answered, j.failed AS all_failed,
           j.input_tokens AS all_input_tokens, j.output_tokens AS all_output_tokens,
           CASE WHEN j.final_at IS NULL THEN coalesce(
               (SELECT min(l.chunk_key || ' is ' || l.status || ': ' || coalesce(l.status_message, 'see `status`'))
                FROM bedrock_pipeline.chunk_origins a JOIN bedrock_pipeline.chunks l USING (chunk_id)
                WHERE a.origin_id = j.chunk_id
                  AND (l.status = 'needs-resolution' OR l.status = 'failed' AND l.job_arn IS NULL)),
               (SELECT min(o.wait_reason) FROM bedrock_pipeline.retryable_records o
                WHERE o.retried_at IS NULL AND (o.chunk_id = j.chunk_id OR o.chunk_id IN (
                    SELECT chunk_id FROM bedrock_pipeline.chunk_origins WHERE origin_id = j.chunk_id)))) END AS waits_for
    FROM bedrock_pipeline.queue_jobs j JOIN bedrock_pipeline.chunks c USING (chunk_id)"""


def _entered(connection: Connection, chunks: Sequence[NewChunk]) -> list[NewChunk]:
    rows = connection.execute(
        "SELECT chunk_id, chunk_key, sequence FROM bedrock_pipeline.chunks WHERE chunk_id = ANY(%s)",
        ([chunk.chunk_id for chunk in chunks],),
    ).fetchall()
    places = {row["chunk_id"]: row for row in rows}
    return [
        replace(
            chunk,
            chunk_key=places[chunk.chunk_id]["chunk_key"],
            sequence=places[chunk.chunk_id]["sequence"],
        )
        for chunk in chunks
        if chunk.chunk_id in places
    ]


def _open_dataset(connection: Connection, queue: str, dataset: str) -> tuple[int, int]:
    """Version and next sequence of the day's dataset, which is locked, so that no two flushes give one place."""
    row = ensure_dataset(connection, queue, dataset)
    if not row.open:  # else it is the queue's; this also ends the race of a launch with `register`
        _must_not_be_a_pipeline(connection, queue)
    if row.state == "cancelled":
        row = start_version(connection, row, {})
    if not row.open:
        connection.execute(
            "UPDATE bedrock_pipeline.datasets SET open = true WHERE pipeline = %s AND dataset = %s",
            (queue, dataset),
        )
        connection.execute(
            """UPDATE bedrock_pipeline.versions
               SET state = 'packed', state_changed_at = bedrock_pipeline.now(), state_reason = NULL,
                   packed_hash = %s, packed_records = 0, packed_at = bedrock_pipeline.now()
               WHERE pipeline = %s AND dataset = %s AND version = %s""",
            (OPEN, queue, dataset, row.version),
        )
    last = connection.execute(
        """SELECT max(sequence) AS sequence FROM bedrock_pipeline.chunks
           WHERE pipeline = %s AND dataset = %s AND dataset_version = %s AND attempt = 1""",
        (queue, dataset, row.version),
    ).fetchone()
    assert last is not None  # an aggregate has one row
    return row.version, 0 if last["sequence"] is None else last["sequence"] + 1


def _must_not_be_a_pipeline(connection: Connection, queue: str) -> None:
    """Check that nobody has launched or prepared a dataset under the queue's name.

    A row alone is no sign: looking at a day before its first flush makes one.
    """
    taken = connection.execute(
        """SELECT d.dataset FROM bedrock_pipeline.datasets d JOIN bedrock_pipeline.versions v USING (pipeline, dataset)
           WHERE d.pipeline = %s AND NOT d.open
             AND (d.launch_id IS NOT NULL OR v.preparation_began_at IS NOT NULL OR v.snapshot_uri IS NOT NULL
               OR v.request <> '{}')
           ORDER BY d.dataset LIMIT 1""",
        (queue,),
    ).fetchone()
    if taken is not None:
        raise NameTakenError(
            f"Queue {queue!r} has the name of a pipeline, which has a dataset {taken['dataset']!r}.",
            "Give the queue another name: a name is either a pipeline's or a queue's.",
        )


def _placed(chunk: NewChunk, dataset: str, version: int, sequence: int) -> NewChunk:
    return replace(
        chunk, sequence=sequence, chunk_key=str(ChunkKey(dataset, version, chunk.attempt, sequence))
    )


def _job(row: dict[str, Any]) -> QueueJob:
    return QueueJob(
        queue=row["queue"],
        chunk=ChunkRow.of(row),
        made_at=row["made_at"],
        final_at=row["final_at"],
        answered=row["all_answered"],
        failed=row["all_failed"],
        input_tokens=row["all_input_tokens"],
        output_tokens=row["all_output_tokens"],
        waits_for=row["waits_for"],
    )
