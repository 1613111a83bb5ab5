"""Duplicates of records that could not be packed are rejected for the same reason."""

from pathlib import Path

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.snapshot.duplicates import followers_of
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter


def follower_files(deployment: Deployment, row: DatasetRow, folder: Path) -> list[Path]:
    """The dataset's followers, in the work folder."""
    files = []
    for item in deployment.objects.list(f"{row.snapshot_uri}followers-"):
        files.append(folder / item.uri.rpartition("/")[2])
        deployment.objects.download(item.uri, files[-1])
    return files


def reject_followers(
    deployment: Deployment, row: DatasetRow, rejected: Path, folder: Path
) -> RejectionWriter:
    """Whoever follows a record that could not be packed is rejected for the same reason.

    Args:
        deployment: the deployment.
        row: the dataset.
        rejected: parquet file of the records that could not be packed.
        folder: the work folder.

    Returns:
        The followers that were rejected, in a closed file.
    """
    writer = RejectionWriter(folder / "rejected-followers.parquet")
    if row.snapshot_followers:
        with followers_of(follower_files(deployment, row, folder), rejected) as found:
            for position, record_id, reason in found:
                writer.add(Rejection(position, reason, record_id))
    writer.close()
    return writer
