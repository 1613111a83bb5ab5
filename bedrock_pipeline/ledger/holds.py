"""Quota groups that are on hold, since Bedrock refused one of their requests.

What belongs here: locking a group, holding it longer with every refusal, and letting it go.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from psycopg.rows import DictRow

from bedrock_pipeline.ledger.clock import now
from bedrock_pipeline.ledger.database import Connection


def lock_group(connection: Connection, chunk_id: UUID) -> DictRow | None:
    """The chunk's quota group, locked; always before the chunk itself, so that no two wait for each other."""
    return connection.execute(
        """SELECT g.* FROM bedrock_pipeline.quota_groups g
           JOIN bedrock_pipeline.chunks c USING (quota_group) WHERE c.chunk_id = %s FOR UPDATE OF g""",
        (chunk_id,),
    ).fetchone()


def hold(connection: Connection, group: DictRow, reason: str, wait: Callable[[int], timedelta]) -> timedelta:
    """Hold a locked group, longer than the last time; how long. Refusals that come together are one refusal."""
    time = now(connection)
    if group["hold_until"] is not None and group["hold_until"] > time:
        rest: timedelta = group["hold_until"] - time
        return rest
    delay = wait(group["refusals"] + 1)
    connection.execute(
        """UPDATE bedrock_pipeline.quota_groups
           SET refusals = refusals + 1, hold_until = %s, hold_reason = %s WHERE quota_group = %s""",
        (time + delay, reason, group["quota_group"]),
    )
    return delay


def end_hold(connection: Connection, chunk_id: UUID) -> None:
    """Let the chunk's group go: a request of it was accepted."""
    connection.execute(
        """UPDATE bedrock_pipeline.quota_groups SET refusals = 0, hold_until = NULL, hold_reason = NULL
           WHERE refusals > 0
             AND quota_group = (SELECT quota_group FROM bedrock_pipeline.chunks WHERE chunk_id = %s)""",
        (chunk_id,),
    )
