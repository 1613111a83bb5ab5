"""Publish a dataset: a version of its complete results becomes visible at once.

What belongs here: checking that the results are complete, writing the version in full, then moving the pointer.
"""

import json
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.ledger.rows import ChunkRow, DatasetProgress, DatasetRow
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.publish.write_duplicates import PublishedDuplicates, write_duplicates


class NotCompleteError(StateError):
    """Not every record of the dataset has its answer or final error yet."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published version of a dataset's results.

    Attributes:
        uri: folder with `part-*.parquet`, ends in `/`.
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

    A queue's dataset is published repeatedly, with what is collected so far.

    Raises:
        NotCompleteError: chunks are missing; it lists how many are in which state.
    """
    row = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    progress = deployment.ledger.datasets.progress(pipeline.name, dataset)
    if row.open:  # what is collected so far
        progress = replace(progress, records=progress.answered + progress.final_errors)
    else:
        _must_be_complete(row, progress)
    if row.open and not row.collections:
        raise NotCompleteError(
            f"No job of dataset {row.dataset!r} has results yet.",
            "It is published automatically when one has.",
        )
    if row.published_version == row.version and row.published_collections == row.collections:
        return _describe(deployment, row, progress, row.publication, unchanged=True)
    publication = row.publication + 1
    uri = _folder(deployment, row, publication)
    chunks = [
        chunk
        for chunk in deployment.ledger.chunks.of_dataset(pipeline.name, dataset, row.version)
        if chunk.collected_at
    ]
    duplicates = _write_version(deployment, row, chunks, uri)
    deployment.ledger.publications.record(
        pipeline.name,
        dataset,
        version=row.version,
        publication=publication,
        uri=uri,
        records=progress.records,
        duplicates_answered=duplicates.answered,
        duplicates_failed=duplicates.failed,
        collections=row.collections,
    )
    # The pointer in S3 follows the ledger, so that a second, late publisher writes what the ledger has.
    current = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    if not row.open:
        progress = deployment.ledger.datasets.progress(pipeline.name, dataset)  # with the duplicates
    published = _describe(deployment, current, progress, current.publication, unchanged=False)
    deployment.objects.put(_latest(deployment, row), json.dumps(_pointer(published)).encode())
    return published


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
    parts = [
        part.uri
        for chunk in chunks
        if (chunk.answered or 0) + (chunk.final_errors or 0)  # if all are retryable, there is no row
        for part in deployment.objects.list(f"{chunk.parsed_uri}part-")
    ]
    targets = [f"{uri}part-{number:05}.parquet" for number in range(len(parts))]
    for part, target in zip(parts, targets, strict=True):
        deployment.objects.copy(part, target)
    published = write_duplicates(deployment, row, parts, f"{uri}part-", len(parts))
    kept = {*targets, *published.files}
    # An earlier attempt at this version may have written more files.
    deployment.objects.delete(item.uri for item in list(deployment.objects.list(uri)) if item.uri not in kept)
    rows = sum(_rows(deployment, target) for target in kept)
    expected = sum((chunk.answered or 0) + (chunk.final_errors or 0) for chunk in chunks)
    expected += row.packed_duplicates
    if rows != expected:
        raise NotCompleteError(f"The parts in {uri} have {rows} rows, but {expected} were collected.")
    return published


def _describe(
    deployment: Deployment, row: DatasetRow, progress: DatasetProgress, publication: int, *, unchanged: bool
) -> Publication:
    uri = row.results_uri or _folder(deployment, row, publication)
    files = [item.uri for item in deployment.objects.list(f"{uri}part-")]
    with deployment.objects.random_access(files[0]) as first:
        schema = pq.read_schema(first)
    return Publication(
        uri=uri,
        version=f"v{row.version}-{publication}",
        records=progress.records,
        succeeded=progress.answered,
        failed=progress.final_errors,
        input_tokens=progress.input_tokens,
        output_tokens=progress.output_tokens,
        cost_usd=progress.cost_usd,
        on_demand_cost_usd=progress.on_demand_cost_usd,
        files=files,
        schema=schema,
        unchanged=unchanged,
    )


def _rows(deployment: Deployment, uri: str) -> int:
    with deployment.objects.random_access(uri) as stream:
        return int(pq.read_metadata(stream).num_rows)


def _pointer(published: Publication) -> dict[str, object]:
    return {
        "version": published.version,
        "uri": published.uri,
        "records": published.records,
        "succeeded": published.succeeded,
        "failed": published.failed,
    }


def _folder(deployment: Deployment, row: DatasetRow, publication: int) -> str:
    return f"{_base(deployment, row)}/v{row.version}-{publication}/"


def _latest(deployment: Deployment, row: DatasetRow) -> str:
    return f"{_base(deployment, row)}/latest.json"


def _base(deployment: Deployment, row: DatasetRow) -> str:
    return deployment.settings.uri(deployment.settings.results_prefix, row.pipeline, row.dataset)
