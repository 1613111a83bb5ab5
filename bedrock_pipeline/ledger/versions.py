"""A dataset's versions.

What belongs here: the statements that start, change and list versions. A version goes `requested`, `snapshotted`, `packed`,
`published`, or ends as `replaced`, `cancelled` or `failed`. Each change is made under the lock of the dataset's row, by a run
that names the version that it began with.
"""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import NotFoundError, StateError
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import DatasetRow, FrozenSettings, VersionRow
from bedrock_pipeline.records.dataset_request import cap_changes, changes


class UnknownDatasetError(NotFoundError):
    """No dataset has this key."""


class DatasetChangedError(StateError):
    """A dataset's content differs from what was already submitted under its key."""


class DatasetCancelledError(StateError):
    """The dataset was cancelled."""


class NotAgreedError(StateError):
    """A launch would change what an earlier one agreed on."""


class VersionReplacedError(StateError):
    """The version that a run began with is no longer the dataset's current one: the run has nothing more to do."""


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # such as 2026-02-30
        return None


class Versions:
    """The versions of all datasets, and the settings that are frozen in them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, pipeline: str, dataset: str) -> list[VersionRow]:
        """All versions of a dataset, newest first; none if it does not exist."""
        rows = self._database.fetch(
            """SELECT v.*, c.jobs, c.in_flight, c.cost_usd
               FROM bedrock_pipeline.versions v CROSS JOIN LATERAL (
                   SELECT count(job_arn) AS jobs, count(job_arn) FILTER (WHERE ended_at IS NULL) AS in_flight,
                          CASE WHEN count(collected_at) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd
                   FROM bedrock_pipeline.chunks c
                   WHERE (c.pipeline, c.dataset, c.dataset_version) = (v.pipeline, v.dataset, v.version)) c
               WHERE v.pipeline = %s AND v.dataset = %s ORDER BY v.version DESC""",
            (pipeline, dataset),
        )
        return [VersionRow.of(row) for row in rows]

    def current(self, pipeline: str, *, after: str, limit: int) -> list[DatasetRow]:
        """The datasets of a pipeline with their current versions, in the order of keys, from the first one after a key on."""
        rows = self._database.fetch(
            """SELECT * FROM bedrock_pipeline.current_versions
               WHERE pipeline = %s AND dataset > %s ORDER BY dataset LIMIT %s""",
            (pipeline, after, limit),
        )
        return [DatasetRow.of(row) for row in rows]

    def newest_day(self, pipeline: str, *, until: date) -> date | None:
        """The newest dataset up to a day whose key is a day; None: no such dataset was ever requested."""
        rows = self._database.fetch(
            """SELECT dataset FROM bedrock_pipeline.datasets
               WHERE pipeline = %s AND dataset COLLATE "C" <= %s AND dataset ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$'
               ORDER BY dataset COLLATE "C" DESC LIMIT 50""",
            (pipeline, until.isoformat()),
        )
        return next((day for row in rows if (day := _day(row["dataset"]))), None)

    def settings(self, digest: str) -> FrozenSettings:
        """The frozen settings with a digest that a version or a chunk has."""
        return self._database.transaction(lambda connection: find_settings(connection, digest))

    def keep_settings(self, settings: FrozenSettings) -> None:
        """Keep the settings of chunks that are to be entered."""
        self._database.transaction(lambda connection: keep_settings(connection, settings))

    def needs_new_version(self, pipeline: str, dataset: str) -> bool:
        """Whether a dataset that was cancelled is processed after all only as a new version: something of it was submitted.

        Raises:
            UnknownDatasetError: there is no such dataset.
        """

        def work(connection: Connection) -> bool:
            row = lock_dataset(connection, pipeline, dataset)
            return row.cancel_requested_at is not None and submitted(connection, row)

        return self._database.transaction(work)

    def judge_by_schema_only(self, pipeline: str, dataset: str) -> None:
        """Decide that the current version's responses are judged by the JSON schema, without a class's own validators.

        Raises:
            UnknownDatasetError: there is no such dataset.
        """

        def work(connection: Connection) -> None:
            row = lock_dataset(connection, pipeline, dataset)
            connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET schema_only_since = coalesce(schema_only_since, bedrock_pipeline.now())
                   WHERE pipeline = %s AND dataset = %s AND version = %s""",
                (pipeline, dataset, row.version),
            )

        self._database.transaction(work)

    def end_cancelled(self, row: DatasetRow) -> None:
        """End a cancelled version that has no response: what was published before stays published."""
        self._database.execute(
            """UPDATE bedrock_pipeline.versions
               SET state = 'cancelled', state_changed_at = bedrock_pipeline.now(), state_reason = 'by an operator'
               WHERE pipeline = %s AND dataset = %s AND version = %s AND state = 'packed'
                 AND cancel_requested_at IS NOT NULL""",
            (row.pipeline, row.dataset, row.version),
        )

    def judges_by_schema_only(self, chunk_id: UUID, wait: timedelta | None) -> bool:
        """Whether that was decided for a chunk's version; it is decided now if the chunk ended longer ago than `wait`, not None."""
        rows = self._database.fetch(
            """UPDATE bedrock_pipeline.versions v
               SET schema_only_since = coalesce(schema_only_since, bedrock_pipeline.now())
               FROM bedrock_pipeline.chunks c
               WHERE c.chunk_id = %s AND (v.pipeline, v.dataset, v.version) = (c.pipeline, c.dataset, c.dataset_version)
                 AND (v.schema_only_since IS NOT NULL OR c.ended_at <= bedrock_pipeline.now() - %s::interval)
               RETURNING v.version""",
            (chunk_id, wait),
        )
        return bool(rows)


def lock_dataset(connection: Connection, pipeline: str, dataset: str) -> DatasetRow:
    """Lock a dataset, to the end of the transaction, and read its current version.

    Raises:
        UnknownDatasetError: there is none.
    """
    key = (pipeline, dataset)
    # The lock is a statement of its own: a view that waits for one still shows what was there before.
    connection.execute(
        "SELECT FROM bedrock_pipeline.datasets WHERE pipeline = %s AND dataset = %s FOR UPDATE", key
    )
    row = get_dataset(connection, pipeline, dataset)
    if row is None:
        raise UnknownDatasetError(
            f"Pipeline {pipeline!r} has no dataset {dataset!r}.",
            "Launch it first, or look at the keys with `bedrock-pipeline status`.",
        )
    return row


def get_dataset(connection: Connection, pipeline: str, dataset: str) -> DatasetRow | None:
    """A dataset with its current version; None if it does not exist."""
    row = connection.execute(
        "SELECT * FROM bedrock_pipeline.current_versions WHERE pipeline = %s AND dataset = %s",
        (pipeline, dataset),
    ).fetchone()
    return DatasetRow.of(row) if row else None


def ensure_dataset(
    connection: Connection, pipeline: str, dataset: str, request: dict[str, Any] | None = None
) -> DatasetRow:
    """Lock a dataset; it is created, with version 1 for this request, if it does not exist."""
    created = connection.execute(
        "INSERT INTO bedrock_pipeline.datasets (pipeline, dataset) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (pipeline, dataset),
    )
    if created.rowcount:
        _insert(connection, pipeline, dataset, 1, request or {})
    return lock_dataset(connection, pipeline, dataset)


def lock_current(connection: Connection, begun: DatasetRow) -> DatasetRow:
    """Lock a dataset for a run that began with a version.

    Raises:
        VersionReplacedError: the dataset has another version now.
    """
    row = lock_dataset(connection, begun.pipeline, begun.dataset)
    if row.version != begun.version:
        raise replaced(row, begun.version)
    return row


def replaced(row: DatasetRow, version: int) -> VersionReplacedError:
    """The error of a run whose version was replaced by the current one."""
    return VersionReplacedError(
        f"Version {version} of dataset {row.dataset!r} of pipeline {row.pipeline!r} was replaced by version {row.version}.",
        "Nothing is to be done: the sensors prepare the later version.",
    )


def changed(row: DatasetRow) -> DatasetChangedError:
    """The error of a launch, or of a run, that would buy a submitted dataset again."""
    return DatasetChangedError(
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was submitted with other content or settings.",
        "Use another dataset key, or launch it with --new-version to buy it again.",
    )


def cancelled(row: DatasetRow) -> DatasetCancelledError:
    """The error of a run that would buy for a version that was cancelled."""
    return DatasetCancelledError(
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was cancelled.",
        "If you want it after all, `bedrock-pipeline launch` it again.",
    )


def cancelled_in_flight(row: DatasetRow) -> DatasetCancelledError:
    """The error of a launch of a version that was cancelled with jobs in flight."""
    return DatasetCancelledError(
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was cancelled after jobs were submitted.",
        "Its responses are kept and published. Launch it with --new-version to buy all of it again.",
    )


def must_be_agreed(row: DatasetRow, request: dict[str, Any], *, again: bool, confirmed: bool | str) -> None:
    """Check that a launch changes nothing of what an earlier one agreed on, or just what was `confirmed`.

    What could not be prepared agreed on a limit only.

    Raises:
        NotAgreedError: it changes a setting, or buys `again` what was launched.
    """
    failed = row.state == "failed"
    found = list(
        cap_changes(request, row.max_cost_usd) if failed else changes(row.request, request, row.max_cost_usd)
    )
    if again and not failed:
        found.append(f"version {row.version + 1} sends every record again, at its full cost")
    what = (
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was launched before, and this launch changes: "
        f"{'; '.join(found)}."
    )
    if found and what != confirmed:
        raise NotAgreedError(what, "Confirm it with --yes.")


def submitted(connection: Connection, row: DatasetRow) -> bool:
    """Whether a chunk of the current version has a job or may have one, so that another version would be bought again.

    The rows stay locked to the end of the transaction, so that no submission begins in between.
    """
    statuses = connection.execute(
        """SELECT job_arn IS NOT NULL OR status IN ('submitting', 'in-doubt', 'needs-resolution')
                  OR mode = 'on-demand' AND fence > 0 AS begun
           FROM bedrock_pipeline.chunks
           WHERE pipeline = %s AND dataset = %s AND dataset_version = %s ORDER BY chunk_id FOR UPDATE""",
        (row.pipeline, row.dataset, row.version),
    ).fetchall()
    return any(chunk["begun"] for chunk in statuses)


def start_version(connection: Connection, row: DatasetRow, request: dict[str, Any]) -> DatasetRow:
    """Start the next version: jobs of the last one are kept, its pending chunks are not submitted.

    Args:
        connection: in the transaction that locked the dataset.
        row: the dataset with the version that ends.
        request: the settings of the next version that differ from its pipeline's.
    """
    submitted(connection, row)  # for the locks: a chunk that is requeued meanwhile is pending, and seen below
    key = {"pipeline": row.pipeline, "dataset": row.dataset, "version": row.version, "next": row.version + 1}
    connection.execute(  # those that a process sends call by call at this moment are ended by it, with their responses
        """UPDATE bedrock_pipeline.chunks c
           SET cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now())
           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND dataset_version = %(version)s
             AND bedrock_pipeline.being_called(c)""",
        key,
    )
    connection.execute(
        """UPDATE bedrock_pipeline.chunks c
           SET status = 'stopped', status_message = 'replaced by a new version before it was submitted',
               status_changed_at = bedrock_pipeline.now(), ended_at = bedrock_pipeline.now(),
               cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now()),
               requeued_since = NULL, requeue_reason = NULL
           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND dataset_version = %(version)s
             AND status = 'pending' AND NOT bedrock_pipeline.being_called(c)""",
        key,
    )
    connection.execute(  # a version that is published, or that an operator has cancelled, stays so
        """UPDATE bedrock_pipeline.versions
           SET state = 'replaced', state_changed_at = bedrock_pipeline.now(), state_reason = 'by version ' || %(next)s::int
           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s
             AND state NOT IN ('published', 'cancelled', 'replaced')""",
        key,
    )
    # An operator's decision holds for the dataset, until another one is made.
    _insert(connection, row.pipeline, row.dataset, row.version + 1, request, row.below_minimum)
    connection.execute(
        """UPDATE bedrock_pipeline.datasets
           SET version = %(next)s, launch_failure = NULL, updated_at = bedrock_pipeline.now()
           WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s""",
        key,
    )
    return lock_dataset(connection, row.pipeline, row.dataset)


def _insert(
    connection: Connection,
    pipeline: str,
    dataset: str,
    version: int,
    request: dict[str, Any],
    below_minimum: str | None = None,
) -> None:
    connection.execute(
        """INSERT INTO bedrock_pipeline.versions (pipeline, dataset, version, request, max_cost_usd, below_minimum)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (pipeline, dataset, version, Jsonb(request), request.get("max_cost_usd"), below_minimum),
    )


def cancel_version(connection: Connection, row: DatasetRow) -> None:
    """Request that the current version of a locked dataset is cancelled; one that is not packed yet has ended with that.

    Of a version that is published only a launch of its dataset can be cancelled; likewise of one that failed, unless nothing of
    its dataset was ever packed: then there is nothing to keep.
    """
    end_launch(connection, row, row.launch_id)
    if row.state == "published" or (row.state == "failed" and _was_packed(connection, row)):
        return
    connection.execute(
        """UPDATE bedrock_pipeline.versions
           SET cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now()),
               state = CASE WHEN packed_hash IS NULL THEN 'cancelled' ELSE state END,
               state_changed_at = CASE WHEN packed_hash IS NULL THEN bedrock_pipeline.now() ELSE state_changed_at END,
               state_reason = CASE WHEN packed_hash IS NULL THEN 'by an operator' ELSE state_reason END
           WHERE pipeline = %s AND dataset = %s AND version = %s""",
        (row.pipeline, row.dataset, row.version),
    )


def _was_packed(connection: Connection, row: DatasetRow) -> bool:
    """Whether a version of a dataset has chunks, or results."""
    chunks = connection.execute(
        "SELECT FROM bedrock_pipeline.chunks WHERE pipeline = %s AND dataset = %s LIMIT 1",
        (row.pipeline, row.dataset),
    )
    return row.publication > 0 or chunks.fetchone() is not None


def end_launch(
    connection: Connection, row: DatasetRow, launch_id: UUID | None, failure: str | None = None
) -> None:
    """End a launch that a run has carried out, or failed at, unless another was requested since."""
    connection.execute(
        """UPDATE bedrock_pipeline.datasets
           SET launch_id = NULL, launch_requested_at = NULL, launch_failure = %s
           WHERE pipeline = %s AND dataset = %s AND launch_id IS NOT DISTINCT FROM %s""",
        (failure, row.pipeline, row.dataset, launch_id),
    )


def allow_publication(connection: Connection, row: DatasetRow) -> bool:
    """Publish the current version again although its table has rejected the results; whether it had."""
    allowed = connection.execute(
        """UPDATE bedrock_pipeline.versions SET publication_rejected = NULL
           WHERE pipeline = %s AND dataset = %s AND version = %s AND publication_rejected IS NOT NULL""",
        (row.pipeline, row.dataset, row.version),
    )
    return allowed.rowcount == 1


def keep_settings(connection: Connection, settings: FrozenSettings) -> None:
    """Keep frozen settings; the same ones are kept once."""
    connection.execute(
        """INSERT INTO bedrock_pipeline.frozen_settings (digest, content_digest, document) VALUES (%s, %s, %s)
           ON CONFLICT DO NOTHING""",
        (settings.digest, settings.content_digest, settings.document),
    )


def find_settings(connection: Connection, digest: str) -> FrozenSettings:
    """Frozen settings by their digest."""
    row = connection.execute(
        """SELECT digest, content_digest, document::text AS document FROM bedrock_pipeline.frozen_settings
           WHERE digest = %s""",
        (digest,),
    ).fetchone()
    assert row is not None  # whatever has a digest refers to its row
    return FrozenSettings(**row)
