"""Publish a dataset: a version of its complete results becomes visible at once.

What belongs here: checking that the results are complete, writing the version in full, then moving the pointer.
"""

import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.aws.parquet_objects import read_metadata, read_schema
from bedrock_pipeline.concurrency import REQUESTS_AT_ONCE, in_order
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.rows import ChunkRow, DatasetProgress, DatasetRow
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.publish.copy_parts import copy_parts
from bedrock_pipeline.publish.read_results import open_folder, results_gone
from bedrock_pipeline.publish.table_rows import TableRejectedError, Written
from bedrock_pipeline.publish.write_duplicates import PublishedDuplicates, write_duplicates
from bedrock_pipeline.publish.write_table import write_table


class NotCompleteError(StateError):
    """Not every record of the dataset has its answer or final error yet."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published version of a dataset's results.

    Attributes:
        uri: folder with `part-*.parquet`, ends in `/`; it is never changed.
        version: its name, such as `v1-1`: the dataset's version and the number of the publication.
        unchanged: whether it was published before.
    """

    uri: str
    version: str
    records: int
    succeeded: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    files: list[str]
    schema: pa.Schema
    unchanged: bool


def publish_dataset(deployment: Deployment, pipeline: BasePipeline, dataset: str) -> Publication:
    """Publish a dataset whose results are complete; if it is published already, describe the publication.

    A queue's dataset is published repeatedly, with what is collected so far. Any number of publishers may run: each
    writes a folder of its own, and the ledger's pointer moves to the first that is complete.

    Raises:
        NotCompleteError: chunks are missing; it lists how many are in which state.
        TableRejectedError: the table into which the pipeline publishes too does not take the results; the sensors publish
            the version again when an operator has acted.
        TableBusyError, TableUnavailableError: it cannot be written now.
    """
    before = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    stale = before.latest_written_publication != before.publication or before.latest_writes > 0
    row = _write_latest(deployment, pipeline.name, dataset)
    recorded = False
    while not recorded and not _is_current(row):
        try:
            recorded = _publish(deployment, pipeline, row)
        except NotCompleteError:
            if stale and row.publication:  # `latest.json` of an earlier version was due, and is right now
                break
            raise
        row = _write_latest(deployment, pipeline.name, dataset)
    return _describe(deployment, row, unchanged=not recorded)


def _is_current(row: DatasetRow) -> bool:
    """Whether nothing is left to publish, by the same rule by which the ledger finds what is due."""
    if row.open:
        return row.state == "published" and row.published_collections == row.collections
    return row.state in ("published", "cancelled")


def _publish(deployment: Deployment, pipeline: BasePipeline, row: DatasetRow) -> bool:
    """Write the results into a new folder, then move the ledger's pointer; False if another publisher has moved it."""
    if not row.open:
        _must_be_complete(row, deployment.ledger.datasets.progress(row.pipeline, row.dataset))
    chunks = deployment.ledger.chunks.of_dataset(row.pipeline, row.dataset, row.version)
    answered = sum(chunk.answered or 0 for chunk in chunks)
    failed = sum(chunk.final_errors or 0 for chunk in chunks)
    if not answered + failed:
        raise NotCompleteError(
            f"No job of dataset {row.dataset!r} has results yet.",
            "It is published automatically when one has.",
        )
    if row.cancel_requested_at and row.publication and not answered and not row.open:
        deployment.ledger.versions.end_cancelled(row)
        return False
    uri = f"{_base(deployment, row)}/v{row.version}-{row.publication + 1}-{deployment.system.new_id().hex}/"
    try:
        duplicates = _write_version(deployment, row, chunks, uri)
        if isinstance(pipeline, Pipeline) and pipeline.publish_to:
            # Before the pointer moves: a crash in between publishes again, and the table's rows are replaced again.
            written = Written(
                row.pipeline,
                row.dataset,
                row.version,
                row.publication + 1,
                uri,
                open_folder(deployment, uri),
                incarnation=deployment.ledger.incarnations.current().number,
            )
            if not write_table(deployment, pipeline.publish_to, written):
                _must_be_overtaken(deployment, row)
    except TableRejectedError as error:
        deployment.objects.discard(uri)
        deployment.ledger.publications.reject(row, str(error))
        raise
    except BaseException:
        deployment.objects.discard(uri)
        raise
    recorded = deployment.ledger.publications.record(
        row,
        uri=uri,
        answered=answered,
        failed=failed,
        duplicates_answered=duplicates.answered,
        duplicates_failed_by_code=duplicates.failed_by_code,
    )
    if not recorded:
        deployment.objects.discard(uri)
    return recorded


def _must_be_overtaken(deployment: Deployment, row: DatasetRow) -> None:
    """Check that the table's later publication is one of this ledger, which has moved the pointer."""
    now = deployment.ledger.datasets.ensure(row.pipeline, row.dataset)
    if (now.version, now.publication) == (row.version, row.publication):
        raise TableRejectedError(
            f"The table has a later publication of dataset {row.dataset!r} of pipeline {row.pipeline!r} than the ledger knows: "
            "the ledger was restored from a backup.",
            "Run `bedrock-pipeline reconcile`, which notices a restore; then "
            f"`bedrock-pipeline retry {row.pipeline} {row.dataset}` publishes it into the table.",
        )


def _must_be_complete(row: DatasetRow, progress: DatasetProgress) -> None:
    if row.packed_hash is None:
        raise NotCompleteError(
            f"Dataset {row.dataset!r} is not packed yet.", "Materialize input_dataset and batch_chunks first."
        )
    if progress.uncollected:
        states = ", ".join(f"{count} {status}" for status, count in sorted(progress.by_status.items()))
        raise NotCompleteError(
            f"{progress.uncollected} of {progress.chunks} chunks of dataset {row.dataset!r} have no results yet ({states}).",
            "The sensors continue automatically; `bedrock-pipeline status` shows what each chunk waits for.",
        )
    if progress.retryable:
        raise NotCompleteError(
            f"{progress.retryable} records of dataset {row.dataset!r} wait for the next attempt, or for an operator.",
            "`bedrock-pipeline status` shows which, and why.",
        )
    settled = progress.answered + progress.final_errors - progress.duplicates_settled
    if settled != progress.records - progress.duplicates:
        raise NotCompleteError(
            f"Of {progress.records} records of dataset {row.dataset!r}, {progress.answered} are answered and "
            f"{progress.final_errors} have a final error; the others have neither."
        )


def _write_version(
    deployment: Deployment, row: DatasetRow, chunks: list[ChunkRow], uri: str
) -> PublishedDuplicates:
    """Write the parts of every chunk, then those of the duplicates; nothing points at them yet."""
    rows_of = {chunk.parsed_uri: (chunk.answered or 0) + (chunk.final_errors or 0) for chunk in chunks}
    # A chunk whose records are all retryable has no part.
    prefixes = [f"{parsed_uri}part-" for parsed_uri, rows in rows_of.items() if rows]
    objects, executor = deployment.objects, deployment.system.executor
    listed = in_order(lambda prefix: list(objects.list(prefix)), prefixes, REQUESTS_AT_ONCE, executor)
    parts = [part.uri for some in listed for part in some]
    targets = [f"{uri}part-{number:05}.parquet" for number in range(len(parts))]
    copied = copy_parts(objects, parts, targets, executor)
    duplicates = write_duplicates(deployment, row, targets, copied.schema, f"{uri}part-", len(parts))
    rows = copied.rows + sum(_rows(deployment, file) for file in duplicates.files)
    expected = sum(rows_of.values()) + row.packed_duplicates
    if rows != expected:
        raise NotCompleteError(
            f"The parts of dataset {row.dataset!r} have {rows} rows, but {expected} were collected: files of its chunks were "
            "deleted or changed since.",
            "Restore them from earlier versions of the objects; or request the responses again: "
            f"bedrock-pipeline launch {row.pipeline} {row.dataset} --new-version",
        )
    return duplicates


def _write_latest(deployment: Deployment, pipeline: str, dataset: str) -> DatasetRow:
    """Write `latest.json` if it does not name the publication that the ledger names; returns the dataset's row.

    A publisher that was suspended before it wrote may overwrite a later pointer; it notices, and writes again. If it dies
    instead, its write is not known to have ended, so that a later run looks.
    """
    for writes in itertools.count(1):
        row = deployment.ledger.datasets.ensure(pipeline, dataset)
        if not row.publication:
            return row
        uri, pointer = f"{_base(deployment, row)}/latest.json", _pointer(row)
        if row.latest_written_publication == row.publication:
            with suppress(ObjectMissingError):
                if deployment.objects.get(uri) == pointer:
                    if row.latest_writes:
                        deployment.ledger.publications.record_latest_checked(row)
                    return row
        deployment.ledger.publications.begin_latest(row)
        deployment.objects.put(uri, pointer)
        if deployment.ledger.publications.record_latest(row, writes):
            return row
    raise AssertionError("unreachable: the loop returns")


def _pointer(row: DatasetRow) -> bytes:
    counts = {"records": row.published_records, "succeeded": _succeeded(row), "failed": row.published_failed}
    return json.dumps({"version": _version(row), "uri": row.results_uri, **counts}).encode()


def _describe(deployment: Deployment, row: DatasetRow, *, unchanged: bool) -> Publication:
    progress = deployment.ledger.datasets.progress(row.pipeline, row.dataset)
    files = [item.uri for item in deployment.objects.list(f"{row.results_uri}part-")]
    if not files:
        raise results_gone(row.results_uri or "")
    return Publication(
        uri=row.results_uri or "",
        version=_version(row),
        records=row.published_records or 0,
        succeeded=_succeeded(row),
        failed=row.published_failed or 0,
        input_tokens=progress.input_tokens,
        output_tokens=progress.output_tokens,
        cost_usd=progress.cost_usd,
        on_demand_cost_usd=progress.on_demand_cost_usd,
        files=files,
        schema=read_schema(deployment.objects, files[0]),
        unchanged=unchanged,
    )


def _version(row: DatasetRow) -> str:
    return f"v{row.published_version}-{row.publication}"


def _succeeded(row: DatasetRow) -> int:
    return (row.published_records or 0) - (row.published_failed or 0)


def _rows(deployment: Deployment, uri: str) -> int:
    return int(read_metadata(deployment.objects, uri).num_rows)


def _base(deployment: Deployment, row: DatasetRow) -> str:
    return deployment.settings.uri(deployment.settings.results_prefix, row.pipeline, row.dataset)
