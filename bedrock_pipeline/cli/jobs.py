"""Jobs of queues, as the commands find and show them."""

from collections.abc import Iterator
from dataclasses import fields
from itertools import chain
from typing import Any
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.queue import JobResult
from bedrock_pipeline.queue.job_results import job_result

#: The most jobs of a queue that are listed.
_MOST_JOBS = 50


def is_job_id(text: str) -> bool:
    """Whether an argument is the id of a job rather than a name."""
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def job_by_id(deployment: Deployment, job_id: str) -> JobResult:
    """A job of any queue.

    Raises:
        NotFoundError: there is none; a pipeline may have been named without a dataset.
    """
    if job_id in deployment.ledger.served_pipelines.known():
        raise NotFoundError(
            f"{job_id!r} is a pipeline or queue; a dataset of it is needed too, or a job's id alone.",
            f"`bedrock-pipeline status {job_id}` shows its datasets and jobs.",
        )
    job = deployment.ledger.queues.job(UUID(job_id)) if is_job_id(job_id) else None
    if job is None:
        raise NotFoundError(f"There is no job {job_id!r}.", "A job's id is what `flush` printed.")
    return job_result(deployment, job)


def jobs_of_queue(deployment: Deployment, queue: str) -> list[JobResult] | None:
    """The last jobs of a queue, newest first; None if there is no such queue."""
    if deployment.ledger.queues.get(queue) is None:
        return None
    return [job_result(deployment, job) for job in deployment.ledger.queues.jobs(queue, _MOST_JOBS)]


def job_row(job: JobResult) -> dict[str, Any]:
    """A job for JSON output: everything but its results."""
    return {field.name: getattr(job, field.name) for field in fields(job) if field.name != "results"}


def job_batches(job: JobResult) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The results of a final job, as a stream of batches with one schema.

    Raises:
        JobNotFinalError: it is not final.
    """
    batches = job.final_results().batches()
    first = next(batches)
    return first.schema, chain([first], batches)
