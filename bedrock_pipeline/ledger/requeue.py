"""Requeue a chunk after a transient error.

What belongs here: the one rule for jobs and on-demand calls, and the statement that applies it.
"""

from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from psycopg import sql

from bedrock_pipeline.ledger.clock import now
from bedrock_pipeline.ledger.database import Connection
from bedrock_pipeline.ledger.rows import ChunkRow


class RequeueResult(StrEnum):
    """What happened to a chunk that was to be requeued."""

    #: It is pending again.
    REQUEUED = "requeued"
    #: Transient errors went on for too long: it has failed, and an operator decides.
    GIVEN_UP = "given up"
    #: It was cancelled or its version was replaced: it has ended.
    CANCELLED = "cancelled"
    #: The writer's fencing token is no longer current: nothing was changed.
    LOST = "lost"


_CHANGES = {
    RequeueResult.REQUEUED: sql.SQL(
        """status = 'pending', next_attempt_at = bedrock_pipeline.now() + %(delay)s, requeue_reason = %(reason)s,
           requeued_since = coalesce(requeued_since, bedrock_pipeline.now())"""
    ),
    RequeueResult.GIVEN_UP: sql.SQL(
        """status = 'failed', ended_at = bedrock_pipeline.now(), requeued_since = NULL, requeue_reason = NULL,
           status_message = 'transient errors since ' || requeued_since::text || ': ' || %(reason)s"""
    ),
    RequeueResult.CANCELLED: sql.SQL(
        """status = 'stopped', ended_at = bedrock_pipeline.now(), requeued_since = NULL, requeue_reason = NULL,
           cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now()),
           status_message = 'cancelled or replaced before it was submitted'"""
    ),
}


def requeue_chunk(
    connection: Connection, chunk: ChunkRow, *, reason: str, delay: timedelta, give_up_after: timedelta
) -> RequeueResult:
    """Requeue a locked chunk, or end it; its intent and its lease are over.

    Args:
        connection: in the transaction that locked the chunk.
        chunk: the chunk.
        reason: the error, in one sentence for an operator.
        delay: time until the next attempt.
        give_up_after: a chunk that has been requeued for longer fails.
    """
    if is_withdrawn(connection, chunk.chunk_id):
        result = RequeueResult.CANCELLED
    elif chunk.requeued_since and now(connection) - chunk.requeued_since > give_up_after:
        result = RequeueResult.GIVEN_UP
    else:
        result = RequeueResult.REQUEUED
    _change(connection, chunk, result, delay=delay, reason=reason)
    return result


def end_withdrawn(connection: Connection, chunk: ChunkRow) -> None:
    """End a locked chunk that is withdrawn and has no job."""
    _change(connection, chunk, RequeueResult.CANCELLED)


def is_withdrawn(connection: Connection, chunk_id: UUID) -> bool:
    """Whether a locked chunk was cancelled or its version replaced, so that nothing more is bought for it."""
    withdrawn = connection.execute(
        "SELECT FROM bedrock_pipeline.chunks c WHERE chunk_id = %s AND bedrock_pipeline.withdrawn(c)",
        (chunk_id,),
    )
    return withdrawn.fetchone() is not None


def _change(
    connection: Connection,
    chunk: ChunkRow,
    result: RequeueResult,
    *,
    delay: timedelta = timedelta(0),
    reason: str = "",
) -> None:
    statement = sql.SQL(
        """UPDATE bedrock_pipeline.chunks
           SET token = NULL, frozen_request = NULL, intent_id = NULL, lease_expires_at = NULL,
               status_changed_at = bedrock_pipeline.now(), {} WHERE chunk_id = %(chunk)s"""
    ).format(_CHANGES[result])
    connection.execute(statement, {"chunk": chunk.chunk_id, "delay": delay, "reason": reason})
