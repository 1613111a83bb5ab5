"""Reject the duplicates of records that could not be packed."""

from pathlib import Path

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.snapshot.duplicates import duplicates_of
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter

#: Rows that were rejected when the snapshot was taken.
REJECTED = "rejected.parquet"
#: Records that were rejected when the snapshot was packed, and their duplicates.
NOT_PACKED, NOT_PACKED_DUPLICATES = "not-packed.parquet", "not-packed-duplicates.parquet"


def rejected_uris(row: DatasetRow) -> list[str]:
    """Parquet files with the position, record id and reason of each rejected row of a dataset."""
    duplicates = row.packed_rejected and row.snapshot_duplicates - row.packed_duplicates
    files = {
        REJECTED: row.snapshot_rejected,
        packed_name(row.packed_hash or "", NOT_PACKED): row.packed_rejected,
        packed_name(row.packed_hash or "", NOT_PACKED_DUPLICATES): duplicates,
    }
    return [f"{row.snapshot_uri}{name}" for name, count in files.items() if count]


def packed_name(packed_hash: str, name: str) -> str:
    """A file about the packing of a snapshot, within its folder: packing it otherwise does not overwrite it."""
    return f"packed-{packed_hash[:16]}/{name}"


def duplicate_files(deployment: Deployment, row: DatasetRow, folder: Path) -> list[Path]:
    """Download the dataset's duplicates into the work folder."""
    files = []
    for item in deployment.objects.list(f"{row.snapshot_uri}duplicates-"):
        files.append(folder / item.uri.rpartition("/")[2])
        deployment.objects.download(item.uri, files[-1])
    return files


def reject_duplicates(
    deployment: Deployment, row: DatasetRow, rejected: Path, folder: Path
) -> RejectionWriter:
    """Reject each duplicate whose canonical record was rejected, for the same reason.

    The records that could not be packed are read from the parquet file `rejected`.

    Returns:
        The rejected duplicates, in a closed file in the work folder.
    """
    writer = RejectionWriter(folder / "rejected-duplicates.parquet")
    if row.snapshot_duplicates:
        with duplicates_of(duplicate_files(deployment, row, folder), rejected) as found:
            for position, record_id, reason in found:
                writer.add(Rejection(position, reason, record_id))
    writer.close()
    return writer
