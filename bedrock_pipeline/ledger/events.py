"""Events: changes, in an order in which a reader misses none.

What belongs here: reading table `events`, which a trigger on `chunks` writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from bedrock_pipeline.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Position:
    """A reader's position: it has read everything up to and including this event."""

    transaction: int = 0
    event_id: int = 0

    def __str__(self) -> str:
        return f"{self.transaction}-{self.event_id}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a position that `str` made.

        Raises:
            ValueError: it is none.
        """
        transaction, event_id = text.split("-")
        return cls(int(transaction), int(event_id))


@dataclass(frozen=True, slots=True)
class Event:
    """A chunk's status changed."""

    position: Position
    at: datetime
    pipeline: str
    dataset: str
    chunk_id: UUID
    status: str
    previous: str | None
    job_arn: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A change of a queue's job: its chunk was entered or changed its status, or all records became final.

    A chunk of a later attempt is an event of each job that has records in it, where an operator must act.

    Attributes:
        chunk_id: the job's.
        later: whether it is a chunk of a later attempt.
        status: the chunk's; `waiting`, where its retryable records wait for an operator; or `final`.
        previous: the chunk's status before; None where it was entered now.
        records: of the chunk.
    """

    position: Position
    at: datetime
    chunk_id: UUID
    status: str
    previous: str | None
    job_arn: str | None
    message: str | None
    records: int
    later: bool


class Events:
    """The changes of all chunks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, position: Position, *, pipeline: str | None = None, limit: int = 1000) -> Sequence[Event]:
        """Events after a position, of one pipeline or of all, in the order of transactions.

        Ids are given before they are committed, so a reader that took the highest id would miss what commits
        late. Only transactions below the horizon of the snapshot are shown: none older can still commit.
        """
        rows = self._database.fetch(
            """SELECT transaction::text::bigint AS transaction, event_id, at, pipeline, dataset, chunk_id, status,
                      previous, job_arn, message
               FROM bedrock_pipeline.events
               WHERE transaction < pg_snapshot_xmin(pg_current_snapshot())
                 AND (transaction, event_id) > (%s::text::xid8, %s)
                 AND (%s::text IS NULL OR pipeline = %s)
               ORDER BY transaction, event_id LIMIT %s""",
            (position.transaction, position.event_id, pipeline, pipeline, limit),
        )
        return [Event(position=Position(row.pop("transaction"), row.pop("event_id")), **row) for row in rows]

    def of_queue(self, queue: str, position: Position, *, limit: int = 1000) -> Sequence[JobEvent]:
        """Events of a queue's jobs after a position, in the same order; about `limit`, since none is cut in two."""
        rows = self._database.fetch(
            """SELECT e.transaction::text::bigint AS transaction, e.event_id, e.at, j.chunk_id, e.status, e.previous,
                      e.job_arn, e.message, c.records, j.later
               FROM bedrock_pipeline.events e CROSS JOIN LATERAL (
                        SELECT q.chunk_id, false AS later FROM bedrock_pipeline.queue_jobs q WHERE q.chunk_id = e.chunk_id
                        UNION ALL
                        SELECT o.origin_id, true FROM bedrock_pipeline.chunk_origins o
                        WHERE o.chunk_id = e.chunk_id
                          AND (e.status = 'waiting' OR e.status = 'failed' AND e.job_arn IS NULL)) AS j
                    JOIN bedrock_pipeline.chunks c ON c.chunk_id = j.chunk_id
               WHERE e.pipeline = %s AND e.transaction < pg_snapshot_xmin(pg_current_snapshot())
                 AND (e.transaction, e.event_id) > (%s::text::xid8, %s)
               ORDER BY e.transaction, e.event_id FETCH FIRST %s ROWS WITH TIES""",
            (queue, position.transaction, position.event_id, limit),
        )
        return [
            JobEvent(position=Position(row.pop("transaction"), row.pop("event_id")), **row) for row in rows
        ]

    def now(self) -> Position:
        """The position from which a reader misses no event that is committed from now on."""
        row = self._database.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon")[
            0
        ]
        return Position(row["horizon"] - 1, 2**63 - 1)
