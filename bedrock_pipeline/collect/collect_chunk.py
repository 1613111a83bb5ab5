"""Collect a chunk's results: read every output file, write parquet, account for every record.

What belongs here: the order of reading, writing in full, and telling the ledger. The join is `collect.join`; what
is final, asked again or a problem is decided in `verdict.py`.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.collect.disposition import Verdict, verdict_of
from bedrock_pipeline.collect.join import dimension_of, rows
from bedrock_pipeline.collect.line_reader import buffers, buffers_of
from bedrock_pipeline.collect.retry_writer import LeftoverWriter
from bedrock_pipeline.collect.tally import Accounting, ChunkFacts, manifest_discrepancies
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.models import family_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import is_converse, output_folder
from bedrock_pipeline.pricing.estimates import overrides
from bedrock_pipeline.pricing.prices import Price, price_of
from bedrock_pipeline.records.parquet_writer import GroupedWriter
from bedrock_pipeline.records.result_schema import carried, result_schema

#: A chunk's records that are asked again, beside its parts.
LEFTOVERS = "leftovers.parquet"


class JobProblemError(BedrockPipelineError):
    """A job ended badly. What it did answer is kept."""


class NotEndedError(BedrockPipelineError):
    """The chunk's job has not ended."""


@dataclass(frozen=True, slots=True)
class CollectReport:
    """A chunk's results in S3.

    Attributes:
        leftovers: records that are asked again.
        left_over: the same by the code that they ended with.
        discrepancies: where manifest, lines and index disagree; empty as a rule.
    """

    chunk: ChunkRow
    answered: int
    final_errors: int
    leftovers: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    parsed_uri: str
    schema: pa.Schema
    left_over: dict[str, int]
    discrepancies: list[str]


def collect_chunk(deployment: Deployment, pipeline: Pipeline, chunk_key: str) -> CollectReport:
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


def _collect(deployment: Deployment, pipeline: Pipeline, chunk: ChunkRow) -> tuple[CollectReport, str | None]:
    settings = deployment.settings
    parsed_uri = (
        settings.uri(settings.work_prefix, "parsed", chunk.pipeline, chunk.dataset, str(chunk.chunk_id)) + "/"
    )
    accounting, verdict = Accounting(chunk.records), verdict_of(chunk, pipeline.max_rounds)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        part, rest = Path(folder) / "part-00000.parquet", Path(folder) / LEFTOVERS
        leftovers = LeftoverWriter(rest)
        schema = _write_rows(deployment, pipeline, chunk, accounting, verdict, part, leftovers)
        leftovers.close()
        if accounting.leftovers:
            deployment.objects.upload(rest, f"{parsed_uri}{rest.name}")
        deployment.objects.upload(part, f"{parsed_uri}{part.name}")
    discrepancies = _discrepancies(deployment, chunk, accounting)
    problem = verdict.problem(accounting)
    deployment.ledger.chunks.record_collected(
        chunk.chunk_id,
        parsed_uri=parsed_uri,
        answered=accounting.answered,
        final_errors=accounting.final_errors,
        leftovers=accounting.leftovers,
        input_tokens=accounting.input_tokens,
        output_tokens=accounting.output_tokens,
        problem=problem,
        held_for_person=problem if verdict.waits_for_person else None,
        cost_usd=accounting.cost_usd,
        on_demand_cost_usd=accounting.on_demand_cost_usd,
    )
    report = CollectReport(
        chunk=chunk,
        answered=accounting.answered,
        final_errors=accounting.final_errors,
        leftovers=accounting.leftovers,
        input_tokens=accounting.input_tokens,
        output_tokens=accounting.output_tokens,
        cost_usd=accounting.cost_usd,
        on_demand_cost_usd=accounting.on_demand_cost_usd,
        parsed_uri=parsed_uri,
        schema=schema,
        left_over=leftovers.by_reason,
        discrepancies=discrepancies,
    )
    return report, problem


def _write_rows(
    deployment: Deployment,
    pipeline: Pipeline,
    chunk: ChunkRow,
    accounting: Accounting,
    verdict: Verdict,
    part: Path,
    leftovers: LeftoverWriter,
) -> pa.Schema:
    row = deployment.ledger.datasets.ensure(pipeline.name, chunk.dataset)
    effective = pipeline.for_dataset(row.request)
    converse = is_converse(chunk.frozen_request or chunk.request)
    family = family_of(chunk.model_id, converse=converse, name=effective.family)
    with deployment.objects.random_access(chunk.index_uri) as stream:
        index = pq.read_table(stream)
    dimension, lines = dimension_of(_output_lines(deployment, chunk), family)
    facts = ChunkFacts(
        family=family,
        model_id=chunk.model_id,
        chunk_key=chunk.chunk_key,
        job_arn=chunk.job_arn,
        round=chunk.round,
        no_answer=verdict.no_answer,
        keep_raw=effective.keep_raw_output,
        again=verdict.again,
        columns=effective.answer_columns(),
        price=_price(deployment, pipeline, chunk),
        asked="on-demand" if chunk.mode == "on-demand" else "batch",
    )
    schema = result_schema(carried(index.schema), dimension, facts.answer_fields)
    with GroupedWriter(part, schema) as writer:
        for batch in rows(lines, index, facts, accounting, dimension, leftovers):
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


def _discrepancies(deployment: Deployment, chunk: ChunkRow, accounting: Accounting) -> list[str]:
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
        if deployment.objects.head(manifest):
            found += _read_manifest(deployment.objects.get(manifest), accounting)
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


def _collected_before(deployment: Deployment, chunk: ChunkRow) -> CollectReport:
    with deployment.objects.random_access(f"{chunk.parsed_uri}part-00000.parquet") as stream:
        schema = pq.read_schema(stream)
    return CollectReport(
        chunk=chunk,
        answered=chunk.answered or 0,
        final_errors=chunk.final_errors or 0,
        leftovers=chunk.leftovers or 0,
        input_tokens=chunk.input_tokens or 0,
        output_tokens=chunk.output_tokens or 0,
        cost_usd=chunk.cost_usd,
        on_demand_cost_usd=chunk.on_demand_cost_usd,
        parsed_uri=chunk.parsed_uri or "",
        schema=schema,
        left_over={},
        discrepancies=[],
    )


def _price(deployment: Deployment, pipeline: Pipeline, chunk: ChunkRow) -> Price | None:
    """The price at which a chunk that has ended was asked; the same whenever it is collected."""
    at = chunk.submitted_at or chunk.ended_at
    assert at is not None  # it has ended
    return price_of(chunk.model_id, at, overrides(deployment.settings, pipeline))
