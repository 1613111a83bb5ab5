"""Which pipelines the running code has, and which have unfinished work that no code serves any more.

What belongs here: the statements on table `served_pipelines`. A code location or a queue's program enters its pipelines while
it runs; a pipeline that was renamed or removed is noticed by its absence.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.rows import FrozenSettings

#: How long after it was last seen a pipeline counts as one that code runs for; some times as long as entries are renewed.
RUNNING_WITHIN: Final = timedelta(minutes=5)
#: How long after it was last seen a pipeline counts as removed; longer than a deploy or a restart takes.
REMOVED_AFTER: Final = timedelta(minutes=15)
#: An entry is renewed when it is older than this.
_RENEW: Final = timedelta(minutes=1)


class ServedPipelines:
    """The pipelines of all code locations and programs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self, pipelines: Sequence[str]) -> None:
        """These pipelines are served now."""
        self._database.execute(
            """INSERT INTO bedrock_pipeline.served_pipelines AS s (pipeline)
               SELECT name FROM unnest(%s::text[]) AS name ORDER BY name
               ON CONFLICT (pipeline) DO UPDATE SET seen_at = excluded.seen_at
               WHERE s.seen_at < excluded.seen_at - %s""",
            (list(pipelines), _RENEW),
        )

    def now(self) -> list[str]:
        """The pipelines of datasets that running code has, by name; they stay for a while after it ended.

        Queues are not among them: the program of one says nothing about the pipelines of a code location.
        """
        rows = self._database.fetch(
            """SELECT pipeline FROM bedrock_pipeline.served_pipelines
               WHERE seen_at > bedrock_pipeline.now() - %s
                 AND pipeline NOT IN (SELECT queue FROM bedrock_pipeline.queues) ORDER BY pipeline""",
            (RUNNING_WITHIN,),
        )
        return [row["pipeline"] for row in rows]

    def known(self) -> list[str]:
        """The names of all pipelines and queues that run, ran, or have datasets."""
        rows = self._database.fetch(
            """SELECT pipeline FROM bedrock_pipeline.served_pipelines UNION SELECT pipeline FROM bedrock_pipeline.datasets
               UNION SELECT queue FROM bedrock_pipeline.queues ORDER BY 1"""
        )
        return [row["pipeline"] for row in rows]

    def removed(self) -> dict[str, FrozenSettings]:
        """Pipelines with unfinished chunks or versions that nobody serves, each with settings that a chunk of it has."""
        rows = self._database.fetch(
            """WITH unfinished AS (
                   SELECT pipeline FROM bedrock_pipeline.chunks WHERE collected_at IS NULL
                   UNION SELECT pipeline FROM bedrock_pipeline.versions WHERE state = 'packed'
                   UNION SELECT pipeline FROM bedrock_pipeline.datasets WHERE open AND collections > published_collections)
               SELECT u.pipeline, s.digest, s.content_digest, s.document::text AS document
               FROM unfinished u
               LEFT JOIN bedrock_pipeline.served_pipelines p
                 ON p.pipeline = u.pipeline AND p.seen_at > bedrock_pipeline.now() - %s
               CROSS JOIN LATERAL (
                   SELECT settings_digest FROM bedrock_pipeline.chunks c
                   WHERE c.pipeline = u.pipeline LIMIT 1) one
               JOIN bedrock_pipeline.frozen_settings s ON s.digest = one.settings_digest
               WHERE p.pipeline IS NULL ORDER BY u.pipeline""",
            (REMOVED_AFTER,),
        )
        return {row.pop("pipeline"): FrozenSettings(**row) for row in rows}
