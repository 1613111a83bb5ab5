"""Datasets: requested, snapshotted, packed.

What belongs here: the statements on table `datasets`, and entering a dataset's chunks.
"""

from decimal import Decimal
from typing import Any, Literal

from psycopg.types.json import Jsonb

from bedrock_pipeline.errors import NotFoundError, StateError
from bedrock_pipeline.ledger.chunks import estimate_again, insert_chunks, lock_groups
from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import DatasetProgress, DatasetRow, NewChunk
from bedrock_pipeline.ledger.versions import start_version, submitted

Packed = Literal["entered", "unchanged", "replaced"]


class DatasetChangedError(StateError):
    """A dataset's content differs from what was already submitted under its key."""


class Datasets:
    """The datasets of all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, pipeline: str, dataset: str) -> DatasetRow | None:
        """One dataset; None if it does not exist."""
        return self._database.transaction(lambda connection: _get(connection, pipeline, dataset))

    def recent(self, pipelines: list[str] | None = None, limit: int = 50) -> list[DatasetRow]:
        """The datasets that were requested last, newest first."""
        rows = self._database.fetch(
            """SELECT * FROM bedrock_pipeline.datasets
               WHERE %(pipelines)s::text[] IS NULL OR pipeline = ANY(%(pipelines)s)
               ORDER BY created_at DESC, pipeline, dataset LIMIT %(limit)s""",
            {"pipelines": pipelines, "limit": limit},
        )
        return [DatasetRow.of(row) for row in rows]

    def request(
        self, pipeline: str, dataset: str, request: dict[str, Any], *, launch: bool, new_version: bool = False
    ) -> DatasetRow:
        """Request a dataset: from now on its key stands for these settings.

        Args:
            pipeline: the pipeline's name.
            dataset: the dataset's key.
            request: settings of this dataset that differ from its pipeline's; JSON.
            launch: whether the sensors shall start it.
            new_version: start over under the same key, keeping what was bought before.

        Raises:
            DatasetChangedError: its chunks were packed from other settings, and no new version is wanted.
        """

        def work(connection: Connection) -> DatasetRow:
            connection.execute(
                """INSERT INTO bedrock_pipeline.datasets (pipeline, dataset, request) VALUES (%s, %s, %s)
                   ON CONFLICT DO NOTHING""",
                (pipeline, dataset, Jsonb(request)),
            )
            row = _locked(connection, pipeline, dataset)
            if (
                _content(row.request) != _content(request)
                and row.packed_hash
                and not new_version
                and submitted(connection, row)
            ):
                raise _changed(row)
            connection.execute(
                """UPDATE bedrock_pipeline.datasets SET request = %(request)s, updated_at = bedrock_pipeline.now(),
                          launch_requested_at = CASE WHEN %(launch)s THEN bedrock_pipeline.now() ELSE launch_requested_at END,
                          cancel_requested_at = CASE WHEN %(launch)s THEN NULL ELSE cancel_requested_at END
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s""",
                {"request": Jsonb(request), "launch": launch, "pipeline": pipeline, "dataset": dataset},
            )
            if new_version and row.packed_hash:
                start_version(connection, row)
            return _locked(connection, pipeline, dataset)

        return self._database.transaction(work)

    def ensure(self, pipeline: str, dataset: str) -> DatasetRow:
        """The dataset's row; created if the key was only registered with Dagster."""

        def work(connection: Connection) -> DatasetRow:
            connection.execute(
                "INSERT INTO bedrock_pipeline.datasets (pipeline, dataset) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (pipeline, dataset),
            )
            return _locked(connection, pipeline, dataset)

        return self._database.transaction(work)

    def to_launch(self, pipelines: list[str], limit: int) -> list[DatasetRow]:
        """Datasets that are requested and not packed yet, oldest request first."""
        rows = self._database.fetch(
            """SELECT * FROM bedrock_pipeline.datasets
               WHERE launch_requested_at IS NOT NULL AND pipeline = ANY(%s)
               ORDER BY launch_requested_at LIMIT %s""",
            (pipelines, limit),
        )
        return [DatasetRow.of(row) for row in rows]

    def launched(self, pipeline: str, dataset: str) -> None:
        """The request to launch is done: chunks were packed, or an error needs an operator."""
        self._database.execute(
            "UPDATE bedrock_pipeline.datasets SET launch_requested_at = NULL WHERE pipeline = %s AND dataset = %s",
            (pipeline, dataset),
        )

    def record_snapshot(
        self,
        pipeline: str,
        dataset: str,
        *,
        uri: str,
        content_hash: str,
        records: int,
        rejected: int,
        duplicates: int = 0,
    ) -> None:
        """A snapshot is complete in S3.

        Args:
            pipeline: the pipeline's name.
            dataset: the dataset's key.
            uri: its folder.
            content_hash: identifies its content.
            records: all of it, duplicates included.
            rejected: rows that were left out.
            duplicates: records that another record's answer will serve.

        Raises:
            DatasetChangedError: chunks of another snapshot have been submitted under this key.
        """

        def work(connection: Connection) -> None:
            row = _locked(connection, pipeline, dataset)
            if row.snapshot_hash not in (None, content_hash) and submitted(connection, row):
                raise _changed(row)
            connection.execute(
                """UPDATE bedrock_pipeline.datasets
                   SET snapshot_uri = %s, snapshot_hash = %s, snapshot_records = %s, snapshot_rejected = %s,
                       snapshot_duplicates = %s, updated_at = bedrock_pipeline.now()
                   WHERE pipeline = %s AND dataset = %s""",
                (uri, content_hash, records, rejected, duplicates, pipeline, dataset),
            )

        self._database.transaction(work)

    def enter_chunks(
        self,
        pipeline: str,
        dataset: str,
        *,
        packed_hash: str,
        rejected: int,
        chunks: list[NewChunk],
        max_jobs: int | None = None,
        duplicates: int = 0,
        max_cost_usd: Decimal | None = None,
    ) -> Packed:
        """Enter a dataset's chunks, all at once; the same chunks again change nothing.

        Args:
            pipeline: the pipeline's name.
            dataset: the dataset's key.
            packed_hash: hash of the snapshot, the request template and the limits.
            rejected: records that could not be packed.
            chunks: round 1, uploaded, in order.
            max_jobs: of the pipeline in the quota group at once; None: no limit of its own.
            duplicates: records that the answers to packed ones will serve.
            max_cost_usd: what the dataset may cost; None for no cap. It is set, and estimates without a cost are
                replaced, also where the chunks are unchanged: prices may have become known.

        Returns:
            What happened: entered for the first time, unchanged, or replaced (nothing had been submitted).

        Raises:
            DatasetChangedError: other chunks were packed before, and at least one was submitted.
            DatasetCancelledError: the dataset was cancelled while it was packed.
        """

        def work(connection: Connection) -> Packed:
            lock_groups(connection, chunks)
            row = _locked(connection, pipeline, dataset)
            if row.max_cost_usd != max_cost_usd:
                connection.execute(
                    "UPDATE bedrock_pipeline.datasets SET max_cost_usd = %s WHERE pipeline = %s AND dataset = %s",
                    (max_cost_usd, pipeline, dataset),
                )
            if row.packed_hash == packed_hash:
                estimate_again(connection, chunks)
                return "unchanged"
            if row.cancel_requested_at and row.packed_hash is None:
                raise _cancelled(row)
            if row.packed_hash and submitted(connection, row):
                raise _changed(row)
            connection.execute(
                """DELETE FROM bedrock_pipeline.chunks
                   WHERE pipeline = %s AND dataset = %s AND dataset_version = %s""",
                (pipeline, dataset, row.version),
            )
            insert_chunks(connection, pipeline, dataset, row.version, chunks, max_jobs)
            connection.execute(
                """UPDATE bedrock_pipeline.datasets
                   SET packed_hash = %s, packed_at = bedrock_pipeline.now(), packed_records = %s, packed_rejected = %s,
                       packed_duplicates = %s, launch_requested_at = NULL, updated_at = bedrock_pipeline.now()
                   WHERE pipeline = %s AND dataset = %s""",
                (
                    packed_hash,
                    sum(chunk.records for chunk in chunks),
                    rejected,
                    duplicates,
                    pipeline,
                    dataset,
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
                   SELECT packed_duplicates, duplicates_answered, duplicates_failed FROM bedrock_pipeline.datasets
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s),
               counted AS (
                   SELECT count(*)::bigint AS chunks,
                          count(*) FILTER (WHERE collected_at IS NULL)::bigint AS uncollected,
                          coalesce(sum(records) FILTER (WHERE attempt = 1), 0)::bigint AS records,
                          coalesce(sum(CASE WHEN collected_at IS NULL THEN least(processed_count, records)
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


def _get(connection: Connection, pipeline: str, dataset: str) -> DatasetRow | None:
    row = connection.execute(
        "SELECT * FROM bedrock_pipeline.datasets WHERE pipeline = %s AND dataset = %s", (pipeline, dataset)
    ).fetchone()
    return DatasetRow.of(row) if row else None


def _locked(connection: Connection, pipeline: str, dataset: str) -> DatasetRow:
    row = connection.execute(
        "SELECT * FROM bedrock_pipeline.datasets WHERE pipeline = %s AND dataset = %s FOR UPDATE",
        (pipeline, dataset),
    ).fetchone()
    if row is None:
        raise UnknownDatasetError(
            f"Pipeline {pipeline!r} has no dataset {dataset!r}.",
            "Launch it first, or look at the keys with `bedrock-pipeline status`.",
        )
    return DatasetRow.of(row)


class UnknownDatasetError(NotFoundError):
    """No dataset has this key."""


def _changed(row: DatasetRow) -> DatasetChangedError:
    return DatasetChangedError(
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was submitted with other content or settings.",
        "Use another dataset key, or launch it with --new-version to buy it again.",
    )


class DatasetCancelledError(StateError):
    """The dataset was cancelled before it was packed."""


def _cancelled(row: DatasetRow) -> DatasetCancelledError:
    return DatasetCancelledError(
        f"Dataset {row.dataset!r} of pipeline {row.pipeline!r} was cancelled before it was packed.",
        "If you want it after all, `bedrock-pipeline launch` it again.",
    )


def _content(request: dict[str, Any]) -> dict[str, Any]:
    """The settings that affect responses; a cap on their cost does not."""
    return {name: value for name, value in request.items() if name != "max_cost_usd"}
