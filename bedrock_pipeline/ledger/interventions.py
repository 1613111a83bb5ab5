"""What an operator decides: cancel, retry, resolve.

What belongs here: the statements that record an operator's decision. A cancellation is a request, carried out at the
next safe point: at once before the intent, otherwise when the job's ARN is known.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import NotFoundError, StateError
from bedrock_pipeline.ledger.database import Connection, Database, Statement, Values
from bedrock_pipeline.ledger.incarnations import must_be_swept
from bedrock_pipeline.ledger.quota_groups import lock_group
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.token import request_token
from bedrock_pipeline.ledger.versions import allow_publication, cancel_version, lock_dataset


class NothingToResolveError(StateError):
    """There is nothing to resolve."""


class Interventions:
    """Decisions of operators about chunks and datasets; each returns what it did, also where a commit's acknowledgement is lost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _changed(self, statement: Statement, values: Values) -> list[DictRow]:
        return self._database.exactly_once(
            lambda connection: connection.execute(statement, values).fetchall()
        )

    def cancel(self, pipeline: str, dataset: str, chunk_key: str | None = None) -> list[ChunkRow]:
        """Request that a dataset, or one chunk of it, is cancelled; existing responses are kept.

        Of a queue these are jobs: all that were flushed into the day so far, or one. A job is cancelled in all of its
        attempts: its retryable records end as `cancelled`, and so does a later chunk once all jobs in it are cancelled.

        Returns:
            The chunks that this concerns, as they are now: those without a job have ended, unless a process sends their
            records one by one at this moment, and ends them. Those that were collected have retryable records.

        Raises:
            UnknownDatasetError: there is no such dataset.
            NotFoundError: the dataset has no such chunk.
            StateError: the ledger was restored, and no sweep has looked for jobs since.
        """
        key = {"pipeline": pipeline, "dataset": dataset, "chunk": chunk_key}

        def work(connection: Connection) -> list[ChunkRow]:
            must_be_swept(connection)
            row = lock_dataset(connection, pipeline, dataset)  # so that no retry round is entered meanwhile
            if chunk_key is not None:
                _check_chunk(connection, key)
            elif not row.open:
                cancel_version(connection, row)
            connection.execute(
                """UPDATE bedrock_pipeline.queue_jobs j
                   SET cancel_requested_at = coalesce(j.cancel_requested_at, bedrock_pipeline.now())
                   FROM bedrock_pipeline.chunks c
                   WHERE c.chunk_id = j.chunk_id AND j.final_at IS NULL
                     AND c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s
                     AND (%(chunk)s::text IS NULL OR c.chunk_key = %(chunk)s)""",
                key,
            )
            rows = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                    SET cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now()),
                        status = CASE WHEN no_job THEN 'stopped' ELSE status END,
                        status_changed_at = CASE WHEN no_job THEN bedrock_pipeline.now() ELSE status_changed_at END,
                        ended_at = CASE WHEN no_job THEN bedrock_pipeline.now() ELSE ended_at END,
                        status_message = CASE WHEN no_job THEN 'cancelled before it was submitted' ELSE status_message END,
                        requeued_since = CASE WHEN no_job THEN NULL ELSE requeued_since END,
                        requeue_reason = CASE WHEN no_job THEN NULL ELSE requeue_reason END
                    FROM (SELECT chunk_id AS id, (status = 'failed' AND job_arn IS NULL) OR (
                                     status = 'pending' AND NOT bedrock_pipeline.being_called(c)) AS no_job
                          FROM bedrock_pipeline.chunks c
                          WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND collected_at IS NULL
                            AND (%(chunk)s::text IS NULL OR chunk_key = %(chunk)s OR bedrock_pipeline.of_cancelled_jobs(c.chunk_id))
                            AND (ended_at IS NULL OR (status = 'failed' AND job_arn IS NULL))
                          ORDER BY chunk_id FOR UPDATE) AS concerned
                    WHERE chunk_id = concerned.id RETURNING bedrock_pipeline.chunks.*""",
                key,
            ).fetchall()
            rows += connection.execute(
                """UPDATE bedrock_pipeline.retryable_records o SET cancel_requested_at = bedrock_pipeline.now()
                    FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.datasets d
                      ON (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                    WHERE o.chunk_id = c.chunk_id AND o.retried_at IS NULL AND o.cancel_requested_at IS NULL
                      AND c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s
                      AND (%(chunk)s::text IS NULL OR c.chunk_key = %(chunk)s) RETURNING c.*""",
                key,
            ).fetchall()
            return [ChunkRow.of(row) for row in rows]

        return self._database.exactly_once(work)

    def retry_rejected(self, pipeline: str, dataset: str, chunk_ids: Sequence[UUID] | None = None) -> int:
        """Requeue the rejected chunks, or those of them that are given, after the cause was fixed; returns their number.

        Those of a version that was replaced stay as they are: nothing more is bought for it.
        """

        def work(connection: Connection) -> int:
            row = lock_dataset(connection, pipeline, dataset)  # so that no new version starts meanwhile
            chosen = None if chunk_ids is None else list(chunk_ids)
            return connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'pending', status_changed_at = bedrock_pipeline.now(), ended_at = NULL, token = NULL,
                       frozen_request = NULL, intent_id = NULL, lease_expires_at = NULL, status_message = NULL,
                       next_attempt_at = bedrock_pipeline.now()
                   WHERE pipeline = %s AND dataset = %s AND dataset_version = %s AND status = 'failed'
                     AND job_arn IS NULL AND (%s::uuid[] IS NULL OR chunk_id = ANY(%s))""",
                (pipeline, dataset, row.version, chosen, chosen),
            ).rowcount

        return self._database.exactly_once(work)

    def retry_job(self, chunk_id: UUID) -> tuple[int, int]:
        """Continue what waits of a queue's job, in all of its attempts.

        Returns:
            The number of rejected chunks that are submitted again, and of retryable records that may be retried now. Both
            may be shared with other jobs.
        """
        rows = self._database.fetch(
            """SELECT c.pipeline, c.dataset, c.chunk_id FROM bedrock_pipeline.chunks c
               WHERE c.chunk_id = %(job)s OR c.chunk_id IN (
                   SELECT o.chunk_id FROM bedrock_pipeline.chunk_origins o WHERE o.origin_id = %(job)s)""",
            {"job": chunk_id},
        )
        chunk_ids = [row["chunk_id"] for row in rows]
        rejected = sum(
            self.retry_rejected(pipeline, dataset, chunk_ids)
            for pipeline, dataset in {(row["pipeline"], row["dataset"]) for row in rows}
        )
        released = self._changed(
            """UPDATE bedrock_pipeline.retryable_records SET waits_for = NULL, wait_reason = NULL
               WHERE waits_for IS NOT NULL AND chunk_id = ANY(%s) RETURNING records""",
            (chunk_ids,),
        )
        return rejected, sum(row["records"] for row in released)

    def release(self, pipeline: str, dataset: str, below_minimum: str | None = None) -> tuple[int, bool]:
        """Release records that wait for an operator: those of jobs that were stopped, and those that are too few for a job.

        A dataset that waits is packed again from the snapshot that it has. Its version stays as it was launched, whatever has
        become of its input and of the code; only a launch that was requested since reads the input again.

        Args:
            pipeline: the pipeline's name.
            dataset: the dataset's key.
            below_minimum: the dataset's policy from now on; None leaves it.

        Returns:
            The number of retryable records that may be retried now; and whether a waiting dataset is packed again.
        """

        def work(connection: Connection) -> tuple[int, bool]:
            key = {"pipeline": pipeline, "dataset": dataset, "policy": below_minimum}
            row = lock_dataset(
                connection, pipeline, dataset
            )  # neither a version nor a round starts meanwhile
            connection.execute(
                """UPDATE bedrock_pipeline.versions v SET below_minimum = %(policy)s
                   FROM bedrock_pipeline.datasets d
                   WHERE (v.pipeline, v.dataset, v.version) = (d.pipeline, d.dataset, d.version)
                     AND d.pipeline = %(pipeline)s AND d.dataset = %(dataset)s AND %(policy)s::text IS NOT NULL""",
                key,
            )
            released = connection.execute(
                """UPDATE bedrock_pipeline.retryable_records o SET waits_for = NULL, wait_reason = NULL
                   FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.datasets d
                     ON (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                   WHERE o.chunk_id = c.chunk_id AND o.waits_for IS NOT NULL
                     AND c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s RETURNING o.records""",
                key,
            ).fetchall()
            waits = connection.execute(
                """SELECT FROM bedrock_pipeline.chunks
                   WHERE pipeline = %s AND dataset = %s AND dataset_version = %s
                     AND mode = 'waiting' AND status = 'pending' LIMIT 1""",
                (pipeline, dataset, row.version),
            ).fetchone()
            if waits is not None and row.launch_id in (None, row.snapshot_launch_id):
                connection.execute(
                    """WITH launched AS (
                           UPDATE bedrock_pipeline.datasets
                           SET launch_id = gen_random_uuid(), launch_requested_at = bedrock_pipeline.now(),
                               launch_failure = NULL
                           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s
                           RETURNING pipeline, dataset, version, launch_id)
                       UPDATE bedrock_pipeline.versions v SET launch_id = launched.launch_id FROM launched
                       WHERE (v.pipeline, v.dataset, v.version) = (launched.pipeline, launched.dataset, launched.version)""",
                    key,
                )
            return sum(one["records"] for one in released), waits is not None

        return self._database.exactly_once(work)

    def retry_publication(self, pipeline: str, dataset: str) -> bool:
        """Publish a dataset again although its table has rejected the results; whether it had."""
        return self._database.exactly_once(
            lambda connection: allow_publication(connection, lock_dataset(connection, pipeline, dataset))
        )

    def resolve_without_job(self, chunk_id: UUID) -> None:
        """An operator has checked that a chunk that needs resolution has no job: it may be submitted again.

        It ends as stopped if it was cancelled, or its version replaced.

        Raises:
            NothingToResolveError: the chunk does not need resolution.
        """

        def work(connection: Connection) -> None:
            _lock_dataset_of(connection, chunk_id)  # so that no new version starts meanwhile
            changed = connection.execute(
                """UPDATE bedrock_pipeline.chunks c
                   SET fence = fence + 1, token = NULL, frozen_request = NULL, intent_id = NULL, lease_expires_at = NULL,
                       status = CASE WHEN bedrock_pipeline.withdrawn(c) THEN 'stopped' ELSE 'pending' END,
                       ended_at = CASE WHEN bedrock_pipeline.withdrawn(c) THEN bedrock_pipeline.now() END,
                       status_message = NULL, status_changed_at = bedrock_pipeline.now()
                   WHERE chunk_id = %s AND status = 'needs-resolution'""",
                (chunk_id,),
            )
            if not changed.rowcount:
                raise _nothing_to_resolve()

        self._database.exactly_once(work)

    def give_up_submission(self, chunk_id: UUID) -> None:
        """End a chunk of which nobody can find out whether it has a job; it ends as stopped, and its slot is free.

        As after any stop from outside, its records are sent again only when an operator says so, since they may be paid for.

        Raises:
            NothingToResolveError: no submission of the chunk is in doubt, or one may be sent at this moment.
        """
        changed = self._changed(
            """UPDATE bedrock_pipeline.chunks
               SET status = 'stopped', status_changed_at = bedrock_pipeline.now(), ended_at = bedrock_pipeline.now(),
                   fence = fence + 1, requeued_since = NULL, requeue_reason = NULL,
                   status_message = 'given up by an operator: whether there is a job is unknown'
               WHERE chunk_id = %s AND status IN ('submitting', 'in-doubt', 'needs-resolution')
                 AND lease_expires_at <= bedrock_pipeline.now() RETURNING chunk_id""",
            (chunk_id,),
        )
        if not changed:
            raise _nothing_to_resolve()

    def give_up_job(self, chunk_id: UUID, job_arn: str) -> None:
        """Bedrock does not know a chunk's job any more: the chunk ends as stopped, and its slot is free.

        As after any stop from outside, its records without a response are sent again only when an operator says so.

        Raises:
            NothingToResolveError: the chunk has another job, or has ended.
        """
        changed = self._changed(
            """UPDATE bedrock_pipeline.chunks
               SET status = 'stopped', status_changed_at = bedrock_pipeline.now(), ended_at = bedrock_pipeline.now(),
                   status_message = 'given up by an operator: Bedrock does not know the job any more'
               WHERE chunk_id = %s AND job_arn = %s AND ended_at IS NULL RETURNING chunk_id""",
            (chunk_id, job_arn),
        )
        if not changed:
            raise _nothing_to_resolve()

    def adopt(self, chunk_id: UUID, job_arn: str, submitted_at: datetime) -> bool:
        """Adopt a job that List showed, or that an operator named, as the chunk's; with the time of its submission.

        A chunk that was rejected has a job if it was submitted again since a backup that was restored.

        Returns:
            False if the chunk has another job, was collected without one, or the job is another's.
        """

        def work(connection: Connection) -> bool:
            adopted = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'queued', status_changed_at = bedrock_pipeline.now(), fence = fence + 1,
                       job_arn = %(arn)s, submitted_at = %(submitted)s, status_message = NULL,
                       frozen_request = coalesce(frozen_request, request), requeued_since = NULL, requeue_reason = NULL,
                       ended_at = NULL
                   WHERE chunk_id = %(chunk)s AND job_arn IS NULL AND collected_at IS NULL AND mode = 'batch'
                     AND NOT EXISTS (SELECT FROM bedrock_pipeline.chunks WHERE job_arn = %(arn)s)""",
                {"chunk": chunk_id, "arn": job_arn, "submitted": submitted_at},
            )
            if adopted.rowcount == 1:
                return True
            return (
                connection.execute(
                    "SELECT FROM bedrock_pipeline.chunks WHERE chunk_id = %s AND job_arn = %s",
                    (chunk_id, job_arn),
                ).fetchone()
                is not None
            )

        return self._database.transaction(work)

    def need_resolution(self, chunk_id: UUID, fence: int, *, reason: str) -> bool:
        """Several jobs have the name of a chunk that was to be submitted or has ended without one; an operator decides.

        Returns:
            False if the chunk has a job, results or a submission in doubt, or has changed since it was read.
        """

        def work(connection: Connection) -> bool:
            lock_group(connection, chunk_id)
            row = connection.execute(
                """SELECT c.request, d.deployment_id FROM bedrock_pipeline.chunks c, bedrock_pipeline.deployment d
                   WHERE c.chunk_id = %s""",
                (chunk_id,),
            ).fetchone()
            if row is None:
                return False
            changed = connection.execute(
                """UPDATE bedrock_pipeline.chunks
                   SET status = 'needs-resolution', status_changed_at = bedrock_pipeline.now(), ended_at = NULL,
                       status_message = %(reason)s, fence = fence + 1, requeued_since = NULL, requeue_reason = NULL,
                       intent_id = coalesce(intent_id, gen_random_uuid()), token = coalesce(token, %(token)s),
                       frozen_request = coalesce(frozen_request, request),
                       lease_expires_at = coalesce(lease_expires_at, bedrock_pipeline.now())
                   WHERE chunk_id = %(chunk)s AND fence = %(fence)s AND job_arn IS NULL AND collected_at IS NULL
                     AND mode = 'batch' AND status IN ('pending', 'failed', 'stopped')""",
                {
                    "chunk": chunk_id,
                    "fence": fence,
                    "reason": reason,
                    "token": request_token(row["deployment_id"], chunk_id, row["request"]),
                },
            )
            return changed.rowcount == 1

        return self._database.transaction(work)

    def record_orphans(self, orphans: list[dict[str, object]]) -> None:
        """Record jobs of this deployment that belong to no chunk, for `status`."""
        self._database.execute(
            """INSERT INTO bedrock_pipeline.orphans (job_arn, job_name, status, submitted_at)
               SELECT * FROM jsonb_to_recordset(%s) AS o(job_arn text, job_name text, status text, submitted_at timestamptz)
               ON CONFLICT (job_arn) DO UPDATE SET status = excluded.status, seen_at = bedrock_pipeline.now()""",
            (Jsonb(orphans),),
        )

    def orphans(self) -> list[dict[str, Any]]:
        """Orphans that the last sweeps showed; one that was stopped or adopted disappears in time."""
        return self._database.fetch(
            """SELECT o.job_arn, o.job_name, o.status, o.submitted_at, o.seen_at FROM bedrock_pipeline.orphans o
               WHERE o.seen_at > bedrock_pipeline.now() - interval '8 days'
                 AND NOT EXISTS (SELECT FROM bedrock_pipeline.chunks c WHERE c.job_arn = o.job_arn)
               ORDER BY o.submitted_at"""
        )


def _check_chunk(connection: Connection, key: dict[str, str | None]) -> None:
    found = connection.execute(
        """SELECT FROM bedrock_pipeline.chunks
           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND chunk_key = %(chunk)s""",
        key,
    ).fetchone()
    if found is None:
        raise NotFoundError(
            f"Dataset {key['dataset']!r} of pipeline {key['pipeline']!r} has no chunk {key['chunk']!r}.",
            f"See `bedrock-pipeline status {key['pipeline']} {key['dataset']}`.",
        )


def _lock_dataset_of(connection: Connection, chunk_id: UUID) -> None:
    row = connection.execute(
        "SELECT pipeline, dataset FROM bedrock_pipeline.chunks WHERE chunk_id = %s", (chunk_id,)
    ).fetchone()
    if row is not None:
        lock_dataset(connection, row["pipeline"], row["dataset"])


def _nothing_to_resolve() -> NothingToResolveError:
    return NothingToResolveError(
        "The chunk does not need resolution.", "See `bedrock-pipeline status PIPELINE DATASET`."
    )
