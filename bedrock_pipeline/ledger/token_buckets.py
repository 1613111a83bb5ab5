"""Token buckets that several processes share.

What belongs here: the statements on table `token_buckets`. The wait for a token is the caller's.
"""

from datetime import timedelta

from bedrock_pipeline.ledger.database import Database


class TokenBuckets:
    """All shared token buckets, by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def define(self, name: str, *, capacity: int, spacing: timedelta) -> None:
        """Make a bucket, full; or change the numbers of an existing one.

        Args:
            name: under which processes share it.
            capacity: tokens of a full bucket.
            spacing: time in which one token is filled in.
        """
        self._database.execute(
            """INSERT INTO bedrock_pipeline.token_buckets AS b (name, capacity, spacing, full_at)
               VALUES (%s, %s, %s, bedrock_pipeline.now())
               ON CONFLICT (name) DO UPDATE SET capacity = excluded.capacity, spacing = excluded.spacing
               WHERE (b.capacity, b.spacing) <> (excluded.capacity, excluded.spacing)""",
            (name, capacity, spacing),
        )

    def take(self, name: str) -> timedelta | None:
        """Take a token: None where there was one, else how long it takes until there is.

        A take whose acknowledgement was lost is repeated, so fewer tokens may be given out, never more.
        """
        taken = self._database.execute(
            """UPDATE bedrock_pipeline.token_buckets
               SET full_at = greatest(full_at, bedrock_pipeline.now()) + spacing
               WHERE name = %s AND full_at <= bedrock_pipeline.now() + (capacity - 1) * spacing""",
            (name,),
        )
        if taken:
            return None
        row = self._database.fetch(
            """SELECT greatest(full_at - (capacity - 1) * spacing - bedrock_pipeline.now(), interval '0') AS wait
               FROM bedrock_pipeline.token_buckets WHERE name = %s""",
            (name,),
        )[0]
        wait: timedelta = row["wait"]
        return wait
