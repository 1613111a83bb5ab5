"""The jobs of a queue: their status, when all of their records are final, and their results as a stream."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.aws.parquet_objects import read_batches, read_table
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import JobNotFinalError, ServiceUnavailableError, StateError
from bedrock_pipeline.ledger.queues import QueueJob
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import Status
from bedrock_pipeline.outages import cause_of
from bedrock_pipeline.publish.copy_parts import fitted, read_part, schema_of_all
from bedrock_pipeline.publish.read_results import files_gone
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.result_schema import COLUMNS, ResultRow

JobStatus = Literal[
    "queued",
    "validating",
    "scheduled",
    "in-process",
    "partially-completed",
    "completed",
    "expired",
    "stopping",
    "stopped",
    "failed",
]
#: Statuses before Bedrock has accepted a job; the original library has one word for all of them.
NOT_ACCEPTED: Final[frozenset[Status]] = frozenset({"pending", "submitting", "in-doubt", "needs-resolution"})
#: The carried column that identifies a task; a record id may repeat within a day's dataset.
TASK_ID: Final = "task_id"
_READ_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a record has no response.

    Attributes:
        code: Bedrock's error code, or one of those in docs/records.md.
        message: the error in words.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A record's response, or its final error.

    Attributes:
        model_output: the model's whole output.
        error: why there is no response; None if there is one.
        output_text: the text of the response, whatever the model's family.
        embedding: the vector of the response.
        stop_reason: why the model stopped.
        cost_usd: US dollars; None if the model's price is unknown.
        job_arn: ARN of the job that answered; None for an on-demand call.
        attempt: 1, or the number of the later attempt that answered.
    """

    record_id: str
    model_output: Any = field(repr=False)
    error: TaskError | None
    output_text: str | None = field(repr=False)
    embedding: list[float] | None = field(repr=False)
    stop_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    job_arn: str | None
    attempt: int


#: What a task's result has from a row of the results as it is.
_SAME: Final = [one.name for one in fields(TaskResult) if one.name in COLUMNS]


class TaskResults:
    """The results of one job, read from S3 as they are iterated; each iteration reads them again."""

    def __init__(self, deployment: Deployment, chunk: ChunkRow) -> None:
        self._deployment = deployment
        self._chunk = chunk

    def __len__(self) -> int:
        return self._chunk.records

    def __iter__(self) -> Iterator[TaskResult]:
        for batch in self.batches():
            for row in batch.to_pylist():
                yield _task_result(row["record_id"], ResultRow.of(row))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The results as Arrow batches of one schema."""
        chunks = [self._chunk]
        if self._chunk.retryable:
            chunks += self._deployment.ledger.queues.later_chunks(self._chunk.chunk_id)
        objects = self._deployment.objects
        parts = [part.uri for chunk in chunks for part in objects.list(f"{chunk.parsed_uri}part-")]
        found = _job_batches(self._deployment, self._chunk)
        if len(parts) < 2:
            return found
        schema = schema_of_all([read_part(objects, part) for part in parts])
        return (fitted(batch, schema) for batch in found)

    def table(self) -> pa.Table:
        """All results as an Arrow table, in memory."""
        return pa.Table.from_batches(self.batches())


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job in its present state.

    Attributes:
        job_id: the chunk's UUID.
        status: one of the original library's ten.
        job_arn: ARN of Bedrock's job; None before it was accepted, and for on-demand calls.
        s3_input_uri: the job's input.
        s3_output_uri: the folder of Bedrock's output.
        error_message: why it waits or failed; None of a job that goes on by itself, or is completed without a problem.
        results: None until every record is final; a stream, not a list.
        final: whether every record has a response or a final error.
        stuck: why an operator must act before it continues; None if it continues by itself.
        detail: the ledger's own status, which also has `pending`, `submitting`, `in-doubt` and `needs-resolution`.
        mode: `batch`; or `on-demand`, if the tasks were too few for a job.
        dataset: the day whose results it belongs to.
        chunk_key: its partition in Dagster.
        processed_count: records that Bedrock has processed.
        answered: records with a response; None until collected.
        failed: records with a final error; None until collected.
        input_tokens: tokens of the requests; None until final.
        output_tokens: tokens of the responses; None until final.
    """

    job_id: str
    status: JobStatus
    job_arn: str | None
    s3_input_uri: str
    s3_output_uri: str
    error_message: str | None
    results: TaskResults | None = field(repr=False)
    record_count: int
    final: bool
    stuck: str | None
    detail: Status
    mode: Mode
    queue: str
    dataset: str
    chunk_key: str
    processed_count: int
    answered: int | None
    failed: int | None
    input_tokens: int | None
    output_tokens: int | None

    def final_results(self) -> TaskResults:
        """The results.

        Raises:
            JobNotFinalError: not every record is final yet.
        """
        if self.results is None:
            raise JobNotFinalError(
                f"Job {self.job_id} is {self.status}: not every record is final yet.",
                "Wait for it with await_job, or `bedrock-pipeline wait`.",
            )
        return self.results


def job_status(job: QueueJob) -> JobStatus:
    """A job's status in the words of the original library.

    Bedrock's own until its job has ended; then `in-process` until every record is final; then the outcome of the
    records: `completed` if all were answered, `partially-completed` if some were although the job did not complete.
    """
    chunk = job.chunk
    if chunk.status in NOT_ACCEPTED:
        return "queued"
    status: JobStatus = chunk.status  # type: ignore[assignment]  # the four others were handled above
    if job.final_at is None:
        return status if _rejected(chunk) or not chunk.ended else "in-process"
    if job.answered == chunk.records:
        return "completed"
    return "partially-completed" if job.answered and status not in ("completed", "stopped") else status


def job_result(deployment: Deployment, job: QueueJob) -> JobResult:
    """A job in its present state."""
    chunk, final = job.chunk, job.final_at is not None
    request = chunk.frozen_request or chunk.request
    return JobResult(
        job_id=str(chunk.chunk_id),
        status=job_status(job),
        job_arn=chunk.job_arn,
        s3_input_uri=request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"],
        s3_output_uri=request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
        error_message=_error_message(job),
        results=TaskResults(deployment, chunk) if final else None,
        record_count=chunk.records,
        final=final,
        stuck=_stuck(job),
        detail=chunk.status,
        mode=chunk.mode,
        queue=job.queue,
        dataset=chunk.dataset,
        chunk_key=chunk.chunk_key,
        processed_count=chunk.records if final else chunk.processed_count or 0,
        answered=job.answered if final else chunk.answered,
        failed=job.failed if final else chunk.final_errors,
        input_tokens=job.input_tokens,
        output_tokens=job.output_tokens,
    )


def record_final_jobs(deployment: Deployment, queues: list[str], report: Callable[[Exception], None]) -> int:
    """Record which jobs have become final, with their counts; returns how many.

    `report` is given what keeps a job from it, such as results that were deleted; the other jobs do not wait for that.
    """
    recorded = 0
    for chunk_id in deployment.ledger.queues.open_jobs(queues):
        chunk = deployment.ledger.chunks.by_id(chunk_id)
        if chunk and chunk.collected_at and deployment.ledger.chunks.is_final(chunk_id):
            try:
                counts = _counts(deployment, chunk)
            except (StateError, ServiceUnavailableError) as error:
                if cause_of(error):
                    raise
                report(error)
            else:
                recorded += deployment.ledger.queues.record_final(chunk_id, **counts)
    return recorded


def _stuck(job: QueueJob) -> str | None:
    chunk = job.chunk
    if job.final_at is None and (_rejected(chunk) or chunk.status == "needs-resolution"):
        return chunk.status_message or chunk.status
    return job.waits_for


def _error_message(job: QueueJob) -> str | None:
    chunk = job.chunk
    if problem := job.waits_for or chunk.lasting_problem or chunk.requeue_reason:
        return problem
    # Of these the message says how they are sent.
    goes_well = job_status(job) == "completed" or (chunk.status, chunk.mode) == ("pending", "on-demand")
    return None if goes_well else chunk.status_message


def _rejected(chunk: ChunkRow) -> bool:
    return chunk.status == "failed" and chunk.job_arn is None


def _counts(deployment: Deployment, chunk: ChunkRow) -> dict[str, int]:
    """Answered and failed records, input and output tokens, over all attempts."""
    names = ("answered", "failed", "input_tokens", "output_tokens")
    if not chunk.retryable:
        values = (chunk.answered, chunk.final_errors, chunk.input_tokens, chunk.output_tokens)
        return {name: value or 0 for name, value in zip(names, values, strict=True)}
    counts = dict.fromkeys(names, 0)
    for batch in _job_batches(deployment, chunk, [TASK_ID, "status", "input_tokens", "output_tokens"]):
        answered = pc.sum(pc.equal(batch["status"], "succeeded")).as_py() or 0
        counts["answered"] += answered
        counts["failed"] += batch.num_rows - answered
        for name in ("input_tokens", "output_tokens"):
            counts[name] += pc.sum(batch[name]).as_py() or 0
    return counts


def _job_batches(
    deployment: Deployment, chunk: ChunkRow, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a final job: those of its chunk, then its own among those of later attempts' chunks.

    `columns` must contain `task_id`; None reads all.
    """
    yield from _chunk_batches(deployment, chunk, columns)
    if not chunk.retryable:
        return
    try:
        own = read_table(deployment.objects, chunk.index_uri, [TASK_ID])[TASK_ID].combine_chunks()
    except ObjectMissingError as error:
        raise _gone(deployment, chunk, error.what) from error
    for later in deployment.ledger.queues.later_chunks(chunk.chunk_id):
        for batch in _chunk_batches(deployment, later, columns):
            yield batch.filter(pc.is_in(batch[TASK_ID], value_set=own))


def _chunk_batches(
    deployment: Deployment, chunk: ChunkRow, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    there = False
    for part in deployment.objects.list(f"{chunk.parsed_uri}part-"):
        there = True
        yield from read_batches(deployment.objects, part.uri, columns, _READ_ROWS)
    if not there and (chunk.answered or 0) + (chunk.final_errors or 0):
        raise _gone(
            deployment, chunk, f"The responses of chunk {chunk.chunk_key} are not in {chunk.parsed_uri}."
        )


def _gone(deployment: Deployment, chunk: ChunkRow, what: str) -> StateError:
    return files_gone(deployment, chunk.pipeline, chunk.dataset, chunk.dataset_version, what)


def _task_result(record_id: str, row: ResultRow) -> TaskResult:
    failed = row.status != "succeeded"
    return TaskResult(
        record_id=record_id,
        model_output=orjson.loads(row.raw_output) if row.raw_output is not None else None,
        error=TaskError(row.error_code or "unknown", row.error_message or "") if failed else None,
        **{name: getattr(row, name) for name in _SAME},
    )
