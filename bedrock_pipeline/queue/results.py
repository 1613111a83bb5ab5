"""What a queue gives back: jobs and their answers.

What belongs here: `JobResult` and `TaskResult`, what a chunk in the ledger means in the original library's words, and
reading answers as a stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import orjson
import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.queues import QueueJob
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import Status
from bedrock_pipeline.queue.errors import JobNotFinalError
from bedrock_pipeline.queue.job_results import job_batches
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
#: What the ledger knows before Bedrock has accepted a job; the original library has no word for it but this one.
_BEFORE: Final[dict[Status, JobStatus]] = {
    "pending": "queued",
    "submitting": "queued",
    "in-doubt": "queued",
    "needs-resolution": "queued",
}


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a record has no answer.

    Attributes:
        code: Bedrock's error code, or ours (`docs/queue.md`).
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A record's answer, or the error that is final.

    Attributes:
        record_id: the caller's.
        model_output: the model's whole answer.
        error: why there is none.
        output_text: the answer's text, whatever the model's family.
        embedding: the answer's vector.
        attempt: 1, or the later round in which it was answered.
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
    """The results of one job, read from S3 as they are iterated; each iteration reads them again.

    Args:
        deployment: the deployment.
        chunk: the job's.
    """

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
        """The same as batches of Arrow."""
        return job_batches(self._deployment, self._chunk)

    def table(self) -> pa.Table:
        """All of them as an Arrow table, in memory."""
        batches = (pa.Table.from_batches([batch]) for batch in self.batches())
        return pa.concat_tables(batches, promote_options="permissive")


@dataclass(frozen=True, slots=True)
class JobResult:
    """A job, as far as it is.

    Attributes:
        job_id: the chunk's UUID.
        status: one of the original library's ten.
        results: once every record is final; a stream, not a list.
        final: whether every record has its answer or an error that is final.
        stuck: why it goes on only when a person has done something; None where it goes on by itself.
        detail: the ledger's own status, which also tells `pending`, `submitting`, `in_doubt` and `needs_resolution`.
        mode: `batch`; or `on-demand`, where the tasks were too few for a job of Bedrock's.
        dataset: the day whose results it belongs to.
        chunk_key: its partition in Dagster.
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
        """Its results.

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
    """A job's status in the original's words.

    Bedrock's own until its job has ended; then `in-process` until every record is final; then what became of the
    records: `completed` where all were answered, `partially-completed` where some were, though the job did not
    complete.
    """
    chunk = job.chunk
    if chunk.status in _BEFORE:
        return _BEFORE[chunk.status]
    status: JobStatus = chunk.status  # type: ignore[assignment]  # the four others were dealt with
    if job.final_at is None:
        refused = status == "failed" and chunk.job_arn is None
        return status if refused or not chunk.ended else "in-process"
    if job.answered == chunk.records:
        return "completed"
    return "partially-completed" if job.answered and status not in ("completed", "stopped") else status


def job_result(deployment: Deployment, job: QueueJob) -> JobResult:
    """What is known of a job."""
    chunk, final = job.chunk, job.final_at is not None
    request = chunk.frozen_request or chunk.request
    return JobResult(
        job_id=str(chunk.chunk_id),
        status=job_status(job),
        job_arn=chunk.job_arn,
        s3_input_uri=request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"],
        s3_output_uri=request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
        error_message=job.waits_for or chunk.problem or chunk.requeue_reason or chunk.status_message,
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


def _stuck(job: QueueJob) -> str | None:
    chunk = job.chunk
    refused = chunk.status == "failed" and chunk.job_arn is None
    if job.final_at is None and (refused or chunk.status == "needs-resolution"):
        return chunk.status_message or chunk.status
    return job.waits_for


def _task_result(record_id: str, row: ResultRow) -> TaskResult:
    failed = row.status != "succeeded"
    return TaskResult(
        record_id=record_id,
        model_output=orjson.loads(row.raw_output) if row.raw_output is not None else None,
        error=TaskError(row.error_code or "unknown", row.error_message or "") if failed else None,
        **{name: getattr(row, name) for name in _SAME},
    )
