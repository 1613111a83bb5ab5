"""Events: changes, in an order in which a reader misses none.

What belongs here: reading table `events`, which a trigger on `chunks` writes.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from psycopg.rows import DictRow

from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.incarnations import Incarnations

_BEGINNING: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Position:
    """A reader's position: it has read everything up to and including this event.

    Attributes:
        incarnation: of the ledger when it was read; nil at the beginning.
        within: how many of the next change's events were read too, where it is several of a queue's.
    """

    incarnation: UUID = _BEGINNING
    transaction: int = 0
    event_id: int = 0
    within: int = 0

    def __str__(self) -> str:
        return (
            f"{self.incarnation}-{self.transaction}-{self.event_id}{f'-{self.within}' if self.within else ''}"
        )

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a position that `str` made.

        Raises:
            ArgumentError: `str` has not made it.
        """
        parts = text.split("-")
        with suppress(ValueError):
            if len(parts) in (7, 8):
                return cls(UUID("-".join(parts[:5])), *map(int, parts[5:]))
        raise ArgumentError(
            "The text is not the position of an event.", "Give the `str(event.position)` that was stored."
        )


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

    def __init__(self, database: Database, incarnations: Incarnations) -> None:
        self._database = database
        self._incarnations = incarnations

    def after(self, position: Position, *, pipeline: str | None = None, limit: int = 1000) -> Sequence[Event]:
        """Events after a position, of one pipeline or of all, in the order of transactions.

        Ids are given before they are committed, so a reader that took the highest id would miss what commits
        late. Only transactions below the horizon of the snapshot are shown: none older can still commit. Those of earlier
        incarnations of the ledger come first; nothing is written into these any more. From a position that this ledger
        does not know, as after a backup was restored, every event is read again.
        """
        rows = self._database.fetch(
            """SELECT i.incarnation, e.transaction::text::bigint AS transaction, e.event_id, e.at, e.pipeline, e.dataset,
                      e.chunk_id, e.status, e.previous, e.job_arn, e.message
               FROM bedrock_pipeline.events e JOIN bedrock_pipeline.incarnations i ON i.number = e.incarnation
               WHERE (e.incarnation < %(current)s OR e.transaction < pg_snapshot_xmin(pg_current_snapshot()))
                 AND (e.incarnation, e.transaction, e.event_id) > (%(number)s, %(transaction)s::text::xid8, %(event)s)
                 AND (%(pipeline)s::text IS NULL OR e.pipeline = %(pipeline)s)
               ORDER BY e.incarnation, e.transaction, e.event_id LIMIT %(limit)s""",
            {**self._since(position), "pipeline": pipeline, "limit": limit},
        )
        return [Event(position=_position(row), **row) for row in rows]

    def of_queue(self, queue: str, position: Position, *, limit: int = 1000) -> Sequence[JobEvent]:
        """Events of a queue's jobs after a position, in the same order; about `limit`, since none is cut in two."""
        rows = self._database.fetch(
            """SELECT i.incarnation, e.transaction::text::bigint AS transaction, e.event_id, e.at, j.chunk_id, e.status,
                      e.previous, e.job_arn, e.message, c.records, j.later
               FROM bedrock_pipeline.events e JOIN bedrock_pipeline.incarnations i ON i.number = e.incarnation
                    CROSS JOIN LATERAL (
                        SELECT q.chunk_id, false AS later FROM bedrock_pipeline.queue_jobs q WHERE q.chunk_id = e.chunk_id
                        UNION ALL
                        SELECT o.origin_id, true FROM bedrock_pipeline.chunk_origins o
                        WHERE o.chunk_id = e.chunk_id
                          AND (e.status = 'waiting' OR e.status = 'failed' AND e.job_arn IS NULL)) AS j
                    JOIN bedrock_pipeline.chunks c ON c.chunk_id = j.chunk_id
               WHERE e.pipeline = %(queue)s
                 AND (e.incarnation < %(current)s OR e.transaction < pg_snapshot_xmin(pg_current_snapshot()))
                 AND (e.incarnation, e.transaction, e.event_id) > (%(number)s, %(transaction)s::text::xid8, %(event)s)
               ORDER BY e.incarnation, e.transaction, e.event_id FETCH FIRST %(limit)s ROWS WITH TIES""",
            {**self._since(position), "queue": queue, "limit": limit},
        )
        return [JobEvent(position=_position(row), **row) for row in rows]

    def now(self) -> Position:
        """The position from which a reader misses no event that is committed from now on."""
        here = self._incarnations.current()
        return Position(here.incarnation, here.horizon - 1, 2**63 - 1)

    def _since(self, position: Position) -> dict[str, int]:
        """The numbers to compare with, for a position of any incarnation."""
        here = self._incarnations.current()
        if position.incarnation == here.incarnation and position.transaction >= here.next_transaction:
            here = self._incarnations.begin(here)  # it was read from what a backup did not have
        number = self._incarnations.number_of(position.incarnation)
        if number is None:
            number, position = 0, Position()
        return {
            "current": here.number,
            "number": number,
            "transaction": position.transaction,
            "event": position.event_id,
        }


def _position(row: DictRow) -> Position:
    return Position(row.pop("incarnation"), row.pop("transaction"), row.pop("event_id"))
