"""A dataset's versions.

What belongs here: whether the current one was submitted, and starting the next.
"""

from bedrock_pipeline.ledger.database import Connection
from bedrock_pipeline.ledger.rows import DatasetRow


def submitted(connection: Connection, row: DatasetRow) -> bool:
    """Whether a chunk of the current version was submitted, so that the version cannot be replaced.

    The rows stay locked to the end of the transaction, so that no submission begins in between.
    """
    statuses = connection.execute(
        """SELECT status <> 'pending' OR (mode = 'on-demand' AND fence > 0) AS begun FROM bedrock_pipeline.chunks
           WHERE pipeline = %s AND dataset = %s AND dataset_version = %s FOR UPDATE""",
        (row.pipeline, row.dataset, row.version),
    ).fetchall()
    return any(chunk["begun"] for chunk in statuses)


def start_version(connection: Connection, row: DatasetRow) -> None:
    """Start the next version: jobs of the last one are kept, its pending chunks are not submitted."""
    connection.execute(
        """UPDATE bedrock_pipeline.chunks
           SET status = 'stopped', status_message = 'replaced by a new version before it was submitted',
               status_changed_at = bedrock_pipeline.now(), ended_at = bedrock_pipeline.now(),
               cancel_requested_at = coalesce(cancel_requested_at, bedrock_pipeline.now()),
               requeued_since = NULL, requeue_reason = NULL
           WHERE pipeline = %s AND dataset = %s AND dataset_version = %s AND status = 'pending'""",
        (row.pipeline, row.dataset, row.version),
    )
    connection.execute(
        """UPDATE bedrock_pipeline.datasets
           SET version = version + 1, snapshot_uri = NULL, snapshot_hash = NULL, snapshot_records = NULL,
               snapshot_rejected = NULL, packed_hash = NULL, packed_at = NULL, packed_records = NULL,
               packed_rejected = NULL, snapshot_duplicates = 0, packed_duplicates = 0, duplicates_answered = 0,
               duplicates_failed = 0, cancel_requested_at = NULL
           WHERE pipeline = %s AND dataset = %s""",
        (row.pipeline, row.dataset),
    )
