"""Publications: which datasets are due, and which results are visible.

What belongs here: the statements by which a version becomes visible.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from psycopg.types.json import Jsonb

from bedrock_pipeline.ledger.database import Connection, Database
from bedrock_pipeline.ledger.rows import DatasetRow

# How soon a queue's dataset is published again, where nothing is left to wait for, and where something is.
_AGAIN_WHEN_DONE, _AGAIN_WHEN_NOT_DONE = timedelta(minutes=1), timedelta(minutes=15)
# When `latest.json` is looked at after a write that did not end, then after twice the time, and for how long.
_CHECK_AFTER, _CHECK_FOR = timedelta(minutes=2), timedelta(days=1)


class Publications:
    """The publications of all datasets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, pipelines: list[str], limit: int) -> list[DatasetRow]:
        """Packed datasets whose current version is complete and not published yet, and those whose `latest.json` is stale, or may be.

        A queue's dataset is published again whenever chunks were collected since: a minute after the last time where
        nothing is left to wait for, otherwise a quarter of an hour after it; the first time once it has a row. A
        version whose table has rejected the results waits for an operator.
        """
        rows = self._database.fetch(
            """SELECT d.* FROM bedrock_pipeline.current_versions d
               LEFT JOIN bedrock_pipeline.run_leases l
                 ON (l.kind, l.pipeline, l.subject) = ('publish', d.pipeline, d.dataset)
               WHERE d.pipeline = ANY(%(pipelines)s)
                 AND (d.latest_written_publication <> d.publication
                   OR d.latest_writes > 0 AND d.latest_check_at <= bedrock_pipeline.now()
                   OR d.state IN ('packed', 'published') AND d.publication_rejected IS NULL
                     AND (NOT d.open AND d.state = 'packed'
                       OR d.open AND d.collections > d.published_collections
                         AND (d.published_at <= bedrock_pipeline.now() - %(soon)s
                           OR d.published_at IS NULL AND EXISTS (
                             SELECT FROM bedrock_pipeline.chunks c
                             WHERE c.pipeline = d.pipeline AND c.dataset = d.dataset AND c.dataset_version = d.version
                               AND c.answered + c.final_errors > 0)))
                     AND (d.open AND coalesce(d.published_at, d.packed_at) <= bedrock_pipeline.now() - %(late)s
                       OR NOT EXISTS (
                         SELECT FROM bedrock_pipeline.chunks c
                         LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
                         WHERE c.pipeline = d.pipeline AND c.dataset = d.dataset AND c.dataset_version = d.version
                           AND (c.collected_at IS NULL OR o.chunk_id IS NOT NULL))))
               ORDER BY l.expires_at NULLS FIRST, d.packed_at LIMIT %(limit)s""",
            {
                "pipelines": pipelines,
                "soon": _AGAIN_WHEN_DONE,
                "late": _AGAIN_WHEN_NOT_DONE,
                "limit": limit,
            },
        )
        return [DatasetRow.of(row) for row in rows]

    def record(
        self,
        row: DatasetRow,
        *,
        uri: str,
        answered: int,
        failed: int,
        duplicates_answered: int = 0,
        duplicates_failed_by_code: Mapping[str, int] = MappingProxyType({}),
    ) -> bool:
        """Move the pointer to results that are complete in S3.

        Args:
            row: the dataset when its publisher began.
            uri: folder of the results.
            answered: rows with a response, without the duplicates.
            failed: rows with a final error, without the duplicates.
            duplicates_answered: duplicates with a response.
            duplicates_failed_by_code: duplicates with a final error, by its code.

        Returns:
            False if the pointer was moved, or a new version started, since `row` was read: nothing is changed, and the
            pointer has never named these results.
        """
        key = {"pipeline": row.pipeline, "dataset": row.dataset, "version": row.version}
        duplicates_failed = sum(duplicates_failed_by_code.values())

        def work(connection: Connection) -> bool:
            moved = connection.execute(
                """UPDATE bedrock_pipeline.datasets
                   SET publication = publication + 1, published_version = version, results_uri = %(uri)s,
                       published_records = %(records)s, published_failed = %(failed)s,
                       published_collections = %(collections)s,
                       published_at = bedrock_pipeline.now(), updated_at = bedrock_pipeline.now()
                   WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s
                     AND publication = %(publication)s""",
                {
                    **key,
                    "publication": row.publication,
                    "uri": uri,
                    "records": answered + failed + duplicates_answered + duplicates_failed,
                    "failed": failed + duplicates_failed,
                    "collections": row.collections,
                },
            ).rowcount
            if moved:
                connection.execute(
                    """UPDATE bedrock_pipeline.versions
                       SET state = 'published', state_changed_at = bedrock_pipeline.now(), publication_rejected = NULL,
                           duplicates_answered = %(answered)s, duplicates_failed = %(failed)s,
                           duplicates_failed_by_code = %(by_code)s
                       WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s""",
                    {
                        **key,
                        "answered": duplicates_answered,
                        "failed": duplicates_failed,
                        "by_code": Jsonb(dict(duplicates_failed_by_code)),
                    },
                )
            return moved == 1

        return self._database.exactly_once(work)

    def reject(self, row: DatasetRow, reason: str) -> None:
        """The table of a version does not take its results: it is published again when an operator has acted.

        Nothing is recorded if another publisher has published the version, or a new one started, since `row` was read.
        """
        self._database.execute(
            """UPDATE bedrock_pipeline.versions v SET publication_rejected = %s FROM bedrock_pipeline.datasets d
               WHERE (v.pipeline, v.dataset, v.version) = (d.pipeline, d.dataset, d.version)
                 AND d.pipeline = %s AND d.dataset = %s AND d.version = %s AND d.publication = %s""",
            (reason.replace("\0", ""), row.pipeline, row.dataset, row.version, row.publication),
        )

    def begin_latest(self, row: DatasetRow) -> None:
        """A write of `latest.json` begins: until it is known to have ended, it may still replace what others write."""
        self._database.execute(
            """UPDATE bedrock_pipeline.datasets
               SET latest_writes = latest_writes + 1, latest_write_began_at = bedrock_pipeline.now(),
                   latest_check_at = bedrock_pipeline.now() + %s
               WHERE pipeline = %s AND dataset = %s""",
            (_CHECK_AFTER, row.pipeline, row.dataset),
        )

    def record_latest(self, row: DatasetRow, writes: int) -> bool:
        """`latest.json` was written from this row; False if the pointer was moved since, so it must be written again.

        Args:
            row: the dataset.
            writes: how many this publisher has begun, all of which have ended.
        """

        def work(connection: Connection) -> bool:
            written = connection.execute(
                """UPDATE bedrock_pipeline.datasets
                   SET latest_written_publication = publication, latest_writes = greatest(latest_writes - %s, 0)
                   WHERE pipeline = %s AND dataset = %s AND publication = %s""",
                (writes, row.pipeline, row.dataset, row.publication),
            )
            return written.rowcount == 1

        return self._database.exactly_once(work)

    def record_latest_checked(self, row: DatasetRow) -> None:
        """`latest.json` is right, though a write did not end: look again later, until its process is surely dead."""
        self._database.execute(
            """UPDATE bedrock_pipeline.datasets
               SET latest_check_at = bedrock_pipeline.now() + (bedrock_pipeline.now() - latest_write_began_at),
                   latest_writes = CASE WHEN latest_write_began_at <= bedrock_pipeline.now() - %s THEN 0 ELSE latest_writes END
               WHERE pipeline = %s AND dataset = %s AND latest_writes > 0 AND latest_check_at = %s
                 AND latest_check_at <= bedrock_pipeline.now()""",
            (_CHECK_FOR, row.pipeline, row.dataset, row.latest_check_at),
        )
