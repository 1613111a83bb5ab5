"""Names: one is either a pipeline's or a queue's.

What belongs here: the lock under which a name is taken, so that of a launch and a queue's registration at once the second
finds the first.
"""

from bedrock_pipeline.ledger.database import Connection


def lock_name(connection: Connection, name: str) -> None:
    """Lock a name to the end of the transaction; before any row is locked."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('bedrock_pipeline.name ' || %s, 0))", (name,)
    )
