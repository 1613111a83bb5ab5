"""Events: what changed, in an order in which none is missed.

What belongs here: reading table `events`, which a trigger on `chunks` writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bedrock_pipeline.ledger.database import Database


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader has read: everything up to and including this event."""

    transaction: int = 0
    event_id: int = 0


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


class Events:
    """The changes of all chunks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, position: Position, *, limit: int = 1000) -> Sequence[Event]:
        """Events after a position, in the order of transactions.

        Ids are given before they are committed, so a reader that took the highest id would miss what commits
        late. Only transactions below the horizon of the snapshot are shown: none older can still commit.
        """
        rows = self._database.fetch(
            """SELECT transaction::text::bigint AS transaction, event_id, at, pipeline, dataset, chunk_id, status,
                      previous, job_arn, message
               FROM bedrock_pipeline.events
               WHERE transaction < pg_snapshot_xmin(pg_current_snapshot())
                 AND (transaction, event_id) > (%s::text::xid8, %s)
               ORDER BY transaction, event_id LIMIT %s""",
            (position.transaction, position.event_id, limit),
        )
        return [Event(position=Position(row.pop("transaction"), row.pop("event_id")), **row) for row in rows]
