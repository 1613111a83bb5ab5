"""Datasets: launched, snapshotted, packed.

What belongs here: what launches and runs do to the current version of a dataset, and entering its chunks.
"""

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.chunks import estimate_again, insert_chunks, lock_groups
from bedrock_pipeline.ledger.database import Connection, Database, storable
from bedrock_pipeline.ledger.incarnations import must_be_swept
from bedrock_pipeline.ledger.names import lock_name
from bedrock_pipeline.ledger.retention import forget_pruned
from bedrock_pipeline.ledger.rows import DatasetProgress, DatasetRow, FrozenSettings, NewChunk
from bedrock_pipeline.ledger.versions import (
    allow_publication,
    cancelled,
    cancelled_in_flight,
    changed,
    end_launch,
    ensure_dataset,
    find_settings,
    get_dataset,
    keep_settings,
    lock_current,
    must_be_agreed,
    start_version,
    submitted,
)
from bedrock_pipeline.records.dataset_request import content_of, next_request

Packed = Literal["entered", "unchanged", "replaced", "kept"]


class QueueDayError(StateError):
    """A queue's days are made by its flushes."""


class Datasets:
    """The datasets of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, pipeline: str, dataset: str) -> DatasetRow | None:
        """One dataset with its current version; None if it does not exist."""
        return self._database.transaction(lambda connection: get_dataset(connection, pipeline, dataset))

    def recent(self, pipelines: list[str] | None = None, limit: int = 50) -> list[DatasetRow]:
        """The datasets that were created last, newest first."""
        rows = self._database.fetch(
            """SELECT * FROM bedrock_pipeline.current_versions
               WHERE %(pipelines)s::text[] IS NULL OR pipeline = ANY(%(pipelines)s)
               ORDER BY created_at DESC, pipeline, dataset LIMIT %(limit)s""",
            {"pipelines": pipelines, "limit": limit},
        )
        return [DatasetRow.of(row) for row in rows]

    def request(
        self,
        pipeline: str,
        dataset: str,
        given: dict[str, Any],
        *,
        launch: bool,
        new_version: bool = False,
        launch_id: UUID | None = None,
        agreed: bool | str = True,
    ) -> DatasetRow:
        """Request a dataset: a version of its own, unless the current one stands for the same request.

        The same request again, for a version that has its snapshot, only has its input compared: a run makes a version of
        what has changed.

        Args:
            pipeline: the pipeline's name.
            dataset: the dataset's key.
            given: settings of this dataset that differ from its pipeline's; JSON. A cost limit alone leaves the others.
            launch: whether the sensors shall start it.
            new_version: start over under the same key, keeping what was bought before.
            launch_id: identifies this launch; None makes an id.
            agreed: whether it may change what an earlier launch agreed on; or the sentence of a `NotAgreedError` that was
                confirmed, and then no more than it says.

        Raises:
            NotAgreedError: it would, and may not.
            DatasetChangedError: jobs of another request were submitted, and no new version is wanted.
            DatasetCancelledError: jobs were submitted before it was cancelled, and no new version is wanted.
            QueueDayError: the pipeline is a queue's.
            StateError: the ledger was restored, and no sweep has looked for jobs since.
        """
        launch_id = launch_id or uuid4()

        def work(connection: Connection) -> DatasetRow:
            if launch:
                must_be_swept(connection)
            lock_name(connection, pipeline)
            _must_not_be_a_queue(connection, pipeline)
            row = ensure_dataset(connection, pipeline, dataset, given)
            request = next_request(row.request, given)
            unprepared = row.state == "requested" and row.preparation_began_at is None
            other = content_of(row.request) != content_of(request)
            if not new_version and (other or row.cancel_requested_at) and submitted(connection, row):
                raise cancelled_in_flight(row) if row.cancel_requested_at else changed(row)
            if agreed is not True and (row.launch_id or not unprepared):
                must_be_agreed(row, request, again=new_version and not unprepared, confirmed=agreed)
            if unprepared:  # nothing has read this version yet
                _set_request(connection, row, request)
            elif new_version or other or row.cancel_requested_at or row.state == "requested":
                row = start_version(connection, row, request)
            elif "max_cost_usd" in given:
                _set_request(connection, row, request)
            if launch:
                connection.execute(
                    """UPDATE bedrock_pipeline.datasets
                       SET launch_id = %s, launch_requested_at = bedrock_pipeline.now(), launch_failure = NULL, updated_at = bedrock_pipeline.now()
                       WHERE pipeline = %s AND dataset = %s""",
                    (launch_id, pipeline, dataset),
                )
                allow_publication(connection, row)
            return ensure_dataset(connection, pipeline, dataset)

        return self._database.exactly_once(work)

    def ensure(self, pipeline: str, dataset: str) -> DatasetRow:
        """The dataset's row; created if the key was only registered with Dagster."""
        return self._database.transaction(lambda connection: ensure_dataset(connection, pipeline, dataset))

    def begin_preparation(self, pipeline: str, dataset: str) -> DatasetRow:
        """Begin to read the input of a dataset's current version: from now on another launch is another version.

        Raises:
            DatasetCancelledError: it was cancelled before it was packed.
        """

        def work(connection: Connection) -> DatasetRow:
            row = ensure_dataset(connection, pipeline, dataset)
            if row.state == "cancelled":
                raise cancelled(row)
            connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET preparation_began_at = coalesce(preparation_began_at, bedrock_pipeline.now())
                   WHERE pipeline = %s AND dataset = %s AND version = %s""",
                (pipeline, dataset, row.version),
            )
            return row

        return self._database.transaction(work)

    def to_launch(self, pipelines: list[str], limit: int) -> list[DatasetRow]:
        """Datasets that are launched and not packed yet; those that a run works on, or has failed at, come last."""
        rows = self._database.fetch(
            """SELECT d.* FROM bedrock_pipeline.current_versions d
               LEFT JOIN bedrock_pipeline.run_leases l
                 ON (l.kind, l.pipeline, l.subject) = ('prepare', d.pipeline, d.dataset)
               WHERE d.launch_requested_at IS NOT NULL AND d.pipeline = ANY(%s)
               ORDER BY l.expires_at NULLS FIRST, d.launch_requested_at LIMIT %s""",
            (pipelines, limit),
        )
        return [DatasetRow.of(row) for row in rows]

    def fail_preparation(self, begun: DatasetRow, launch_id: UUID | None, reason: str) -> None:
        """A run could not prepare the version that it began with: its launch has ended, and an operator must act.

        A version that has chunks stays as it is: the launch alone has failed. Another launch that was requested since, and
        another version, are not touched.
        """

        def work(connection: Connection) -> None:
            failed = connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET state = 'failed', state_changed_at = bedrock_pipeline.now(), state_reason = %s
                   WHERE pipeline = %s AND dataset = %s AND version = %s
                     AND state IN ('requested', 'snapshotted', 'failed')""",
                (storable(reason), begun.pipeline, begun.dataset, begun.version),
            )
            if launch_id is not None:
                end_launch(connection, begun, launch_id, None if failed.rowcount else storable(reason))

        self._database.transaction(work)

    def record_snapshot(
        self,
        begun: DatasetRow,
        settings: FrozenSettings,
        *,
        uri: str,
        content_hash: str,
        records: int,
        rejected: int,
        duplicates: int = 0,
        max_cost_usd: Decimal | None = None,
        new_version: bool = False,
    ) -> tuple[DatasetRow, bool]:
        """A snapshot is complete in S3: it belongs to the version that the run began with, or makes another one.

        Args:
            begun: the dataset when the run began to read its input.
            settings: of the pipeline with the request of that version.
            uri: its folder.
            content_hash: identifies its content.
            records: all of it, duplicates included.
            rejected: rows that were left out.
            duplicates: records that another record's answer will serve.
            max_cost_usd: what a version may cost that has no cap of its own; None for no cap.
            new_version: whether other content makes another version also after jobs were submitted.

        Returns:
            The dataset with the version that the snapshot belongs to; and whether that version had the same content
            before. Then it keeps the settings that it was launched with, if jobs were submitted.

        Raises:
            VersionReplacedError: the dataset has had another launch since.
            DatasetChangedError: jobs of other content have been submitted under this key.
            DatasetCancelledError: it was cancelled meanwhile.
        """

        def work(connection: Connection) -> tuple[DatasetRow, bool]:
            row = lock_current(connection, begun)
            if row.settings_digest and row.snapshot_hash:
                kept = find_settings(connection, row.settings_digest)
                bought = submitted(connection, row)
                same = row.snapshot_hash == content_hash and kept.content_digest == settings.content_digest
                if same and (bought or row.settings_digest == settings.digest):
                    _prepare_again(connection, row, begun.launch_id, max_cost_usd)
                    return lock_current(connection, begun), True
                if row.cancel_requested_at:  # a launch of it would have made another version
                    raise cancelled(row)
                if bought and not new_version:
                    raise changed(row)
                row = start_version(connection, row, row.request)
            elif row.cancel_requested_at:
                raise cancelled(row)
            keep_settings(connection, settings)
            connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET state = 'snapshotted', state_changed_at = bedrock_pipeline.now(), state_reason = NULL,
                       preparation_began_at = coalesce(preparation_began_at, bedrock_pipeline.now()),
                       launch_id = %(launch)s, settings_digest = %(settings)s, snapshot_uri = %(uri)s,
                       snapshot_hash = %(hash)s, snapshot_records = %(records)s, snapshot_rejected = %(rejected)s,
                       snapshot_duplicates = %(duplicates)s, max_cost_usd = coalesce(max_cost_usd, %(cap)s)
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s""",
                {
                    "launch": begun.launch_id,
                    "settings": settings.digest,
                    "uri": uri,
                    "hash": content_hash,
                    "records": records,
                    "rejected": rejected,
                    "duplicates": duplicates,
                    "cap": max_cost_usd,
                    "pipeline": row.pipeline,
                    "dataset": row.dataset,
                    "version": row.version,
                },
            )
            return ensure_dataset(connection, row.pipeline, row.dataset), False

        return self._database.transaction(work)

    def enter_chunks(
        self,
        begun: DatasetRow,
        *,
        packed_hash: str,
        rejected: int,
        chunks: list[NewChunk],
        max_jobs: int | None = None,
        duplicates: int = 0,
    ) -> Packed:
        """Enter the chunks of a version, all at once; the same chunks again change nothing.

        Args:
            begun: the dataset when the run began to pack its snapshot.
            packed_hash: hash of the snapshot, the settings and how the chunks are sent.
            rejected: records that could not be packed.
            chunks: attempt 1, uploaded, in order.
            max_jobs: of the pipeline in the quota group at once; None: no limit of its own.
            duplicates: records that the answers to packed ones will serve.

        Returns:
            What happened: entered for the first time, unchanged (estimates without a cost are replaced: prices may have
            become known), replaced (chunks of this version waited for an operator's decision), or kept (they are sent
            in another way than now, and were submitted or published).

        Raises:
            VersionReplacedError: the dataset has another version now.
            DatasetCancelledError: the dataset was cancelled while it was packed.
        """

        def work(connection: Connection) -> Packed:
            lock_groups(connection, chunks)
            row = lock_current(connection, begun)
            end_launch(connection, row, row.snapshot_launch_id)
            forget_pruned(connection, row)  # its inputs are there again
            if row.packed_hash == packed_hash:
                estimate_again(connection, chunks)
                return "unchanged"
            if row.state == "published" or (row.packed_hash and submitted(connection, row)):
                return "kept"
            if row.cancel_requested_at:
                raise cancelled(row)
            connection.execute(
                """DELETE FROM bedrock_pipeline.chunks
                   WHERE pipeline = %s AND dataset = %s AND dataset_version = %s""",
                (row.pipeline, row.dataset, row.version),
            )
            insert_chunks(connection, row.pipeline, row.dataset, row.version, chunks, max_jobs)
            connection.execute(
                """UPDATE bedrock_pipeline.versions
                   SET state = 'packed', state_changed_at = bedrock_pipeline.now(), state_reason = NULL,
                       packed_hash = %s, packed_at = bedrock_pipeline.now(), packed_records = %s, packed_rejected = %s,
                       packed_duplicates = %s
                   WHERE pipeline = %s AND dataset = %s AND version = %s""",
                (
                    packed_hash,
                    sum(chunk.records for chunk in chunks),
                    rejected,
                    duplicates,
                    row.pipeline,
                    row.dataset,
                    row.version,
                ),
            )
            return "replaced" if row.packed_hash else "entered"

        return self._database.transaction(work)

    def progress(self, pipeline: str, dataset: str) -> DatasetProgress:
        """Chunks and records of the dataset's current version, counted."""
        found = self._database.fetch(
            """WITH mine AS (
                   SELECT c.*, o.records AS open FROM bedrock_pipeline.chunks c JOIN bedrock_pipeline.datasets d
                     ON (c.pipeline, c.dataset, c.dataset_version) = (d.pipeline, d.dataset, d.version)
                   LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
                   WHERE c.pipeline = %(pipeline)s AND c.dataset = %(dataset)s),
               published AS (
                   SELECT packed_duplicates, duplicates_answered, duplicates_failed FROM bedrock_pipeline.current_versions
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s),
               counted AS (
                   SELECT count(*)::bigint AS chunks,
                          count(*) FILTER (WHERE collected_at IS NULL)::bigint AS uncollected,
                          coalesce(sum(records) FILTER (WHERE attempt = 1), 0)::bigint AS records,
                          coalesce(sum(CASE WHEN collected_at IS NULL THEN least(coalesce(processed_count, 0), records)
                                            ELSE answered + final_errors END), 0)::bigint AS processed,
                          coalesce(sum(answered), 0)::bigint AS answered,
                          coalesce(sum(final_errors), 0)::bigint AS final_errors,
                          coalesce(sum(open), 0)::bigint AS retryable,
                          coalesce(sum(input_tokens), 0)::bigint AS input_tokens,
                          coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
                          CASE WHEN count(collected_at) = count(cost_usd) THEN sum(cost_usd) END AS cost_usd,
                          CASE WHEN count(collected_at) = count(on_demand_cost_usd) THEN sum(on_demand_cost_usd) END AS on_demand_cost_usd,
                          coalesce((SELECT jsonb_object_agg(status, n) FROM (SELECT status, count(*) AS n FROM mine GROUP BY status) s), '{}') AS by_status
                   FROM mine)
               SELECT chunks, uncollected, records + coalesce(packed_duplicates, 0) AS records,
                      coalesce(packed_duplicates, 0) AS duplicates,
                      coalesce(duplicates_answered + duplicates_failed, 0) AS duplicates_settled,
                      processed + coalesce(duplicates_answered + duplicates_failed, 0) AS processed,
                      answered + coalesce(duplicates_answered, 0) AS answered,
                      final_errors + coalesce(duplicates_failed, 0) AS final_errors,
                      retryable, input_tokens, output_tokens, cost_usd, on_demand_cost_usd, by_status
               FROM counted LEFT JOIN published ON true""",
            {"pipeline": pipeline, "dataset": dataset},
        )
        return DatasetProgress.of(found[0])  # an aggregate has one row


def _must_not_be_a_queue(connection: Connection, pipeline: str) -> None:
    queue = connection.execute("SELECT FROM bedrock_pipeline.queues WHERE queue = %s", (pipeline,))
    if queue.fetchone() is not None:
        raise QueueDayError(
            f"{pipeline!r} is a queue: its datasets are made by its flushes.",
            "Enqueue tasks instead, and flush them with `bedrock-pipeline flush`.",
        )


def _set_request(connection: Connection, row: DatasetRow, request: dict[str, Any]) -> None:
    connection.execute(
        """UPDATE bedrock_pipeline.versions SET request = %s, max_cost_usd = coalesce(%s, max_cost_usd)
           WHERE pipeline = %s AND dataset = %s AND version = %s""",
        (Jsonb(request), request.get("max_cost_usd"), row.pipeline, row.dataset, row.version),
    )


def _prepare_again(
    connection: Connection, row: DatasetRow, launch_id: UUID | None, max_cost_usd: Decimal | None
) -> None:
    """The version has the snapshot of a later launch too; one that had failed is packed again."""
    connection.execute(
        """UPDATE bedrock_pipeline.versions
           SET launch_id = %s, max_cost_usd = coalesce(max_cost_usd, %s),
               state = CASE state WHEN 'failed' THEN 'snapshotted' ELSE state END,
               state_reason = CASE state WHEN 'failed' THEN NULL ELSE state_reason END
           WHERE pipeline = %s AND dataset = %s AND version = %s""",
        (launch_id, max_cost_usd, row.pipeline, row.dataset, row.version),
    )
