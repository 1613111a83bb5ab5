"""Backoff of quota groups: throttling concerns every chunk of a group alike.

What belongs here: locking a group, starting its backoff and ending it.
"""

from datetime import timedelta
from uuid import UUID

from psycopg.rows import DictRow

from bedrock_pipeline.ledger.clock import now
from bedrock_pipeline.ledger.database import Connection


def lock_group(connection: Connection, chunk_id: UUID) -> DictRow | None:
    """Lock the chunk's quota group; always before the chunk itself, so that no two transactions wait for each other."""
    return connection.execute(
        """SELECT g.* FROM bedrock_pipeline.quota_groups g
           JOIN bedrock_pipeline.chunks c USING (quota_group) WHERE c.chunk_id = %s FOR UPDATE OF g""",
        (chunk_id,),
    ).fetchone()


def back_off(connection: Connection, group: DictRow, reason: str, delay: timedelta) -> timedelta:
    """Start the backoff of a locked group; returns how long it lasts.

    Requests that were throttled at the same time count once: the group keeps the backoff that it has.
    """
    time = now(connection)
    if group["backoff_until"] is not None and group["backoff_until"] > time:
        rest: timedelta = group["backoff_until"] - time
        return rest
    connection.execute(
        """UPDATE bedrock_pipeline.quota_groups
           SET throttles = throttles + 1, backoff_until = %s, backoff_reason = %s WHERE quota_group = %s""",
        (time + delay, reason, group["quota_group"]),
    )
    return delay


def end_backoff(connection: Connection, chunk_id: UUID) -> None:
    """End the backoff of the chunk's group: one of its requests was accepted."""
    connection.execute(
        """UPDATE bedrock_pipeline.quota_groups SET throttles = 0, backoff_until = NULL, backoff_reason = NULL
           WHERE throttles > 0
             AND quota_group = (SELECT quota_group FROM bedrock_pipeline.chunks WHERE chunk_id = %s)""",
        (chunk_id,),
    )
