"""Run leases: the runs that the sensors have requested, and what each run works on.

What belongs here: the statements on table `run_leases`. Dagster deduplicates a run key for ever, a run that died
included; so a key carries the UUID of a run lease, and a new one is acquired when the last has expired. A number would be
given twice after a backup was restored. Run leases
save duplicate work; they never protect money (that is `submissions`). A lease that has expired stays as the time of the
last attempt: what was never tried is due before what failed. A lease that expired without an end shows that its run died.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from bedrock_pipeline.ledger.database import Connection, Database, storable

Kind = Literal["prepare", "flush", "submit", "collect", "retry", "publish"]
#: Besides the steps: runs that do many of them, and finishing what removed pipelines have left.
LeaseKind = Kind | Literal["work", "finish"]
#: Kind, pipeline and subject of a lease.
LeaseKey = tuple[LeaseKind, str, str]
#: How many subjects of one pipeline get a run of their own for the same failure.
MOST_SHOWN: Final = 5


class RunLeases:
    """Leases of runs, by kind, pipeline and subject (a dataset's or chunk's key)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(
        self,
        kind: LeaseKind,
        subjects: Sequence[tuple[str, str]],
        lifetime: timedelta,
        *,
        looked_at: datetime | None = None,
        shared: bool = False,
    ) -> dict[tuple[str, str], UUID]:
        """Acquire a lease for each subject without a valid one.

        Args:
            kind: what the run would do.
            subjects: pairs of pipeline and key.
            lifetime: how long a run may wait in the queue before it is requested again.
            looked_at: when it was looked what is due: a subject that a run has done since is left out. None: now.
            shared: whether the run works on other subjects too: one that needs a run of its own (`unfinished`) is left out.

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
                   SET lease_id = excluded.lease_id, acquired_at = excluded.acquired_at, expires_at = excluded.expires_at,
                       state = 'acquired'
                   WHERE (NOT %(shared)s OR o.state IN ('ended', 'shown'))
                       AND o.expires_at <= coalesce(%(looked_at)s::timestamptz, bedrock_pipeline.now())
                     OR NOT %(shared)s AND o.state = 'failed'
                   RETURNING pipeline, subject, lease_id""",
                {
                    "kind": kind,
                    "life": lifetime,
                    "looked_at": looked_at,
                    "shared": shared,
                    "pipelines": [pipeline for pipeline, _ in subjects],
                    "subjects": [subject for _, subject in subjects],
                },
            ).fetchall()
            return {(row["pipeline"], row["subject"]): row["lease_id"] for row in rows}

        return self._database.transaction(work) if subjects else {}

    def now(self) -> datetime:
        """The database's time."""
        [row] = self._database.fetch("SELECT bedrock_pipeline.now() AS now")
        found: datetime = row["now"]
        return found

    def renew(self, kind: LeaseKind, pipeline: str, subject: str, lifetime: timedelta) -> None:
        """Renew the lease of a run at work: no other is requested for `lifetime` from now."""
        self._database.execute(
            """INSERT INTO bedrock_pipeline.run_leases AS o (kind, pipeline, subject, lease_id, acquired_at, expires_at)
               VALUES (%(kind)s, %(pipeline)s, %(subject)s, gen_random_uuid(), bedrock_pipeline.now(), bedrock_pipeline.now() + %(life)s)
               ON CONFLICT (kind, pipeline, subject) DO UPDATE SET expires_at = excluded.expires_at, state = 'acquired'""",
            {"kind": kind, "pipeline": pipeline, "subject": subject, "life": lifetime},
        )

    def release(self, kind: LeaseKind, pipeline: str, subject: str) -> None:
        """Release the lease of a run that has ended: the next one may be requested at once."""
        self._database.execute(
            """UPDATE bedrock_pipeline.run_leases
               SET expires_at = bedrock_pipeline.now(), state = 'ended', failure = NULL
               WHERE kind = %s AND pipeline = %s AND subject = %s""",
            (kind, pipeline, subject),
        )

    def fail(
        self,
        kind: LeaseKind,
        pipeline: str,
        subject: str,
        failure: str,
        pause: timedelta,
        *,
        shared: bool = False,
    ) -> None:
        """Record that a run raised an error. If the work is still due, it is requested again after `pause`.

        Args:
            kind: what the run did.
            pipeline: the pipeline.
            subject: a dataset's or chunk's key.
            failure: the error, without what differs from one subject to the next.
            pause: how long nobody tries it again.
            shared: whether the run worked on other subjects too, so that it could not show the error. Then a run of its
                own is to show it, for the first `MOST_SHOWN` subjects with this failure.
        """
        self._database.execute(
            """UPDATE bedrock_pipeline.run_leases l
               SET expires_at = bedrock_pipeline.now() + %(pause)s, failure = %(failure)s,
                   state = CASE WHEN %(shared)s AND l.failure IS DISTINCT FROM %(failure)s AND (
                       SELECT count(*) FROM bedrock_pipeline.run_leases o
                       WHERE o.kind = l.kind AND o.pipeline = l.pipeline AND o.failure = %(failure)s) < %(most)s
                       THEN 'failed' ELSE 'shown' END
               WHERE kind = %(kind)s AND pipeline = %(pipeline)s AND subject = %(subject)s""",
            {
                "kind": kind,
                "pipeline": pipeline,
                "subject": subject,
                "failure": storable(failure),
                "pause": pause,
                "shared": shared,
                "most": MOST_SHOWN,
            },
        )

    def unfinished(
        self, pipelines: list[str], kinds: Sequence[Kind], limit: int
    ) -> list[tuple[Kind, str, str]]:
        """What needs a run of its own, the longest waiting first: its run died, or it raised an error in a shared run.

        A run that died may have done the work and not reported it; and what makes a run die (memory, for example) must not
        take the work of others with it again.
        """
        rows = self._database.fetch(
            """SELECT kind, pipeline, subject FROM bedrock_pipeline.run_leases
               WHERE state IN ('acquired', 'failed') AND (expires_at <= bedrock_pipeline.now() OR state = 'failed')
                 AND kind = ANY(%s) AND pipeline = ANY(%s)
               ORDER BY acquired_at, kind, pipeline, subject LIMIT %s""",
            (list(kinds), pipelines, limit),
        )
        return [(row["kind"], row["pipeline"], row["subject"]) for row in rows]

    def died_preparations(self, pipelines: list[str], limit: int) -> list[tuple[str, str]]:
        """Pipeline and key of datasets whose preparation died before they were packed, and that no launch prepares again."""
        rows = self._database.fetch(
            """SELECT l.pipeline, l.subject FROM bedrock_pipeline.run_leases l
               JOIN bedrock_pipeline.current_versions d ON (d.pipeline, d.dataset) = (l.pipeline, l.subject)
               WHERE l.kind = 'prepare' AND l.state = 'acquired' AND l.expires_at <= bedrock_pipeline.now()
                 AND d.launch_requested_at IS NULL AND d.cancel_requested_at IS NULL
                 AND d.state IN ('requested', 'snapshotted', 'failed') AND l.pipeline = ANY(%s)
               ORDER BY l.acquired_at, l.pipeline, l.subject LIMIT %s""",
            (pipelines, limit),
        )
        return [(row["pipeline"], row["subject"]) for row in rows]

    def lapsed(self, kind: LeaseKind, subjects: Sequence[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        """The UUIDs of expired leases whose runs have not ended, by subject: they died, or did not start yet."""
        rows = self._database.fetch(
            """SELECT l.pipeline, l.subject, l.lease_id FROM bedrock_pipeline.run_leases l
               JOIN unnest(%s::text[], %s::text[]) AS w(pipeline, subject) USING (pipeline, subject)
               WHERE l.kind = %s AND l.state = 'acquired' AND l.expires_at <= bedrock_pipeline.now()""",
            ([pipeline for pipeline, _ in subjects], [subject for _, subject in subjects], kind),
        )
        return {(row["pipeline"], row["subject"]): row["lease_id"] for row in rows}

    def taken(self, keys: Sequence[LeaseKey], *, own_runs: bool = True) -> set[LeaseKey]:
        """Of these, what a shared run does not take now: somebody works on it, or it needs a run of its own.

        Args:
            keys: leases.
            own_runs: whether something that needs a run of its own gets one.
        """
        if not keys:
            return set()
        kinds, pipelines, subjects = zip(*keys, strict=True)
        rows = self._database.fetch(
            """SELECT l.kind, l.pipeline, l.subject FROM bedrock_pipeline.run_leases l
               JOIN unnest(%s::text[], %s::text[], %s::text[]) AS w(kind, pipeline, subject) USING (kind, pipeline, subject)
               WHERE l.expires_at > bedrock_pipeline.now() OR %s AND l.state NOT IN ('ended', 'shown')""",
            (list(kinds), list(pipelines), list(subjects), own_runs),
        )
        return {(row["kind"], row["pipeline"], row["subject"]) for row in rows}

    def ages_of_workers(self, pipeline: str) -> dict[str, timedelta]:
        """The valid leases of work runs under this pipeline's name: how long ago each was acquired, by subject."""
        rows = self._database.fetch(
            """SELECT subject, bedrock_pipeline.now() - acquired_at AS age FROM bedrock_pipeline.run_leases
               WHERE kind = 'work' AND pipeline = %s AND expires_at > bedrock_pipeline.now()""",
            (pipeline,),
        )
        return {row["subject"]: row["age"] for row in rows}

    def valid(self) -> list[tuple[LeaseKind, str, str, UUID]]:
        """Kind, pipeline, subject and UUID of each valid lease."""
        rows = self._database.fetch(
            """SELECT kind, pipeline, subject, lease_id FROM bedrock_pipeline.run_leases
               WHERE expires_at > bedrock_pipeline.now()"""
        )
        return [(row["kind"], row["pipeline"], row["subject"], row["lease_id"]) for row in rows]

    def expire(self, waiting: Sequence[str]) -> None:
        """Expire every valid lease but those of these UUIDs: all runs have died, apart from those that wait for their start."""
        self._database.execute(
            """UPDATE bedrock_pipeline.run_leases SET expires_at = bedrock_pipeline.now()
               WHERE expires_at > bedrock_pipeline.now() AND NOT lease_id::text = ANY(%s)""",
            (list(waiting),),
        )
