"""The time that all processes agree on.

What belongs here: asking the database. Statements that need no answer of it call `bedrock_pipeline.now()` themselves.
"""

from datetime import datetime

from bedrock_pipeline.ledger.database import Connection


def now(connection: Connection) -> datetime:
    """The database's time, which is everyone's."""
    row = connection.execute("SELECT bedrock_pipeline.now() AS now").fetchone()
    assert row is not None  # a function has a value
    time: datetime = row["now"]
    return time
