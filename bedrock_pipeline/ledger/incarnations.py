"""Incarnations: the lives of a ledger, of which each restored backup begins another.

What belongs here: the statements on table `incarnations`. That the ledger is in another database, such as a server into
which a dump was restored, is noticed by Postgres itself when an event is written. That its data went back in time under the
same identity, as with a snapshot of a disk, is noticed by whoever knows a position that is not reached yet.
"""

from dataclasses import dataclass
from uuid import UUID

from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.database import Connection, Database


@dataclass(frozen=True, slots=True)
class Incarnation:
    """The current incarnation of a ledger.

    Attributes:
        horizon: every transaction below has ended.
        next_transaction: no transaction has this number yet, or a higher one.
    """

    number: int
    incarnation: UUID
    horizon: int
    next_transaction: int


class Incarnations:
    """The incarnations of one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def current(self) -> Incarnation:
        """The current one; another begins if the ledger finds itself in another database."""
        return self._database.transaction(_current)

    def begin(self, last: Incarnation) -> Incarnation:
        """Begin another one, since the ledger went back in time; unless another process has done so since `last`.

        Readers of earlier incarnations start over: what was written since the restore is not told apart from what the
        backup had.
        """

        def work(connection: Connection) -> Incarnation:
            # No event that carries the last number is committed after this.
            connection.execute("LOCK TABLE bedrock_pipeline.events IN SHARE ROW EXCLUSIVE MODE")
            if _current(connection).number == last.number:
                connection.execute(
                    """INSERT INTO bedrock_pipeline.incarnations (number, identity, starts_over)
                       VALUES (%s, bedrock_pipeline.database_identity(), true)""",
                    (last.number + 1,),
                )
            return _current(connection)

        return self._database.transaction(work)

    def record_sweep(self, number: int) -> None:
        """Record that the account's jobs were compared with an incarnation."""
        self._database.execute(
            """UPDATE bedrock_pipeline.incarnations SET swept_at = bedrock_pipeline.now()
               WHERE number = %s AND swept_at IS NULL""",
            (number,),
        )

    def number_of(self, incarnation: UUID) -> int | None:
        """The number of an incarnation whose readers can go on; None: they start over."""
        rows = self._database.fetch(
            """SELECT number FROM bedrock_pipeline.incarnations
               WHERE incarnation = %s AND number >= (
                   SELECT coalesce(max(number), 0) FROM bedrock_pipeline.incarnations WHERE starts_over)""",
            (incarnation,),
        )
        return int(rows[0]["number"]) if rows else None

    def is_known(self, incarnation: UUID) -> bool:
        """Whether this ledger is of this incarnation, or was."""
        return bool(
            self._database.fetch(
                "SELECT FROM bedrock_pipeline.incarnations WHERE incarnation = %s", (incarnation,)
            )
        )


def must_be_swept(connection: Connection) -> None:
    """Check that a restored ledger has been compared with the account's jobs, before anything is bought or given up.

    To be called before a dataset is locked.

    Raises:
        StateError: it was not.
    """
    row = connection.execute(
        """SELECT FROM bedrock_pipeline.incarnations
           WHERE number = bedrock_pipeline.current_incarnation() AND number > 1 AND swept_at IS NULL"""
    ).fetchone()
    if row is not None:
        raise StateError(
            "The ledger was restored from a backup, and jobs that were submitted since are not looked for yet.",
            "Run `bedrock-pipeline reconcile`, or wait for the sensors to do so, and try again.",
        )


def _current(connection: Connection) -> Incarnation:
    here = connection.execute("SELECT bedrock_pipeline.current_incarnation() AS number").fetchone()
    assert here is not None  # the function has one result
    row = connection.execute(
        """SELECT incarnation, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
                  pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_transaction
           FROM bedrock_pipeline.incarnations WHERE number = %s""",
        (here["number"],),
    ).fetchone()
    assert row is not None  # it was found or inserted
    return Incarnation(here["number"], row["incarnation"], row["horizon"], row["next_transaction"])
