"""The time that all processes share.

What belongs here: reading it from the database. Statements that need it themselves call `bedrock_pipeline.now()`.
"""

from datetime import datetime

from bedrock_pipeline.ledger.database import Connection


def now(connection: Connection) -> datetime:
    """The database's time, which all processes use."""
    row = connection.execute("SELECT bedrock_pipeline.now() AS now").fetchone()
    assert row is not None  # a function has a value
    time: datetime = row["now"]
    return time
