"""Rows of a dataset that were left out.

What belongs here: the files beside a snapshot that list them, and which of them a dataset has.
"""

from bedrock_pipeline.ledger.rows import DatasetRow

#: Left out when the snapshot was taken.
REJECTED = "rejected.parquet"
#: Left out when it was packed: records that are asked, and their duplicates.
NOT_PACKED, NOT_PACKED_DUPLICATES = "not-packed.parquet", "not-packed-duplicates.parquet"


def rejected_uris(row: DatasetRow) -> list[str]:
    """Parquet files with the position, record id and reason of each row that was left out."""
    duplicates = row.packed_rejected and row.snapshot_duplicates - row.packed_duplicates
    files = {
        REJECTED: row.snapshot_rejected,
        NOT_PACKED: row.packed_rejected,
        NOT_PACKED_DUPLICATES: duplicates,
    }
    return [f"{row.snapshot_uri}{name}" for name, count in files.items() if count]
