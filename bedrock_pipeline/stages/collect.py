"""Collect a chunk's results: read every output file, write parquet, account for every record.

What belongs here: the order of reading, writing in full, and telling the ledger; and when a chunk is a problem
that a person must see. The join is `records.results`.
"""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.models import family_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.results import (
    Accounting,
    ChunkFacts,
    manifest_discrepancies,
    result_schema,
    rows,
    vector_length,
)
from bedrock_pipeline.stages.context import Context
from bedrock_pipeline.stages.request import output_folder

#: Lines that are looked at to learn the length of the vectors.
_LOOK = 1000


class JobProblemError(BedrockPipelineError):
    """A job ended badly. What it did answer is kept."""


class NotEndedError(BedrockPipelineError):
    """The chunk's job has not ended."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """A chunk's results in S3.

    Attributes:
        discrepancies: where manifest, lines and index disagree; empty as a rule.
    """

    chunk: ChunkRow
    answered: int
    final_errors: int
    leftovers: int
    input_tokens: int
    output_tokens: int
    parsed_uri: str
    schema: pa.Schema
    discrepancies: list[str]


def collect_chunk(context: Context, pipeline: Pipeline, chunk_key: str) -> CollectReport:
    """Read the results of a job that ended; doing it again gives the same rows.

    Raises:
        NotEndedError: there is nothing to collect yet.
        JobProblemError: the job failed, expired, was stopped or partial, or answered nothing; raised after what
            it did answer was kept.
    """
    chunk = context.ledger.chunks.by_key(pipeline.name, chunk_key)
    if not chunk.ended or (chunk.status == "failed" and chunk.job_arn is None):
        raise NotEndedError(
            f"Chunk {chunk_key} is {chunk.status}"
            + (f": {chunk.status_message}." if chunk.status_message else "."),
            "Its results are read by themselves when its job has ended.",
        )
    if chunk.collected_at is not None and chunk.parsed_uri:
        report = _collected_before(context, chunk)
    else:
        report = _collect(context, pipeline, chunk)
    if problem := _problem(chunk, report.answered, report.final_errors):
        raise JobProblemError(
            problem, f"{report.answered} of {chunk.records} records are answered, and kept."
        )
    return report


def _collect(context: Context, pipeline: Pipeline, chunk: ChunkRow) -> CollectReport:
    settings = context.settings
    parsed_uri = (
        settings.uri(settings.work_prefix, "parsed", chunk.pipeline, chunk.dataset, str(chunk.chunk_id)) + "/"
    )
    accounting = Accounting(chunk.records)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        part = Path(folder) / "part-00000.parquet"
        schema = _write_rows(context, pipeline, chunk, accounting, part)
        context.objects.upload(part, f"{parsed_uri}{part.name}")
    discrepancies = _discrepancies(context, chunk, accounting)
    context.ledger.chunks.record_collected(
        chunk.chunk_id,
        parsed_uri=parsed_uri,
        answered=accounting.answered,
        final_errors=accounting.final_errors,
        leftovers=0,
        input_tokens=accounting.input_tokens,
        output_tokens=accounting.output_tokens,
        problem=_problem(chunk, accounting.answered, accounting.final_errors),
    )
    return CollectReport(
        chunk=chunk,
        answered=accounting.answered,
        final_errors=accounting.final_errors,
        leftovers=0,
        input_tokens=accounting.input_tokens,
        output_tokens=accounting.output_tokens,
        parsed_uri=parsed_uri,
        schema=schema,
        discrepancies=discrepancies,
    )


def _write_rows(
    context: Context, pipeline: Pipeline, chunk: ChunkRow, accounting: Accounting, part: Path
) -> pa.Schema:
    family = family_of(chunk.model_id)
    with context.objects.random_access(chunk.index_uri) as stream:
        index = pq.read_table(stream)
    lines = _output_lines(context, chunk)
    first = list(itertools.islice(lines, _LOOK)) if family.embeds else []
    dimension = next((length for line in first if (length := vector_length(line, family))), None)
    facts = ChunkFacts(
        family=family,
        model_id=chunk.model_id,
        chunk_key=chunk.chunk_key,
        job_arn=chunk.job_arn,
        round=chunk.round,
        no_answer=_no_answer(chunk),
        keep_raw=pipeline.keep_raw_output,
    )
    carry = pa.schema([field for field in index.schema if field.name != "record_id"])
    schema = result_schema(carry, dimension)
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for batch in rows(itertools.chain(first, lines), index, facts, accounting, dimension):
            writer.write_batch(batch)
    return schema


def _output_lines(context: Context, chunk: ChunkRow) -> Iterator[bytes]:
    """Lines of every output file of the job's folder; none where there is no job or no output."""
    if chunk.job_arn is None or chunk.frozen_request is None:
        return
    for item in context.objects.list(output_folder(chunk.frozen_request, chunk.job_arn)):
        if item.uri.endswith(".jsonl.out"):
            with context.objects.open(item.uri) as stream:
                yield from stream


def _discrepancies(context: Context, chunk: ChunkRow, accounting: Accounting) -> list[str]:
    found = [
        f"{count} lines are {what}"
        for what, count in (
            ("doubled", accounting.doubled),
            ("of unknown records", accounting.unknown),
            ("not readable", accounting.malformed),
        )
        if count
    ]
    if accounting.missing and chunk.status == "completed":
        found.append(f"{accounting.missing} records have no line")
    if chunk.job_arn and chunk.frozen_request:
        manifest = f"{output_folder(chunk.frozen_request, chunk.job_arn)}manifest.json.out"
        if context.objects.head(manifest):
            found += _read_manifest(context.objects.get(manifest), accounting)
        elif chunk.status == "completed":
            found.append("there is no manifest")
    return found


def _read_manifest(data: bytes, accounting: Accounting) -> list[str]:
    try:
        manifest = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ["the manifest is not JSON"]
    return (
        manifest_discrepancies(manifest, accounting)
        if isinstance(manifest, dict)
        else ["the manifest is no object"]
    )


def _no_answer(chunk: ChunkRow) -> tuple[str, str]:
    if chunk.status == "completed":
        return "missing", "the job completed without a line for this record"
    if chunk.cancel_requested_at:
        return "cancelled", "the chunk was cancelled"
    return f"job-{chunk.status}", chunk.status_message or f"the job ended {chunk.status}"


def _problem(chunk: ChunkRow, answered: int, final_errors: int) -> str | None:
    if chunk.status != "completed" and not chunk.cancel_requested_at:
        said = f" Bedrock says: {chunk.status_message}" if chunk.status_message else ""
        return f"The job of chunk {chunk.chunk_key} ended {chunk.status}.{said}"
    if chunk.status == "completed" and not answered and final_errors:
        return f"The job of chunk {chunk.chunk_key} completed, and every one of its {final_errors} records failed."
    return None


def _collected_before(context: Context, chunk: ChunkRow) -> CollectReport:
    with context.objects.random_access(f"{chunk.parsed_uri}part-00000.parquet") as stream:
        schema = pq.read_schema(stream)
    return CollectReport(
        chunk=chunk,
        answered=chunk.answered or 0,
        final_errors=chunk.final_errors or 0,
        leftovers=chunk.leftovers or 0,
        input_tokens=chunk.input_tokens or 0,
        output_tokens=chunk.output_tokens or 0,
        parsed_uri=chunk.parsed_uri or "",
        schema=schema,
        discrepancies=[],
    )
