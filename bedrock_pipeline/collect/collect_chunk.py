"""Collect a chunk: read its job's output from S3, write the results beside it, record them in the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import orjson
import pyarrow as pa

from bedrock_pipeline.aws.objects import ObjectInfo, ObjectMissingError
from bedrock_pipeline.aws.parquet_objects import damaged, read_schema, read_table
from bedrock_pipeline.collect.collect_output import PART, OutputFile, collect_output
from bedrock_pipeline.collect.disposition import Disposition, EndedChunk, disposition_of
from bedrock_pipeline.collect.line_reader import buffers, buffers_of
from bedrock_pipeline.collect.tally import (
    ChunkMetadata,
    TallyCounter,
    has_more_responses,
    line_discrepancies,
    manifest_discrepancies,
)
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import JobFailedError, StateError
from bedrock_pipeline.frozen_settings import lacks_validators, thaw
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.models import family_of
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.prepare.chunks.create_request import is_converse, output_folder
from bedrock_pipeline.pricing.estimates import overrides, priced_mode
from bedrock_pipeline.pricing.prices import Price, price_of
from bedrock_pipeline.records.result_schema import VECTORS
from bedrock_pipeline.records.tally import Tally


class JobProblemError(JobFailedError):
    """A job failed, or all of its records did. The responses that there are were kept."""


class AnswerClassMissingError(StateError):
    """The validators of an answer class cannot be applied, since the code has another schema now."""


class NotEndedError(StateError):
    """The chunk's job has not ended."""


#: How long a job that has ended waits for code with the answer class that it was launched with.
_VALIDATORS_WAIT = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class CollectReport:
    """A chunk's results in S3.

    Attributes:
        retryable_by_code: how many records are retried, by the code that they ended with.
        discrepancies: where manifest, lines and index disagree; normally empty.
    """

    chunk: ChunkRow
    tally: Tally
    parsed_uri: str
    schema: pa.Schema
    retryable_by_code: dict[str, int]
    discrepancies: list[str]


def collect_chunk(deployment: Deployment, pipeline: BasePipeline, chunk_key: str) -> CollectReport:
    """Read the results of a job that ended; doing it again gives the same rows.

    Raises:
        NotEndedError: there is nothing to collect yet.
        JobProblemError: a permanent error, or something that an operator must decide; raised after the responses that
            there are were kept.
    """
    chunk = deployment.ledger.chunks.by_key(pipeline.name, chunk_key)
    if not chunk.ended or (chunk.status == "failed" and chunk.job_arn is None):
        raise NotEndedError(
            f"Chunk {chunk_key} is {chunk.status}"
            + (f": {chunk.status_message}." if chunk.status_message else "."),
            "Its results are collected automatically when its job has ended.",
        )
    if chunk.collected_at is not None and chunk.parsed_uri:
        report = _collected_before(deployment, chunk, chunk.parsed_uri)
        problem = _known_problem(deployment, chunk)
    else:
        report, problem = _collect(deployment, pipeline, chunk)
    if problem:
        raise JobProblemError(
            problem, f"{report.tally.answered} of {chunk.records} records have a response; these are kept."
        )
    return report


def _collect(
    deployment: Deployment, pipeline: BasePipeline, chunk: ChunkRow
) -> tuple[CollectReport, str | None]:
    parsed_uri = _new_folder(deployment, chunk)
    launched = _launched_pipeline(deployment, pipeline, chunk)
    disposition = disposition_of(_ended(chunk), launched.max_record_attempts, launched.retry_incomplete)
    index = read_table(deployment.objects, chunk.index_uri)
    if "record_id" not in index.column_names or index.num_rows < chunk.records:
        raise damaged(chunk.index_uri)
    collected = collect_output(
        lambda: _output_files(deployment, chunk),
        index,
        _metadata(deployment, launched, chunk, disposition),
        lambda path, name: deployment.objects.upload(path, f"{parsed_uri}{name}"),
        executor=deployment.system.executor,
    )
    tally = collected.counter.tally()
    manifest = _manifest(deployment, chunk)
    discrepancies = _discrepancies(chunk, manifest, collected.counter)
    waits = disposition.waits(
        collected.retryable_by_code, lost=_lost_output(deployment, chunk, manifest, collected.counter)
    )
    problem = waits or disposition.problem(collected.counter)
    deployment.ledger.chunks.record_collected(
        chunk.chunk_id,
        chunk.fence,
        tally,
        parsed_uri=parsed_uri,
        problem=problem,
        waits_for_operator=waits,
    )
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if now.parsed_uri != parsed_uri:
        deployment.objects.discard(parsed_uri)
        if now.parsed_uri is None:
            raise NotEndedError(
                f"Chunk {chunk.chunk_key} has adopted job {now.job_arn} meanwhile.",
                "Its results are collected automatically when that has ended.",
            )
        # Another collector was first: its rows are those that are published.
        return _collected_before(deployment, now, now.parsed_uri), _known_problem(deployment, now)
    report = CollectReport(
        chunk,
        tally,
        parsed_uri,
        collected.schema,
        collected.retryable_by_code,
        discrepancies,
    )
    return report, problem


def _known_problem(deployment: Deployment, chunk: ChunkRow) -> str | None:
    """The problem of a chunk that was collected before: that of records that wait is none any more once they are retried."""
    open_records = deployment.ledger.retry_rounds.open_of(
        chunk.pipeline, chunk.dataset, chunk.dataset_version
    )
    waits = (one.wait_reason for one in open_records if one.chunk.chunk_id == chunk.chunk_id)
    return next(waits, None) or chunk.lasting_problem


def _new_folder(deployment: Deployment, chunk: ChunkRow) -> str:
    """A folder of this collector's own, so that a late one changes nothing of what was recorded."""
    settings, own = deployment.settings, deployment.system.new_id().hex
    parts = chunk.pipeline, chunk.dataset, str(chunk.chunk_id), own
    return settings.uri(settings.work_prefix, "parsed", *parts) + "/"


def _launched_pipeline(deployment: Deployment, code: BasePipeline, chunk: ChunkRow) -> BasePipeline:
    """The pipeline as it was when the chunk was made, with the answer class of the code if its schema is still that one.

    An operator can decide that the schema alone judges: where the code has no such class, or the class cannot do it.

    Raises:
        AnswerClassMissingError: the code has no such class, and its validators are waited for.
    """
    ledger = deployment.ledger
    settings = ledger.versions.settings(chunk.settings_digest)
    missing = lacks_validators(settings, code)
    by_schema_only = ledger.versions.judges_by_schema_only(
        chunk.chunk_id, _VALIDATORS_WAIT if missing else None
    )
    if missing and not by_schema_only:
        raise AnswerClassMissingError(
            f"Chunk {chunk.chunk_key} was launched with answer class {missing}, whose schema the code does not have any more.",
            "Collect it with the code that launched it; or judge its responses by the JSON schema alone: "
            f"bedrock-pipeline retry {chunk.pipeline} {chunk.dataset} --schema-only. "
            f"That happens by itself {_VALIDATORS_WAIT.days} days after the job ended.",
        )
    return thaw(settings, code, validates=not by_schema_only)


def _ended(chunk: ChunkRow) -> EndedChunk:
    return EndedChunk(
        pipeline=chunk.pipeline,
        dataset=chunk.dataset,
        chunk_key=chunk.chunk_key,
        records=chunk.records,
        attempt=chunk.attempt,
        mode=chunk.mode,
        status=chunk.status,
        status_message=chunk.status_message,
        cancelled=chunk.cancel_requested_at is not None,
    )


def _metadata(
    deployment: Deployment, pipeline: BasePipeline, chunk: ChunkRow, disposition: Disposition
) -> ChunkMetadata:
    converse = is_converse(chunk.frozen_request or chunk.request)
    return ChunkMetadata(
        family=family_of(chunk.model_id, converse=converse, name=pipeline.family),
        model_id=chunk.model_id,
        chunk_key=chunk.chunk_key,
        job_arn=chunk.job_arn,
        attempt=chunk.attempt,
        no_answer=disposition.no_answer,
        keep_raw=pipeline.keep_raw_output,
        accepted=frozenset(pipeline.accept_incomplete),
        again=disposition.retries,
        raised=pipeline.raised_limit if pipeline.max_tokens_factor > 1 else None,
        columns=pipeline.answer_columns(),
        vectors=_vectors(pipeline),
        own_bodies=not isinstance(pipeline, Pipeline) or pipeline.model_input is not None,
        price=_price(deployment, pipeline, chunk),
        mode=priced_mode(chunk.mode, pipeline),
        dataset_version=chunk.dataset_version,
    )


def _output_files(deployment: Deployment, chunk: ChunkRow) -> Iterator[OutputFile]:
    """The output files of the job, or the responses to on-demand calls; none if there is neither."""
    if chunk.mode == "on-demand":
        yield "", buffers_of(deployment.ledger.calls.lines(chunk.chunk_id))
    folder = _output_folder(chunk)
    for item in _listed(deployment, chunk, folder) if folder else ():
        if item.uri.endswith(".jsonl.out"):
            with deployment.objects.open(item.uri) as stream:
                yield item.uri, buffers(stream)


def _listed(deployment: Deployment, chunk: ChunkRow, folder: str) -> list[ObjectInfo]:
    """What the job's output folder holds; nothing if the job failed since its bucket does not exist."""
    try:
        return list(deployment.objects.list(folder))
    except ObjectMissingError:
        if chunk.status != "failed":
            raise
        return []


def _output_folder(chunk: ChunkRow) -> str | None:
    """The folder of the job's output; None without a job."""
    if chunk.job_arn is None or chunk.frozen_request is None:
        return None
    return output_folder(chunk.frozen_request, chunk.job_arn)


def _manifest(deployment: Deployment, chunk: ChunkRow) -> bytes | None:
    folder = _output_folder(chunk)
    manifest = f"{folder}manifest.json.out"
    return deployment.objects.get(manifest) if folder and deployment.objects.head(manifest) else None


def _lost_output(
    deployment: Deployment, chunk: ChunkRow, manifest: bytes | None, counter: TallyCounter
) -> str | None:
    """What of the output of a job that ended well has been deleted; lines that Bedrock has left out are another matter."""
    folder = _output_folder(chunk)
    if folder is None or chunk.status not in ("completed", "partially-completed"):
        return None
    if not has_more_responses(manifest, counter):
        return None
    if not counter.lines:
        return f"its output folder {folder} holds {'no' if manifest else 'neither a manifest nor a'} line"
    if manifest or chunk.status == "completed":
        there = {item.uri.rpartition("/")[2] for item in _listed(deployment, chunk, folder) if item.size}
        expected = {f"{file.uri.rpartition('/')[2]}.out" for file in chunk.input_files}
        if gone := expected - there:
            return f"{len(gone)} of its {len(expected)} output files are not in {folder}"
    return None


def _discrepancies(chunk: ChunkRow, manifest: bytes | None, counter: TallyCounter) -> list[str]:
    completed = chunk.status == "completed"
    found = line_discrepancies(counter, completed=completed)
    if manifest is not None:
        found += _read_manifest(manifest, counter)
    elif completed and chunk.job_arn:
        found.append("there is no manifest")
    return found


def _read_manifest(data: bytes, counter: TallyCounter) -> list[str]:
    try:
        manifest = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ["the manifest is invalid JSON"]
    if not isinstance(manifest, dict):
        return ["the manifest is not a JSON object"]
    return manifest_discrepancies(manifest, counter)


def _collected_before(deployment: Deployment, chunk: ChunkRow, parsed_uri: str) -> CollectReport:
    schema = read_schema(deployment.objects, f"{parsed_uri}{PART}")
    tally = Tally(
        records=chunk.records,
        answered=chunk.answered or 0,
        final_errors=chunk.final_errors or 0,
        final_by_code=chunk.final_by_code,
        retryable=chunk.retryable or 0,
        input_tokens=chunk.input_tokens or 0,
        output_tokens=chunk.output_tokens or 0,
        cost_usd=chunk.cost_usd,
        on_demand_cost_usd=chunk.on_demand_cost_usd,
    )
    return CollectReport(chunk, tally, parsed_uri, schema, retryable_by_code={}, discrepancies=[])


def _vectors(pipeline: BasePipeline) -> dict[str, int | None]:
    """The types of vectors of whole numbers that a pipeline requests; in bodies of the user's own they are not known."""
    parameters = pipeline.parameters if isinstance(pipeline, Pipeline) else {}
    return {kind: None for kind in pipeline.model_family.vector_types(parameters) if kind in VECTORS}


def _price(deployment: Deployment, pipeline: BasePipeline, chunk: ChunkRow) -> Price | None:
    """The price when the chunk was submitted, whenever it is collected."""
    at = chunk.submitted_at or chunk.ended_at
    assert at is not None  # it has ended
    return price_of(chunk.model_id, at, overrides(deployment.settings, pipeline))
