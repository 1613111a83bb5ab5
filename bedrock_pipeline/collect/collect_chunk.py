"""Collect a chunk's results: read every output file, write parquet, account for every record.

What belongs here: the order of reading, writing in full, and telling the ledger. The join is `collect.join`; what
is final, asked again or a problem is decided in `disposition.py`.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.collect.disposition import Disposition, disposition_of
from bedrock_pipeline.collect.join import dimension_of, rows
from bedrock_pipeline.collect.line_reader import buffers, buffers_of
from bedrock_pipeline.collect.retry_writer import RetryWriter
from bedrock_pipeline.collect.tally import ChunkMetadata, Tally, manifest_discrepancies
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.models import family_of
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.prepare.chunks.create_request import is_converse, output_folder
from bedrock_pipeline.pricing.estimates import overrides
from bedrock_pipeline.pricing.prices import Price, price_of
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import carried, result_schema

#: A chunk's records that are asked again, beside its parts.
RETRYABLE = "retryable.parquet"


class JobProblemError(BedrockPipelineError):
    """A job ended badly. What it did answer is kept."""


class NotEndedError(BedrockPipelineError):
    """The chunk's job has not ended."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """A chunk's results in S3.

    Attributes:
        retryable: records that are asked again.
        retryable_by_code: the same by the code that they ended with.
        discrepancies: where manifest, lines and index disagree; empty as a rule.
    """

    chunk: ChunkRow
    answered: int
    final_errors: int
    retryable: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    parsed_uri: str
    schema: pa.Schema
    retryable_by_code: dict[str, int]
    discrepancies: list[str]


def collect_chunk(deployment: Deployment, pipeline: BasePipeline, chunk_key: str) -> CollectReport:
    """Read the results of a job that ended; doing it again gives the same rows.

    Raises:
        NotEndedError: there is nothing to collect yet.
        JobProblemError: something that asking again won't cure, or that only a person can decide; raised after what
            the job did answer was kept.
    """
    chunk = deployment.ledger.chunks.by_key(pipeline.name, chunk_key)
    if not chunk.ended or (chunk.status == "failed" and chunk.job_arn is None):
        raise NotEndedError(
            f"Chunk {chunk_key} is {chunk.status}"
            + (f": {chunk.status_message}." if chunk.status_message else "."),
            "Its results are read by themselves when its job has ended.",
        )
    if chunk.collected_at is not None and chunk.parsed_uri:
        report, problem = _collected_before(deployment, chunk), chunk.problem
    else:
        report, problem = _collect(deployment, pipeline, chunk)
    if problem:
        raise JobProblemError(
            problem, f"{report.answered} of {chunk.records} records are answered, and kept."
        )
    return report


def _collect(
    deployment: Deployment, pipeline: BasePipeline, chunk: ChunkRow
) -> tuple[CollectReport, str | None]:
    settings = deployment.settings
    parsed_uri = (
        settings.uri(settings.work_prefix, "parsed", chunk.pipeline, chunk.dataset, str(chunk.chunk_id)) + "/"
    )
    tally, disposition = Tally(chunk.records), disposition_of(chunk, pipeline.max_record_attempts)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        part, rest = Path(folder) / "part-00000.parquet", Path(folder) / RETRYABLE
        retryable = RetryWriter(rest)
        schema = _write_rows(deployment, pipeline, chunk, tally, disposition, part, retryable)
        retryable.close()
        if tally.retryable:
            deployment.objects.upload(rest, f"{parsed_uri}{rest.name}")
        deployment.objects.upload(part, f"{parsed_uri}{part.name}")
    discrepancies = _discrepancies(deployment, chunk, tally)
    problem = disposition.problem(tally)
    deployment.ledger.chunks.record_collected(
        chunk.chunk_id,
        parsed_uri=parsed_uri,
        answered=tally.answered,
        final_errors=tally.final_errors,
        retryable=tally.retryable,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        problem=problem,
        waits_for_operator=problem if disposition.waits_for_operator else None,
        cost_usd=tally.cost_usd,
        on_demand_cost_usd=tally.on_demand_cost_usd,
    )
    report = CollectReport(
        chunk=chunk,
        answered=tally.answered,
        final_errors=tally.final_errors,
        retryable=tally.retryable,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost_usd=tally.cost_usd,
        on_demand_cost_usd=tally.on_demand_cost_usd,
        parsed_uri=parsed_uri,
        schema=schema,
        retryable_by_code=retryable.by_reason,
        discrepancies=discrepancies,
    )
    return report, problem


def _write_rows(
    deployment: Deployment,
    pipeline: BasePipeline,
    chunk: ChunkRow,
    tally: Tally,
    disposition: Disposition,
    part: Path,
    retryable: RetryWriter,
) -> pa.Schema:
    row = deployment.ledger.datasets.ensure(pipeline.name, chunk.dataset)
    effective = pipeline.for_dataset(row.request)
    converse = is_converse(chunk.frozen_request or chunk.request)
    family = family_of(chunk.model_id, converse=converse, name=effective.family)
    with deployment.objects.random_access(chunk.index_uri) as stream:
        index = pq.read_table(stream)
    dimension, lines = dimension_of(_output_lines(deployment, chunk), family)
    metadata = ChunkMetadata(
        family=family,
        model_id=chunk.model_id,
        chunk_key=chunk.chunk_key,
        job_arn=chunk.job_arn,
        attempt=chunk.attempt,
        no_answer=disposition.no_answer,
        keep_raw=effective.keep_raw_output,
        again=disposition.again,
        columns=effective.answer_columns(),
        price=_price(deployment, pipeline, chunk),
        asked="on-demand" if chunk.mode == "on-demand" else "batch",
    )
    schema = result_schema(carried(index.schema), dimension, metadata.answer_fields)
    with GroupedWriter(part, schema) as writer:
        for batch in rows(lines, index, metadata, tally, dimension, retryable, deployment.system.executor):
            writer.add(batch)
    return schema


def _output_lines(deployment: Deployment, chunk: ChunkRow) -> Iterator[memoryview]:
    """Buffers of lines of every output file of the job's folder, or the answers to calls; none where there is neither."""
    if chunk.mode == "on-demand":
        yield from buffers_of(deployment.ledger.calls.lines(chunk.chunk_id))
    if chunk.job_arn is None or chunk.frozen_request is None:
        return
    for item in deployment.objects.list(output_folder(chunk.frozen_request, chunk.job_arn)):
        if item.uri.endswith(".jsonl.out"):
            with deployment.objects.open(item.uri) as stream:
                yield from buffers(stream)


def _discrepancies(deployment: Deployment, chunk: ChunkRow, tally: Tally) -> list[str]:
    found = [
        f"{count} lines are {what}"
        for what, count in (
            ("doubled", tally.doubled),
            ("of unknown records", tally.unknown),
            ("not readable", tally.malformed),
        )
        if count
    ]
    if tally.missing and chunk.status == "completed":
        found.append(f"{tally.missing} records have no line")
    if chunk.job_arn and chunk.frozen_request:
        manifest = f"{output_folder(chunk.frozen_request, chunk.job_arn)}manifest.json.out"
        if deployment.objects.head(manifest):
            found += _read_manifest(deployment.objects.get(manifest), tally)
        elif chunk.status == "completed":
            found.append("there is no manifest")
    return found


def _read_manifest(data: bytes, tally: Tally) -> list[str]:
    try:
        manifest = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ["the manifest is not JSON"]
    return (
        manifest_discrepancies(manifest, tally)
        if isinstance(manifest, dict)
        else ["the manifest is no object"]
    )


def _collected_before(deployment: Deployment, chunk: ChunkRow) -> CollectReport:
    with deployment.objects.random_access(f"{chunk.parsed_uri}part-00000.parquet") as stream:
        schema = pq.read_schema(stream)
    return CollectReport(
        chunk=chunk,
        answered=chunk.answered or 0,
        final_errors=chunk.final_errors or 0,
        retryable=chunk.retryable or 0,
        input_tokens=chunk.input_tokens or 0,
        output_tokens=chunk.output_tokens or 0,
        cost_usd=chunk.cost_usd,
        on_demand_cost_usd=chunk.on_demand_cost_usd,
        parsed_uri=chunk.parsed_uri or "",
        schema=schema,
        retryable_by_code={},
        discrepancies=[],
    )


def _price(deployment: Deployment, pipeline: BasePipeline, chunk: ChunkRow) -> Price | None:
    """The price at which a chunk that has ended was asked; the same whenever it is collected."""
    at = chunk.submitted_at or chunk.ended_at
    assert at is not None  # it has ended
    return price_of(chunk.model_id, at, overrides(deployment.settings, pipeline))
