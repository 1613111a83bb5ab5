"""On-demand calls: which were sent, and their responses.

What belongs here: the statements on table `on_demand_calls`, and the states of the chunks that are sent that way. Such a
chunk stays `pending` while a process sends its records under a lease, takes no slot, and is `completed` with the last
response. As in `submissions`, each write carries its writer's fencing token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.requeue import RequeueResult, is_withdrawn, requeue_chunk
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.spending import lock_budget, over_budget
from bedrock_pipeline.ledger.submissions import NotNow

_END_WITHDRAWN: Final = """
    UPDATE bedrock_pipeline.chunks
    SET status = 'stopped', status_changed_at = bedrock_pipeline.now(), ended_at = bedrock_pipeline.now(),
        lease_expires_at = NULL, status_message = 'cancelled or replaced before every record was sent', requeued_since = NULL,
        requeue_reason = NULL
    WHERE chunk_id = %(chunk)s AND fence = %(fence)s AND status = 'pending' AND bedrock_pipeline.withdrawn(chunks)"""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send a chunk's records, while the lease is renewed.

    Attributes:
        answered: positions of the records that have a response.
    """

    fence: int
    answered: frozenset[int]


class Calls:
    """The on-demand calls of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, chunk_id: UUID, lease: timedelta) -> Claim | NotNow:
        """Take a chunk to send its records, or say why not."""

        def work(connection: Connection) -> Claim | NotNow:
            lock_budget(connection, chunk_id)
            row = connection.execute(
                "SELECT *, bedrock_pipeline.now() AS now FROM bedrock_pipeline.chunks WHERE chunk_id = %s FOR UPDATE",
                (chunk_id,),
            ).fetchone()
            if row is None:
                return NotNow("The chunk no longer exists: its dataset was packed again.")
            chunk = ChunkRow.of(row)
            if chunk.status != "pending":
                return NotNow(f"The chunk is {chunk.status} already.")
            in_use = chunk.lease_expires_at is not None and chunk.lease_expires_at > row["now"]
            if not in_use and is_withdrawn(connection, chunk_id):
                connection.execute(_END_WITHDRAWN, {"chunk": chunk_id, "fence": chunk.fence})
                return NotNow("The chunk was cancelled, or its version was replaced.")
            if chunk.next_attempt_at > row["now"]:
                return NotNow(chunk.requeue_reason or "The chunk was requeued.", chunk.next_attempt_at)
            if in_use:
                return NotNow("Another process sends its records.", chunk.lease_expires_at)
            if reason := over_budget(connection, chunk_id):
                return NotNow(reason)
            connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET fence = fence + 1, submissions = submissions + 1, total_count = records,
                       lease_expires_at = bedrock_pipeline.now() + %s WHERE chunk_id = %s""",
                (lease, chunk_id),
            )
            answered = connection.execute(
                "SELECT position FROM bedrock_pipeline.on_demand_calls WHERE chunk_id = %s AND answer IS NOT NULL",
                (chunk_id,),
            ).fetchall()
            return Claim(chunk.fence + 1, frozenset(call["position"] for call in answered))

        return self._database.transaction(work)

    def begin(
        self,
        chunk_id: UUID,
        fence: int,
        positions: Sequence[int],
        *,
        wave: UUID,
        lease: timedelta,
        apart: timedelta,
    ) -> timedelta | None:
        """Record calls that are about to be sent together.

        Args:
            chunk_id: the chunk.
            fence: the writer's fencing token.
            positions: the records.
            wave: chosen by the caller, so that a commit whose acknowledgement was lost counts once.
            lease: how long no other process may take the chunk, from when the last of them may be sent.
            apart: time between two calls of the quota group, over all processes.

        Returns:
            How long to wait before sending them; None if the fencing token is no longer current, or the chunk is withdrawn
            or has ended.
        """

        def work(connection: Connection) -> timedelta | None:
            group = connection.execute(
                """SELECT quota_group, greatest(next_call_at, bedrock_pipeline.now()) AS first,
                          bedrock_pipeline.now() AS now
                   FROM bedrock_pipeline.quota_groups JOIN bedrock_pipeline.chunks USING (quota_group)
                   WHERE chunk_id = %s FOR NO KEY UPDATE OF quota_groups""",
                (chunk_id,),
            ).fetchone()
            if group is None:
                return None
            following = group["first"] + apart * len(positions)
            renewed = connection.execute(
                """UPDATE bedrock_pipeline.chunks SET lease_expires_at = %s
                   WHERE chunk_id = %s AND fence = %s AND status = 'pending' AND NOT bedrock_pipeline.withdrawn(chunks)""",
                (following + lease, chunk_id, fence),
            )
            if renewed.rowcount != 1:
                return None
            connection.execute(
                "UPDATE bedrock_pipeline.quota_groups SET next_call_at = %s WHERE quota_group = %s",
                (following, group["quota_group"]),
            )
            connection.execute(
                """INSERT INTO bedrock_pipeline.on_demand_calls AS c (chunk_id, position, wave)
                   SELECT %(chunk)s, position, %(wave)s FROM unnest(%(positions)s::int[]) AS position
                   ON CONFLICT (chunk_id, position) DO UPDATE
                   SET times = c.times + (c.wave <> excluded.wave)::int, wave = excluded.wave, sent_at = excluded.sent_at
                   WHERE c.answer IS NULL""",
                {"chunk": chunk_id, "wave": wave, "positions": list(positions)},
            )
            wait: timedelta = group["first"] - group["now"]
            return max(timedelta(0), wait)

        return self._database.transaction(work)

    def record(
        self, chunk_id: UUID, fence: int, answers: Sequence[tuple[int, bytes]], *, succeeded: int
    ) -> bool:
        """Keep responses, as lines of a job's output; False if the fencing token is no longer current.

        The chunk is completed with the last of them.
        """

        def work(connection: Connection) -> bool:
            chunk = connection.execute(
                """SELECT records FROM bedrock_pipeline.chunks
                   WHERE chunk_id = %s AND fence = %s AND status = 'pending' FOR UPDATE""",
                (chunk_id, fence),
            ).fetchone()
            if chunk is None:
                return False
            kept = connection.execute(
                """UPDATE bedrock_pipeline.on_demand_calls c
                   SET answer = v.answer, answered_at = bedrock_pipeline.now()
                   FROM unnest(%(positions)s::int[], %(answers)s::bytea[]) AS v(position, answer)
                   WHERE c.chunk_id = %(chunk)s AND c.position = v.position AND c.answer IS NULL""",
                {
                    "chunk": chunk_id,
                    "positions": [position for position, _ in answers],
                    "answers": [answer for _, answer in answers],
                },
            ).rowcount
            connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET processed_count = coalesce(processed_count, 0) + %(kept)s,
                       success_count = coalesce(success_count, 0) + %(succeeded)s,
                       error_count = coalesce(error_count, 0) + %(kept)s - %(succeeded)s
                   WHERE chunk_id = %(chunk)s""",
                {"chunk": chunk_id, "kept": kept, "succeeded": succeeded if kept else 0},
            )
            connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'completed', status_changed_at = bedrock_pipeline.now(),
                       ended_at = bedrock_pipeline.now(), lease_expires_at = NULL, requeued_since = NULL,
                       requeue_reason = NULL
                   WHERE chunk_id = %s AND processed_count = records""",
                (chunk_id,),
            )
            return True

        return self._database.transaction(work)

    def end_withdrawn(self, chunk_id: UUID, fence: int) -> bool:
        """End a withdrawn chunk once its calls in flight have responded; the responses are kept, since they are paid for."""
        return self._database.execute(_END_WITHDRAWN, {"chunk": chunk_id, "fence": fence}) == 1

    def requeue(
        self, chunk_id: UUID, fence: int, *, reason: str, delay: timedelta, give_up_after: timedelta
    ) -> RequeueResult:
        """After transient errors, send the remaining records later; see `requeue_chunk`."""

        def work(connection: Connection) -> RequeueResult:
            row = connection.execute(
                """SELECT * FROM bedrock_pipeline.chunks
                   WHERE chunk_id = %s AND fence = %s AND status = 'pending' FOR UPDATE""",
                (chunk_id, fence),
            ).fetchone()
            if row is None:
                return RequeueResult.LOST
            return requeue_chunk(
                connection, ChunkRow.of(row), reason=reason, delay=delay, give_up_after=give_up_after
            )

        return self._database.transaction(work)

    def reject(self, chunk_id: UUID, fence: int, *, reason: str) -> bool:
        """Fail the chunk after a permanent error that concerns every call; responses so far are kept."""
        return (
            self._database.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = CASE WHEN bedrock_pipeline.withdrawn(chunks) THEN 'stopped' ELSE 'failed' END,
                       status_changed_at = bedrock_pipeline.now(), lease_expires_at = NULL,
                       ended_at = bedrock_pipeline.now(), status_message = %s, requeued_since = NULL,
                       requeue_reason = NULL
                   WHERE chunk_id = %s AND fence = %s AND status = 'pending'""",
                (reason, chunk_id, fence),
            )
            == 1
        )

    def lines(self, chunk_id: UUID) -> list[bytes]:
        """The responses so far, by position; they are fewer than a job's minimum of records."""
        rows = self._database.fetch(
            """SELECT answer FROM bedrock_pipeline.on_demand_calls
               WHERE chunk_id = %s AND answer IS NOT NULL ORDER BY position""",
            (chunk_id,),
        )
        return [bytes(row["answer"]) for row in rows]

    def repeated(self, chunk_id: UUID) -> int:
        """Number of calls that were sent again because a process died while they were in flight."""
        [row] = self._database.fetch(
            "SELECT coalesce(sum(times - 1), 0)::bigint AS n FROM bedrock_pipeline.on_demand_calls WHERE chunk_id = %s",
            (chunk_id,),
        )
        found: int = row["n"]
        return found
