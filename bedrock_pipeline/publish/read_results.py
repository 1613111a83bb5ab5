"""Read what is published, and which rows of the input were rejected."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from bedrock_pipeline.aws.arrow_files import results_filesystem
from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.aws.parquet_objects import (
    ObjectDamagedError,
    read_batches,
    read_downloaded,
    read_metadata,
    reading,
)
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import NotFoundError, StateError
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.reject_duplicates import rejected_uris
from bedrock_pipeline.publish.copy_parts import fitted

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

#: Rows of a batch of results: of vectors, 32 MB or more.
_ROWS: Final = 8_192


def results_uri(deployment: Deployment, pipeline: str, dataset: str) -> str:
    """The `s3://` folder of the version that is published now.

    Raises:
        NotFoundError: there is no such dataset.
        StateError: nothing is published yet.
    """
    row = _dataset(deployment, pipeline, dataset)
    if row.results_uri is None:
        raise _not_yet(deployment, row, "published")
    return row.results_uri


def open_results(deployment: Deployment, pipeline: str, dataset: str) -> "pa_dataset.Dataset":
    """The version that is published now, as a lazy dataset of Arrow.

    Its rows are counted, by the footers of its files, which are then not read again.

    Raises:
        NotFoundError, StateError: as `results_uri`; or its files are gone, or some of them, or are not what was written.
    """
    row = _dataset(deployment, pipeline, dataset)
    if row.results_uri is None:
        raise _not_yet(deployment, row, "published")
    found = open_folder(deployment, row.results_uri)
    with _reading_files(deployment, row.results_uri):
        rows = found.count_rows()
    if rows > row.published_records:
        raise StateError(
            f"{row.published_records} rows were published below {row.results_uri}, and {rows} are there: a file was added or changed.",
            "Remove or restore what bedrock-pipeline has not written there.",
        )
    if rows < row.published_records:
        raise results_gone(
            row.results_uri, f"{row.published_records} rows were published, and {rows} are there"
        )
    return found


def every_row(deployment: Deployment, results: "pa_dataset.Dataset") -> Iterator[pa.RecordBatch]:
    """The rows of a published dataset, one file after the other, each by way of a local copy.

    Arrow's scanner reads ahead in threads of its own, of which an error leaves some at work: when Python ends, the process
    aborts.

    Raises:
        ObjectMissingError, ObjectDamagedError: a file is gone, or is not what was written.
    """
    with TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        for file in results.files:
            for batch in read_downloaded(deployment.objects, f"s3://{file}", Path(folder) / "part", _ROWS):
                yield fitted(batch, results.schema)


def open_folder(deployment: Deployment, uri: str) -> "pa_dataset.Dataset":
    """The parquet files of an `s3://` folder, as a lazy dataset of Arrow.

    Raises:
        StateError: there are none any more.
    """
    import pyarrow.dataset as pa_dataset  # it brings pandas, which takes half a second

    folder = uri.removeprefix("s3://").rstrip("/")
    with _reading_files(deployment, uri):
        try:
            found = pa_dataset.dataset(
                folder, filesystem=results_filesystem(deployment.settings), format="parquet"
            )
        except FileNotFoundError as error:
            raise results_gone(uri) from error
    if not found.files:
        raise results_gone(uri)
    return found


@contextmanager
def _reading_files(deployment: Deployment, uri: str) -> Iterator[None]:
    """The error where a file below a folder is not what was written names the first such file."""
    try:
        with reading(f"A file below {uri}"):
            yield
    except ObjectDamagedError:
        for file in deployment.objects.list(uri):
            read_metadata(deployment.objects, file.uri)
        raise


def results_gone(uri: str, why: str = "") -> StateError:
    """The error about published results that somebody, or a lifecycle rule, has deleted, all or some of them."""
    return StateError(
        f"Results below {uri} are gone: {why}."
        if why
        else f"The results below {uri} are gone, though they were published.",
        "See the lifecycle rules of the bucket; to have them again, launch the dataset with --new-version.",
    )


def rejected_rows(deployment: Deployment, pipeline: str, dataset: str) -> Iterator[pa.RecordBatch]:
    """The rows of the input that became no records in the dataset's current version: position, record id and reason.

    Raises:
        NotFoundError: there is no such dataset.
        StateError: it has no snapshot yet, or its files were deleted.
    """
    row = _dataset(deployment, pipeline, dataset)
    if row.snapshot_uri is None:
        raise _not_yet(deployment, row, "prepared")
    for uri in rejected_uris(row):
        try:
            yield from read_batches(deployment.objects, uri)
        except ObjectMissingError as error:
            raise files_gone(deployment, pipeline, dataset, row.version, error.what) from error


def files_gone(deployment: Deployment, pipeline: str, dataset: str, version: int, what: str) -> StateError:
    """The error about files of a version that are not there any more: `prune` deleted them, or a lifecycle rule did.

    Args:
        deployment: whose ledger says what was pruned.
        pipeline: of the dataset.
        dataset: its key.
        version: the version whose file is missing.
        what: says in a sentence what is missing.
    """
    named = f"version {version} of {dataset} of {pipeline}"
    if at := deployment.ledger.retention.pruned_at(pipeline, dataset, version):
        return StateError(
            f"{what} The work files of {named} were deleted by `bedrock-pipeline prune` on {at:%Y-%m-%d %H:%M} UTC.",
            f"Published results are kept; to have the rest again: bedrock-pipeline launch {pipeline} {dataset} --new-version",
        )
    return StateError(
        f"{what} Something other than bedrock-pipeline has deleted work files of {named}.",
        "See the lifecycle rules of the bucket: they delete what is beneath work_prefix (docs/aws.md, 'Objects that nobody "
        "needs').",
    )


def _not_yet(deployment: Deployment, row: DatasetRow, what: str) -> StateError:
    """The error about a dataset that is not published, or prepared: why not, as `status` says it."""
    shown = deployment.ledger.status_report.dataset(row.pipeline, row.dataset)
    state = f"; it is {row.state}" if row.state in ("failed", "cancelled") else " yet"
    why = f": {shown.waiting}" if shown and shown.waiting else "."
    return StateError(
        f"Dataset {row.dataset!r} of {row.pipeline!r} is not {what}{state}{why}",
        f"See `bedrock-pipeline status {row.pipeline} {row.dataset}`.",
    )


def _dataset(deployment: Deployment, pipeline: str, dataset: str) -> DatasetRow:
    row = deployment.ledger.datasets.get(pipeline, dataset)
    if row is None:
        raise NotFoundError(
            f"There is no dataset {dataset!r} of a pipeline {pipeline!r}.", "See `bedrock-pipeline status`."
        )
    return row
