"""Submitting: from a pending chunk to a job whose ARN is known, and what comes between.

What belongs here: the statements of the submission protocol (`docs/submitting.md`). Each write carries the
epoch that its writer was given, so that a process that was asleep changes nothing when it wakes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.token import request_token


@dataclass(frozen=True, slots=True)
class Intent:
    """The right to send one Create for a chunk, until the lease ends."""

    chunk: ChunkRow
    epoch: int
    token: str
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why a chunk may not be submitted now.

    Attributes:
        reason: one sentence for a person.
        until: when it may be worth trying again; None where something else must happen first.
    """

    reason: str
    until: datetime | None = None


class Submissions:
    """The submission protocol's transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, pipelines: list[str], limit: int) -> list[ChunkRow]:
        """Chunks to submit now: due, and not more than there are free slots in their quota group.

        Args:
            pipelines: whose chunks.
            limit: at most so many.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                """WITH slots AS (
                       SELECT g.quota_group, g.max_jobs - (
                                SELECT count(*) FROM bedrock_pipeline.chunks c
                                WHERE c.quota_group = g.quota_group AND c.status <> 'pending'
                                  AND c.ended_at IS NULL) AS free
                       FROM bedrock_pipeline.quota_groups g)
                   SELECT due.* FROM slots CROSS JOIN LATERAL (
                       SELECT c.* FROM bedrock_pipeline.chunks c
                       WHERE c.quota_group = slots.quota_group AND c.status = 'pending'
                         AND c.next_attempt_at <= bedrock_pipeline.now() AND c.pipeline = ANY(%(pipelines)s)
                       ORDER BY c.next_attempt_at, c.dataset, c.round, c.sequence
                       LIMIT greatest(slots.free, 0)) AS due
                   LIMIT %(limit)s""",
                {"pipelines": pipelines, "limit": limit},
            ).fetchall()
        return [ChunkRow.of(row) for row in rows]

    def intend(
        self, chunk_id: UUID, intent_id: UUID, *, request: dict[str, Any], lease: timedelta
    ) -> Intent | NotNow:
        """Step 1 of the protocol: take a slot and the chunk, or say why not.

        Args:
            chunk_id: the chunk.
            intent_id: chosen by the caller for this attempt, so that a commit whose acknowledgement was lost
                is recognised as one's own.
            request: the Create request without its token; frozen here.
            lease: how long the Create may be sent, counted by the database.
        """

        def work(connection: Connection) -> Intent | NotNow:
            group = connection.execute(
                "SELECT quota_group FROM bedrock_pipeline.chunks WHERE chunk_id = %s", (chunk_id,)
            ).fetchone()
            if group is None:
                return NotNow("The chunk was packed anew in the meantime.")
            slots = connection.execute(
                "SELECT max_jobs FROM bedrock_pipeline.quota_groups WHERE quota_group = %s FOR UPDATE",
                (group["quota_group"],),
            ).fetchone()
            assert slots is not None  # the foreign key
            chunk = _locked(connection, chunk_id)
            if chunk is None:
                return NotNow("The chunk was packed anew in the meantime.")
            if chunk.intent_id == intent_id:
                return _intent(chunk.row)
            # Only after the lock: a count in the same statement would not see what the lock waited for.
            refusal = _why_not(connection, chunk.row, slots["max_jobs"])
            if refusal:
                return refusal
            deployment = connection.execute(
                "SELECT deployment_id FROM bedrock_pipeline.deployment"
            ).fetchone()
            assert deployment is not None  # the first migration makes it
            taken = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'submitting', status_changed_at = bedrock_pipeline.now(), epoch = epoch + 1,
                       intent_id = %(intent)s, lease_expires_at = bedrock_pipeline.now() + %(lease)s,
                       frozen_request = %(request)s, token = %(token)s, attempts = attempts + 1,
                       status_message = NULL
                   WHERE chunk_id = %(chunk)s RETURNING *""",
                {
                    "intent": intent_id,
                    "lease": lease,
                    "request": Jsonb(request),
                    "token": request_token(deployment["deployment_id"], chunk_id, request),
                    "chunk": chunk_id,
                },
            ).fetchone()
            assert taken is not None  # the row is locked
            return _intent(ChunkRow.of(taken))

        return self._database.transaction(work)

    def record_accepted(self, chunk_id: UUID, epoch: int, job_arn: str) -> bool:
        """Step 4: Bedrock has the job; False where the epoch is no longer ours."""

        def work(connection: Connection) -> bool:
            recorded = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'queued', status_changed_at = bedrock_pipeline.now(), job_arn = %(arn)s,
                       submitted_at = bedrock_pipeline.now(), put_back_since = NULL, put_back_reason = NULL
                   WHERE chunk_id = %(chunk)s AND epoch = %(epoch)s
                     AND status IN ('submitting', 'unclear', 'blocked')""",
                {"arn": job_arn, "chunk": chunk_id, "epoch": epoch},
            )
            if recorded.rowcount == 1:
                return True
            known = connection.execute(
                "SELECT FROM bedrock_pipeline.chunks WHERE chunk_id = %s AND job_arn = %s",
                (chunk_id, job_arn),
            ).fetchone()
            return known is not None

        return self._database.transaction(work)

    def put_back(self, chunk_id: UUID, epoch: int, *, reason: str, delay: timedelta) -> bool:
        """A definite no that time cures: the slot is free again, and the request may be frozen anew."""
        return self._release(
            chunk_id,
            epoch,
            """status = 'pending', token = NULL, frozen_request = NULL, intent_id = NULL, lease_expires_at = NULL,
               next_attempt_at = bedrock_pipeline.now() + %(delay)s, put_back_reason = %(reason)s,
               put_back_since = coalesce(put_back_since, bedrock_pipeline.now())""",
            {"reason": reason, "delay": delay},
        )

    def refuse(self, chunk_id: UUID, epoch: int, *, reason: str) -> bool:
        """A definite no that a person must cure: the chunk has failed without a job."""
        return self._release(
            chunk_id,
            epoch,
            """status = 'failed', ended_at = bedrock_pipeline.now(), status_message = %(reason)s,
               put_back_since = NULL, put_back_reason = NULL""",
            {"reason": reason},
        )

    def mark_unclear(self, chunk_id: UUID, epoch: int, *, reason: str) -> bool:
        """Step 5: nobody knows whether a job exists; the slot is kept."""
        return self._release(
            chunk_id, epoch, "status = 'unclear', status_message = %(reason)s", {"reason": reason}
        )

    def block(self, chunk_id: UUID, epoch: int, *, reason: str) -> bool:
        """Step 6: only a person can say what happened; the slot is kept."""
        return self._release(
            chunk_id, epoch, "status = 'blocked', status_message = %(reason)s", {"reason": reason}
        )

    def _release(self, chunk_id: UUID, epoch: int, changes: LiteralString, values: dict[str, Any]) -> bool:
        statement = sql.SQL(
            """UPDATE bedrock_pipeline.chunks SET {}, status_changed_at = bedrock_pipeline.now()
               WHERE chunk_id = %(chunk)s AND epoch = %(epoch)s AND status IN ('submitting', 'unclear')"""
        ).format(sql.SQL(changes))

        def work(connection: Connection) -> bool:
            return connection.execute(statement, {"chunk": chunk_id, "epoch": epoch, **values}).rowcount == 1

        return self._database.transaction(work)

    def retry_refused(self, pipeline: str, dataset: str) -> int:
        """Put back the chunks that Bedrock refused to accept, after a person cured the cause; how many."""
        with self._database.connection() as connection:
            return connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'pending', status_changed_at = bedrock_pipeline.now(), ended_at = NULL, token = NULL,
                       frozen_request = NULL, intent_id = NULL, lease_expires_at = NULL, status_message = NULL,
                       next_attempt_at = bedrock_pipeline.now()
                   WHERE pipeline = %s AND dataset = %s AND status = 'failed' AND job_arn IS NULL""",
                (pipeline, dataset),
            ).rowcount

    def to_reconcile(self, pipelines: list[str], settling: timedelta, limit: int) -> list[ChunkRow]:
        """Submissions whose outcome is unknown and whose lease and settling time are over."""
        with self._database.connection() as connection:
            rows = connection.execute(
                """SELECT * FROM bedrock_pipeline.chunks
                   WHERE status <> 'pending' AND ended_at IS NULL AND status IN ('submitting', 'unclear')
                     AND pipeline = ANY(%s) AND lease_expires_at + %s <= bedrock_pipeline.now()
                   ORDER BY lease_expires_at LIMIT %s""",
                (pipelines, settling, limit),
            ).fetchall()
        return [ChunkRow.of(row) for row in rows]

    def intend_again(
        self, chunk_id: UUID, epoch: int, intent_id: UUID, *, settling: timedelta, lease: timedelta
    ) -> Intent | None:
        """Step 6: List showed no job: send the same request with the same token again, under a new epoch.

        Returns:
            The intent; None where another process was quicker or the settling time is not over.
        """

        def work(connection: Connection) -> Intent | None:
            row = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'submitting', status_changed_at = bedrock_pipeline.now(), epoch = epoch + 1,
                       intent_id = %(intent)s, lease_expires_at = bedrock_pipeline.now() + %(lease)s,
                       attempts = attempts + 1
                   WHERE chunk_id = %(chunk)s AND epoch = %(epoch)s AND status IN ('submitting', 'unclear')
                     AND lease_expires_at + %(settling)s <= bedrock_pipeline.now()
                   RETURNING *""",
                {
                    "intent": intent_id,
                    "lease": lease,
                    "chunk": chunk_id,
                    "epoch": epoch,
                    "settling": settling,
                },
            ).fetchone()
            if row is None:
                row = connection.execute(
                    "SELECT * FROM bedrock_pipeline.chunks WHERE chunk_id = %s AND intent_id = %s AND status = 'submitting'",
                    (chunk_id, intent_id),
                ).fetchone()
            return _intent(ChunkRow.of(row)) if row else None

        return self._database.transaction(work)


@dataclass(frozen=True, slots=True)
class _Locked:
    row: ChunkRow
    intent_id: UUID | None


def _locked(connection: Connection, chunk_id: UUID) -> _Locked | None:
    row = connection.execute(
        "SELECT * FROM bedrock_pipeline.chunks WHERE chunk_id = %s FOR UPDATE", (chunk_id,)
    ).fetchone()
    return _Locked(ChunkRow.of(row), row["intent_id"]) if row else None


def _why_not(connection: Connection, chunk: ChunkRow, max_jobs: int) -> NotNow | None:
    if chunk.status != "pending":
        return NotNow(f"The chunk is {chunk.status} already; it has at most one job.")
    if chunk.cancel_requested_at:
        return NotNow("The chunk was cancelled.")
    now = connection.execute(
        """SELECT bedrock_pipeline.now() AS now, count(*) AS used FROM bedrock_pipeline.chunks
           WHERE quota_group = %s AND status <> 'pending' AND ended_at IS NULL""",
        (chunk.quota_group,),
    ).fetchone()
    assert now is not None  # an aggregate has one row
    if chunk.next_attempt_at > now["now"]:
        return NotNow(chunk.put_back_reason or "It was put back.", chunk.next_attempt_at)
    if now["used"] >= max_jobs:
        return NotNow(f"All {max_jobs} slots of {chunk.quota_group} are in use.")
    return None


def _intent(chunk: ChunkRow) -> Intent:
    assert chunk.token is not None  # the constraint intent_is_whole
    assert chunk.frozen_request is not None
    return Intent(chunk, chunk.epoch, chunk.token, chunk.frozen_request)
