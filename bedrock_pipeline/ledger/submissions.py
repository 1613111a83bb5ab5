"""Submissions: from a pending chunk to a job whose ARN is known.

What belongs here: the statements of the submission protocol (`docs/submitting.md`). Each write carries its writer's
fencing token, so that a process that was suspended changes nothing when it resumes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bedrock_pipeline.ledger.clock import now
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.quota_groups import SlotsInUse, back_off, end_backoff, lock_group
from bedrock_pipeline.ledger.requeue import RequeueResult, end_withdrawn, is_withdrawn, requeue_chunk
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.spending import lock_budget, over_budget
from bedrock_pipeline.ledger.token import request_token


@dataclass(frozen=True, slots=True)
class Intent:
    """The right to send one Create for a chunk, until the lease ends.

    Attributes:
        throttles: of the quota group in a row, when the intent was recorded.
        resent: whether a Create with this token was sent before, so that a job may exist.
        withdrawn: whether the chunk was cancelled or its version replaced since then, so that no job is to be created.
    """

    chunk: ChunkRow
    fence: int
    token: str
    request: dict[str, Any]
    throttles: int
    resent: bool
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why a chunk may not be submitted now.

    Attributes:
        reason: one sentence for an operator.
        until: when to try again; None where something else must happen first.
    """

    reason: str
    until: datetime | None = None


_OPEN = ("submitting", "in-doubt")


class Submissions:
    """The submission protocol's transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, pipelines: list[str], limit: int) -> list[ChunkRow]:
        """Chunks to submit now, no more than there are free slots in their quota group, and than their pipeline may use.

        Chunks over their dataset's cap are left out until an operator approves the cost. A group in backoff has none
        due; after the backoff it has a single one, as a probe: the one that has waited longest, so that it is the first
        to be given up. Chunks of on-demand calls need no slot; they are due while no process works on them.

        A pending chunk that is withdrawn is due whatever it costs: `intend` and `Calls.claim` end it.

        Args:
            pipelines: names of pipelines.
            limit: at most this number.
        """
        rows = self._database.fetch(
            """WITH capped AS MATERIALIZED (
                   SELECT b.* FROM bedrock_pipeline.budgets b
                   WHERE b.pipeline = ANY(%(pipelines)s) AND EXISTS (
                       SELECT FROM bedrock_pipeline.chunks c
                       WHERE (c.pipeline, c.dataset) = (b.pipeline, b.dataset) AND c.collected_at IS NULL
                         AND c.status = 'pending')),
               affordable AS NOT MATERIALIZED (
                   SELECT c.* FROM bedrock_pipeline.chunks c
                   WHERE c.status = 'pending' AND c.pipeline = ANY(%(pipelines)s) AND NOT EXISTS (
                       SELECT FROM capped b
                       WHERE (b.pipeline, b.dataset) = (c.pipeline, c.dataset)
                         AND (b.committed_usd - bedrock_pipeline.taken_usd(c) + c.estimated_cost_usd <= b.cap_usd) IS NOT TRUE
                         AND NOT bedrock_pipeline.withdrawn(c))),
               used AS MATERIALIZED (
                   SELECT quota_group, pipeline, count(*) AS jobs FROM bedrock_pipeline.chunks
                   WHERE status <> 'pending' AND ended_at IS NULL GROUP BY quota_group, pipeline),
               slots AS (
                   SELECT g.quota_group,
                          g.max_jobs - g.others - coalesce(
                              (SELECT sum(u.jobs) FROM used u WHERE u.quota_group = g.quota_group), 0) AS free,
                          CASE WHEN g.throttles > 0 THEN 1 END AS most
                   FROM bedrock_pipeline.quota_groups g
                   WHERE g.backoff_until IS NULL OR g.backoff_until <= bedrock_pipeline.now()),
               waiting AS (
                   SELECT c.*, row_number() OVER (PARTITION BY c.quota_group, c.pipeline
                       ORDER BY c.requeued_since, c.next_attempt_at, c.dataset, c.attempt, c.sequence) AS place
                   FROM affordable c WHERE c.mode = 'batch' AND c.next_attempt_at <= bedrock_pipeline.now())
               SELECT c.* FROM slots CROSS JOIN LATERAL (
                   SELECT w.chunk_id FROM waiting w LEFT JOIN used u USING (quota_group, pipeline)
                   WHERE w.quota_group = slots.quota_group
                     AND (w.max_jobs IS NULL OR coalesce(u.jobs, 0) + w.place <= w.max_jobs)
                   ORDER BY w.requeued_since, w.next_attempt_at, w.dataset, w.attempt, w.sequence
                   LIMIT least(greatest(slots.free, 0), slots.most)) AS due
               JOIN bedrock_pipeline.chunks c USING (chunk_id)
               UNION ALL (
                   SELECT c.* FROM affordable c
                   WHERE c.mode = 'on-demand' AND greatest(c.next_attempt_at, c.lease_expires_at) <= bedrock_pipeline.now()
                   ORDER BY c.next_attempt_at, c.dataset, c.attempt, c.sequence)
               LIMIT %(limit)s""",
            {"pipelines": pipelines, "limit": limit},
        )
        return [ChunkRow.of(row) for row in rows]

    def intend(
        self, chunk_id: UUID, intent_id: UUID, *, request: dict[str, Any], lease: timedelta
    ) -> Intent | NotNow:
        """Step 1 of the protocol: take a slot and the chunk, or say why not.

        Args:
            chunk_id: the chunk.
            intent_id: chosen by the caller for this intent, so that its own commit is recognized where the
                acknowledgement was lost.
            request: the Create request without its token; frozen here.
            lease: how long the Create may be sent, counted by the database.
        """

        def work(connection: Connection) -> Intent | NotNow:
            group = lock_group(connection, chunk_id)
            lock_budget(connection, chunk_id)
            chunk = _locked(connection, chunk_id)
            if group is None or chunk is None:
                return NotNow("The chunk no longer exists: its dataset was packed again.")
            if chunk.intent_id == intent_id:
                return _intent(chunk.row, group["throttles"])
            # Only after the lock: a count in the same statement would not see what the lock waited for.
            if chunk.row.status == "pending" and is_withdrawn(connection, chunk_id):
                end_withdrawn(connection, chunk.row)
                return NotNow("The chunk was cancelled, or its version was replaced.")
            if not_now := _why_not(connection, chunk.row, group):
                return not_now
            if reason := over_budget(connection, chunk_id):
                return NotNow(reason)
            deployment = connection.execute(
                "SELECT deployment_id FROM bedrock_pipeline.deployment"
            ).fetchone()
            assert deployment is not None  # the first migration makes it
            taken = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'submitting', status_changed_at = bedrock_pipeline.now(), fence = fence + 1,
                       intent_id = %(intent)s, lease_expires_at = bedrock_pipeline.now() + %(lease)s,
                       frozen_request = %(request)s, token = %(token)s, submissions = submissions + 1,
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
            return _intent(ChunkRow.of(taken), group["throttles"])

        return self._database.transaction(work)

    def record_accepted(
        self, chunk_id: UUID, fence: int, job_arn: str, submitted_at: datetime | None = None
    ) -> bool:
        """Step 4: Bedrock has the job; False if the fencing token is no longer current.

        Args:
            chunk_id: the chunk.
            fence: the writer's fencing token.
            job_arn: the job.
            submitted_at: when a job that List showed was submitted, so that List shows it again; None: now.
        """

        def work(connection: Connection) -> bool:
            lock_group(connection, chunk_id)
            recorded = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'queued', status_changed_at = bedrock_pipeline.now(), job_arn = %(arn)s,
                       submitted_at = coalesce(%(submitted)s, bedrock_pipeline.now()),
                       requeued_since = NULL, requeue_reason = NULL, status_message = NULL
                   WHERE chunk_id = %(chunk)s AND fence = %(fence)s
                     AND status IN ('submitting', 'in-doubt', 'needs-resolution')""",
                {"arn": job_arn, "submitted": submitted_at, "chunk": chunk_id, "fence": fence},
            )
            if recorded.rowcount == 1:
                end_backoff(connection, chunk_id)
                return True
            known = connection.execute(
                "SELECT FROM bedrock_pipeline.chunks WHERE chunk_id = %s AND job_arn = %s",
                (chunk_id, job_arn),
            ).fetchone()
            return known is not None

        return self._database.transaction(work)

    def requeue(
        self,
        chunk_id: UUID,
        fence: int,
        *,
        reason: str,
        delay: timedelta,
        back_off_group: bool,
        give_up_after: timedelta,
    ) -> RequeueResult:
        """Step 5: after a transient error there is no job; the slot is released and the request no longer frozen.

        Args:
            chunk_id: the chunk.
            fence: the writer's fencing token.
            reason: one sentence for an operator.
            delay: time until the next attempt.
            back_off_group: whether the reason concerns all chunks of the quota group, which then wait together.
            give_up_after: a chunk that has been requeued for longer fails.
        """

        def work(connection: Connection) -> RequeueResult:
            group = lock_group(connection, chunk_id)
            chunk = _locked(connection, chunk_id)
            if group is None or chunk is None or chunk.row.fence != fence or chunk.row.status not in _OPEN:
                return RequeueResult.LOST
            wait = back_off(connection, group, reason, delay) if back_off_group else delay
            return requeue_chunk(
                connection, chunk.row, reason=reason, delay=wait, give_up_after=give_up_after
            )

        return self._database.transaction(work)

    def reject(self, chunk_id: UUID, fence: int, *, reason: str) -> bool:
        """Step 5: after a permanent error the chunk has failed without a job, or ended if it was cancelled."""
        return self._move(
            chunk_id,
            fence,
            """status = CASE WHEN bedrock_pipeline.withdrawn(chunks) THEN 'stopped' ELSE 'failed' END,
               ended_at = bedrock_pipeline.now(), status_message = %(reason)s,
               requeued_since = NULL, requeue_reason = NULL""",
            reason,
        )

    def mark_in_doubt(self, chunk_id: UUID, fence: int, *, reason: str) -> bool:
        """Step 5: it is unknown whether a job exists; the slot is kept."""
        return self._move(chunk_id, fence, "status = 'in-doubt', status_message = %(reason)s", reason)

    def need_resolution(self, chunk_id: UUID, fence: int, *, reason: str) -> bool:
        """Step 6: List does not explain what happened; the slot is kept until an operator decides."""
        return self._move(chunk_id, fence, "status = 'needs-resolution', status_message = %(reason)s", reason)

    def _move(self, chunk_id: UUID, fence: int, changes: LiteralString, reason: str) -> bool:
        statement = sql.SQL(
            """UPDATE bedrock_pipeline.chunks SET {}, status_changed_at = bedrock_pipeline.now()
               WHERE chunk_id = %(chunk)s AND fence = %(fence)s AND status IN ('submitting', 'in-doubt')"""
        ).format(sql.SQL(changes))
        return self._database.execute(statement, {"chunk": chunk_id, "fence": fence, "reason": reason}) == 1

    def to_reconcile(
        self, consistency_window: timedelta, limit: int, account: str | None = None
    ) -> list[ChunkRow]:
        """Submissions in doubt whose lease and consistency window have ended, whatever pipeline they are of.

        Those of another account are left out, since only the List of that account shows whether they have a job.
        """
        rows = self._database.fetch(
            """SELECT c.* FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.quota_groups g USING (quota_group)
               WHERE c.status <> 'pending' AND c.ended_at IS NULL AND c.status IN ('submitting', 'in-doubt')
                 AND c.lease_expires_at + %s <= bedrock_pipeline.now()
                 AND (%s::text IS NULL OR g.account IS NULL OR g.account = %s)
               ORDER BY c.lease_expires_at LIMIT %s""",
            (consistency_window, account, account, limit),
        )
        return [ChunkRow.of(row) for row in rows]

    def out_of_reach(self, region: str, account: str | None) -> list[ChunkRow]:
        """Submissions in doubt, or that need resolution, in another account or in another region that cannot be listed.

        Args:
            region: of the settings.
            account: of the settings; None if it is not known.
        """
        rows = self._database.fetch(
            """SELECT c.* FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.quota_groups g USING (quota_group)
               WHERE c.status <> 'pending' AND c.ended_at IS NULL
                 AND c.status IN ('submitting', 'in-doubt', 'needs-resolution')
                 AND (g.account <> %s::text OR g.region <> %s AND g.region IN (
                     SELECT region FROM bedrock_pipeline.unreachable_regions))
               ORDER BY c.pipeline, c.chunk_key""",
            (account, region),
        )
        return [ChunkRow.of(row) for row in rows]

    def intend_again(
        self, chunk_id: UUID, fence: int, intent_id: UUID, *, consistency_window: timedelta, lease: timedelta
    ) -> Intent | None:
        """Step 6: the intent to send the same request with the same token again, under a new fencing token.

        Returns:
            None if another process was quicker, or the consistency window has not ended.
        """

        def work(connection: Connection) -> Intent | None:
            connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'submitting', status_changed_at = bedrock_pipeline.now(), fence = fence + 1,
                       intent_id = %(intent)s, lease_expires_at = bedrock_pipeline.now() + %(lease)s,
                       submissions = submissions + 1
                   WHERE chunk_id = %(chunk)s AND fence = %(fence)s AND status IN ('submitting', 'in-doubt')
                     AND lease_expires_at + %(consistency_window)s <= bedrock_pipeline.now()
                """,
                {
                    "intent": intent_id,
                    "lease": lease,
                    "chunk": chunk_id,
                    "fence": fence,
                    "consistency_window": consistency_window,
                },
            )
            row = connection.execute(
                """SELECT c.*, g.throttles, bedrock_pipeline.withdrawn(c) AS withdrawn
                   FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.quota_groups g USING (quota_group)
                   WHERE c.chunk_id = %s AND c.intent_id = %s AND c.status = 'submitting'""",
                (chunk_id, intent_id),
            ).fetchone()
            if row is None:
                return None
            return _intent(ChunkRow.of(row), row["throttles"], resent=True, withdrawn=row["withdrawn"])

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


def _why_not(connection: Connection, chunk: ChunkRow, group: DictRow) -> NotNow | None:
    if chunk.status != "pending":
        return NotNow(f"The chunk is {chunk.status} already; it has at most one job.")
    if chunk.mode != "batch":
        return NotNow(chunk.status_message or f"The chunk's mode is {chunk.mode}: it has no job.")
    time = now(connection)
    slots = connection.execute(
        """SELECT count(*) AS used,
                  count(*) FILTER (WHERE status = 'submitting' AND lease_expires_at > %s) AS being_sent,
                  count(*) FILTER (WHERE pipeline = %s) AS own
           FROM bedrock_pipeline.chunks
           WHERE quota_group = %s AND status <> 'pending' AND ended_at IS NULL""",
        (time, chunk.pipeline, chunk.quota_group),
    ).fetchone()
    assert slots is not None  # an aggregate has one row
    if chunk.next_attempt_at > time:
        return NotNow(chunk.requeue_reason or "The chunk was requeued.", chunk.next_attempt_at)
    if group["backoff_until"] is not None and group["backoff_until"] > time:
        return NotNow(group["backoff_reason"], group["backoff_until"])
    if group["throttles"] and slots["being_sent"]:
        return NotNow(
            f"Another chunk is submitted as a probe, after the backoff ({group['backoff_reason']})."
        )
    found = SlotsInUse(
        chunk.quota_group,
        chunk.pipeline,
        slots=group["max_jobs"],
        used=slots["used"],
        others=group["others"],
        own=slots["own"],
        own_limit=chunk.max_jobs,
    )
    return NotNow(found.why_none) if found.why_none else None


def _intent(chunk: ChunkRow, throttles: int, *, resent: bool = False, withdrawn: bool = False) -> Intent:
    assert chunk.token is not None  # the constraint intent_is_whole
    assert chunk.frozen_request is not None
    return Intent(chunk, chunk.fence, chunk.token, chunk.frozen_request, throttles, resent, withdrawn)
