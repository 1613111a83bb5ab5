"""What becomes of a chunk that Bedrock did not take, though it may later.

What belongs here: the decision, and what it changes in the chunk's row.
"""

from datetime import timedelta
from typing import Literal

from psycopg import sql

from bedrock_pipeline.ledger.database import Connection
from bedrock_pipeline.ledger.rows import ChunkRow

RequeueResult = Literal["requeued", "given up", "cancelled", "lost"]
#: From what becomes of the chunk to the changes in its row.
BECOMES: dict[RequeueResult, sql.SQL] = {
    "requeued": sql.SQL(
        """status = 'pending', next_attempt_at = bedrock_pipeline.now() + %(delay)s, requeue_reason = %(reason)s,
           requeued_since = coalesce(requeued_since, bedrock_pipeline.now())"""
    ),
    "given up": sql.SQL(
        """status = 'failed', ended_at = bedrock_pipeline.now(), requeued_since = NULL, requeue_reason = NULL,
           status_message = 'throttled again and again since ' || requeued_since::text || ': ' || %(reason)s"""
    ),
    "cancelled": sql.SQL(
        """status = 'stopped', ended_at = bedrock_pipeline.now(), requeued_since = NULL, requeue_reason = NULL,
           status_message = 'cancelled before it was submitted'"""
    ),
}


def requeue_result(connection: Connection, chunk: ChunkRow, give_up_after: timedelta) -> RequeueResult:
    """What becomes of a locked chunk; one that is requeued for longer than `give_up_after` is given up."""
    if chunk.cancel_requested_at or _is_replaced(connection, chunk):
        return "cancelled"
    over = connection.execute(
        "SELECT bedrock_pipeline.now() - %s::timestamptz > %s AS over", (chunk.requeued_since, give_up_after)
    ).fetchone()
    return "given up" if over and over["over"] else "requeued"


def _is_replaced(connection: Connection, chunk: ChunkRow) -> bool:
    """Whether the dataset was asked for in a newer version, so that nothing more is bought for this one."""
    newer = connection.execute(
        "SELECT FROM bedrock_pipeline.datasets WHERE pipeline = %s AND dataset = %s AND version > %s",
        (chunk.pipeline, chunk.dataset, chunk.dataset_version),
    )
    return newer.fetchone() is not None
