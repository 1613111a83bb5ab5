"""Duplicates of records that could not be packed are rejected for the same reason."""

from pathlib import Path

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.snapshot.duplicates import duplicates_of
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter


def duplicate_files(deployment: Deployment, row: DatasetRow, folder: Path) -> list[Path]:
    """The dataset's duplicates, in the work folder."""
    files = []
    for item in deployment.objects.list(f"{row.snapshot_uri}duplicates-"):
        files.append(folder / item.uri.rpartition("/")[2])
        deployment.objects.download(item.uri, files[-1])
    return files


def reject_duplicates(
    deployment: Deployment, row: DatasetRow, rejected: Path, folder: Path
) -> RejectionWriter:
    """Whoever follows a record that could not be packed is rejected for the same reason.

    Args:
        deployment: the deployment.
        row: the dataset.
        rejected: parquet file of the records that could not be packed.
        folder: the work folder.

    Returns:
        The duplicates that were rejected, in a closed file.
    """
    writer = RejectionWriter(folder / "rejected-duplicates.parquet")
    if row.snapshot_duplicates:
        with duplicates_of(duplicate_files(deployment, row, folder), rejected) as found:
            for position, record_id, reason in found:
                writer.add(Rejection(position, reason, record_id))
    writer.close()
    return writer
