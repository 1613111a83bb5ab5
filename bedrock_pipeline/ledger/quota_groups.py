"""Quota groups: how many jobs each may have at once, and their backoff.

What belongs here: the statements on table `quota_groups`. Throttling concerns every chunk of a group alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.ledger.clock import now
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import ChunkRow, NewChunk
from bedrock_pipeline.models.quota_group import QuotaGroup, default_max_jobs

_MOST_JOBS = 1_000_000


@dataclass(frozen=True, slots=True)
class QuotaGroupStatus:
    """A quota group and its slots.

    Attributes:
        max_jobs: jobs at once, ours and others'.
        used: slots that our jobs hold.
        others: jobs that are not ours, as the last sweep saw them.
        waiting: pending chunks.
        backoff_until: when the next chunk may be submitted after throttling; None where none is in force.
    """

    quota_group: str
    max_jobs: int
    used: int
    others: int
    waiting: int
    backoff_until: datetime | None
    backoff_reason: str | None


@dataclass(frozen=True, slots=True)
class SlotsInUse:
    """The slots of a quota group, as a chunk of a pipeline finds them.

    Attributes:
        slots: of the group.
        used: of them, by our jobs.
        others: of them, by jobs that are not ours.
        own: those that the pipeline's jobs use.
        own_limit: how many it may use; None: all.
    """

    quota_group: str
    pipeline: str
    slots: int
    used: int
    others: int
    own: int
    own_limit: int | None

    @property
    def why_none(self) -> str | None:
        """Why the chunk gets none; None if one is free."""
        if self.slots == 0:
            return (
                f"The limit of {self.quota_group} is 0 jobs, until `bedrock-pipeline quota` sets another one."
            )
        if self.used + self.others >= self.slots:
            others = f" ({self.others} by jobs that are not ours)" if self.others else ""
            return f"All {self.slots} slots of {self.quota_group} are in use{others}."
        if self.own_limit is not None and self.own >= self.own_limit:
            return (
                f"Pipeline {self.pipeline} has {self.own} jobs of the {self.own_limit} that its limits allow."
            )
        return None


class QuotaGroups:
    """The quota groups of a deployment; one ledger has one limit for each, whichever process asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[QuotaGroupStatus]:
        """Every group that has a limit or chunks, by its key."""
        rows = self._database.fetch(
            """SELECT g.quota_group, g.max_jobs, g.others, g.backoff_reason,
                      CASE WHEN g.backoff_until > bedrock_pipeline.now() THEN g.backoff_until END AS backoff_until,
                      (SELECT count(*) FROM bedrock_pipeline.chunks c
                       WHERE c.quota_group = g.quota_group AND c.status <> 'pending' AND c.ended_at IS NULL) AS used,
                      (SELECT count(*) FROM bedrock_pipeline.chunks c
                       WHERE c.quota_group = g.quota_group AND c.status = 'pending') AS waiting
               FROM bedrock_pipeline.quota_groups g ORDER BY g.quota_group"""
        )
        return [
            QuotaGroupStatus(**{field.name: row[field.name] for field in fields(QuotaGroupStatus)})
            for row in rows
        ]

    def max_jobs(self, group: QuotaGroup) -> int:
        """How many jobs a group may have at once: what an operator has set, otherwise Bedrock's default."""
        rows = self._database.fetch(
            "SELECT max_jobs FROM bedrock_pipeline.quota_groups WHERE quota_group = %s", (str(group),)
        )
        return int(rows[0]["max_jobs"]) if rows else default_max_jobs(group.name)

    def set_max_jobs(self, group: QuotaGroup, max_jobs: int) -> None:
        """Set how many jobs a group may have at once; every intent from now on counts with it.

        Raises:
            InvalidInputError: it is negative, or more than a million.
        """
        if not 0 <= max_jobs <= _MOST_JOBS:
            raise InvalidInputError(f"max_jobs: give a number of jobs from 0 to {_MOST_JOBS:,}.")
        self._database.execute(
            """INSERT INTO bedrock_pipeline.quota_groups (quota_group, max_jobs) VALUES (%s, %s)
               ON CONFLICT (quota_group) DO UPDATE SET max_jobs = excluded.max_jobs""",
            (str(group), max_jobs),
        )

    def move(self, chunk: ChunkRow, group: QuotaGroup) -> None:
        """Move a chunk that has no job, and of which none is in doubt, to another group."""

        def work(connection: Connection) -> None:
            _ensure(connection, {str(group): chunk.model_id})
            connection.execute(
                "UPDATE bedrock_pipeline.chunks SET quota_group = %s WHERE chunk_id = %s AND status = 'pending'",
                (str(group), chunk.chunk_id),
            )

        self._database.transaction(work)

    def open_models(self) -> list[tuple[QuotaGroup, str]]:
        """The groups of chunks that have not ended, with the models of these."""
        rows = self._database.fetch(
            """SELECT DISTINCT quota_group, model_id FROM bedrock_pipeline.chunks
               JOIN bedrock_pipeline.quota_groups USING (quota_group)
               WHERE ended_at IS NULL AND region IS NOT NULL ORDER BY quota_group, model_id"""
        )
        return [(QuotaGroup.of(row["quota_group"]), row["model_id"]) for row in rows]

    def record_others(self, region: str, account: str | None, others: dict[str, int]) -> None:
        """Record how many unfinished jobs of others each group of a region has; they use slots too.

        Best effort: the numbers are updated by each sweep.
        """
        self._database.execute(
            """UPDATE bedrock_pipeline.quota_groups g SET others = seen.jobs
               FROM (SELECT quota_group, coalesce((%(others)s::jsonb ->> quota_group)::int, 0) AS jobs
                     FROM bedrock_pipeline.quota_groups
                     WHERE region = %(region)s AND account IS NOT DISTINCT FROM %(account)s) seen
               WHERE g.quota_group = seen.quota_group AND g.others <> seen.jobs""",
            {"others": Jsonb(others), "region": region, "account": account},
        )


def ensure_groups(connection: Connection, chunks: Sequence[NewChunk]) -> None:
    """Create the groups of chunks that will be entered, where they are new, with Bedrock's default limits."""
    _ensure(connection, {chunk.quota_group: chunk.model_id for chunk in chunks})


def _ensure(connection: Connection, models: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO bedrock_pipeline.quota_groups (quota_group, max_jobs) VALUES (%s, %s)
               ON CONFLICT (quota_group) DO NOTHING""",
            [(group, default_max_jobs(model_id)) for group, model_id in sorted(models.items())],
        )


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
