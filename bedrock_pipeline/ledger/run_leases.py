"""Run leases: the runs that the sensors have requested.

What belongs here: the statements on table `run_leases`. Dagster deduplicates a run key for ever, a run that died
included; so a key carries the UUID of a run lease, and a new one is acquired when the last has expired. A number would be
given twice after a backup was restored. Run leases
save duplicate work; they never protect money (that is `submissions`). A lease that has expired stays as the time of the
last attempt: what was never tried is due before what failed.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

from bedrock_pipeline.ledger.database import Connection, Database

Kind = Literal["prepare", "flush", "submit", "collect", "retry", "publish"]
#: Besides the steps: finishing what removed pipelines have left.
LeaseKind = Kind | Literal["finish"]


class RunLeases:
    """Leases of runs, by kind, pipeline and subject (a dataset's or chunk's key)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(
        self, kind: LeaseKind, subjects: Sequence[tuple[str, str]], lifetime: timedelta
    ) -> dict[tuple[str, str], UUID]:
        """Acquire a lease for each subject without a valid one.

        Args:
            kind: what the run would do.
            subjects: pairs of pipeline and key.
            lifetime: how long a run may wait in the queue before it is requested again.

        Returns:
            The UUIDs of the leases that were acquired, by subject.
        """

        def work(connection: Connection) -> dict[tuple[str, str], UUID]:
            rows = connection.execute(
                """INSERT INTO bedrock_pipeline.run_leases AS o (kind, pipeline, subject, lease_id, acquired_at, expires_at)
                   SELECT %(kind)s, s.pipeline, s.subject, gen_random_uuid(), bedrock_pipeline.now(), bedrock_pipeline.now() + %(life)s
                   FROM unnest(%(pipelines)s::text[], %(subjects)s::text[]) AS s(pipeline, subject)
                   ORDER BY s.pipeline, s.subject
                   ON CONFLICT (kind, pipeline, subject) DO UPDATE
                   SET lease_id = excluded.lease_id, acquired_at = excluded.acquired_at, expires_at = excluded.expires_at
                   WHERE o.expires_at <= bedrock_pipeline.now()
                   RETURNING pipeline, subject, lease_id""",
                {
                    "kind": kind,
                    "life": lifetime,
                    "pipelines": [pipeline for pipeline, _ in subjects],
                    "subjects": [subject for _, subject in subjects],
                },
            ).fetchall()
            return {(row["pipeline"], row["subject"]): row["lease_id"] for row in rows}

        return self._database.transaction(work) if subjects else {}

    def renew(self, kind: LeaseKind, pipeline: str, subject: str, lifetime: timedelta) -> None:
        """Renew the lease of a run at work: no other is requested for `lifetime` from now."""
        self._database.execute(
            """INSERT INTO bedrock_pipeline.run_leases AS o (kind, pipeline, subject, lease_id, acquired_at, expires_at)
               VALUES (%(kind)s, %(pipeline)s, %(subject)s, gen_random_uuid(), bedrock_pipeline.now(), bedrock_pipeline.now() + %(life)s)
               ON CONFLICT (kind, pipeline, subject) DO UPDATE SET expires_at = excluded.expires_at""",
            {"kind": kind, "pipeline": pipeline, "subject": subject, "life": lifetime},
        )

    def release(self, kind: LeaseKind, pipeline: str, subject: str) -> None:
        """Release the lease of a run that has ended: the next one may be requested at once."""
        self._database.execute(
            """UPDATE bedrock_pipeline.run_leases SET expires_at = bedrock_pipeline.now()
               WHERE kind = %s AND pipeline = %s AND subject = %s""",
            (kind, pipeline, subject),
        )

    def valid(self) -> list[tuple[Kind, str, str, UUID]]:
        """Kind, pipeline, subject and UUID of each valid lease."""
        rows = self._database.fetch(
            """SELECT kind, pipeline, subject, lease_id FROM bedrock_pipeline.run_leases
               WHERE expires_at > bedrock_pipeline.now()"""
        )
        return [(row["kind"], row["pipeline"], row["subject"], row["lease_id"]) for row in rows]
