"""Publications: which datasets are due, and which results are visible.

What belongs here: the statements on what table `datasets` says about publications.
"""

from datetime import timedelta

from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.rows import DatasetRow

# How soon a queue's dataset is published again, where nothing is left to wait for, and where something is.
_AGAIN_WHEN_DONE, _AGAIN_WHEN_NOT_DONE = timedelta(minutes=1), timedelta(minutes=15)


class Publications:
    """The publications of all datasets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, pipelines: list[str], limit: int) -> list[DatasetRow]:
        """Packed datasets whose current version is complete and not published yet.

        A queue's dataset is published again whenever chunks were collected since: a minute after the last time where
        nothing is left to wait for, otherwise a quarter of an hour after it.
        """
        rows = self._database.fetch(
            """SELECT d.* FROM bedrock_pipeline.datasets d
               LEFT JOIN bedrock_pipeline.run_leases l
                 ON (l.kind, l.pipeline, l.subject) = ('publish', d.pipeline, d.dataset)
               WHERE d.packed_hash IS NOT NULL AND d.pipeline = ANY(%(pipelines)s)
                 AND (NOT d.open AND d.published_version IS DISTINCT FROM d.version
                      OR d.open AND d.collections > d.published_collections
                         AND (d.published_at IS NULL OR d.published_at <= bedrock_pipeline.now() - %(soon)s))
                 AND (d.open AND coalesce(d.published_at, d.packed_at) <= bedrock_pipeline.now() - %(late)s
                      OR NOT EXISTS (
                   SELECT FROM bedrock_pipeline.chunks c
                   LEFT JOIN bedrock_pipeline.retryable_records o ON o.chunk_id = c.chunk_id AND o.retried_at IS NULL
                   WHERE c.pipeline = d.pipeline AND c.dataset = d.dataset AND c.dataset_version = d.version
                     AND (c.collected_at IS NULL OR o.chunk_id IS NOT NULL)))
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
        pipeline: str,
        dataset: str,
        *,
        version: int,
        publication: int,
        uri: str,
        records: int,
        duplicates_answered: int = 0,
        duplicates_failed: int = 0,
        collections: int = 0,
    ) -> bool:
        """Move the pointer to results that are complete in S3; False if another process has moved it."""
        moved = self._database.execute(
            """UPDATE bedrock_pipeline.datasets
               SET publication = %(publication)s, published_version = %(version)s, results_uri = %(uri)s, published_records = %(records)s,
                   duplicates_answered = %(duplicates_answered)s, duplicates_failed = %(duplicates_failed)s,
                   published_collections = %(collections)s,
                   published_at = bedrock_pipeline.now(), updated_at = bedrock_pipeline.now()
               WHERE pipeline = %(pipeline)s AND dataset = %(dataset)s AND version = %(version)s
                 AND publication = %(publication)s - 1""",
            {
                "publication": publication,
                "uri": uri,
                "records": records,
                "duplicates_answered": duplicates_answered,
                "duplicates_failed": duplicates_failed,
                "collections": collections,
                "pipeline": pipeline,
                "dataset": dataset,
                "version": version,
            },
        )
        return moved == 1
