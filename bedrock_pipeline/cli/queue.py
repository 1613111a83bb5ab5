"""Commands about queues and their jobs: enqueue, flush, wait; and what the others do when they are given a job.

What belongs here: how a queue is opened by its name, as it was opened last, and how its jobs are shown.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import IO, Any
from uuid import UUID

import click
import orjson
import pyarrow as pa
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress_bar import ProgressBar
from rich.table import Table

from bedrock_pipeline.cli.output import console, print_json
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, JobResult
from bedrock_pipeline.queue.errors import AwaitTimeoutError, UnknownJobError
from bedrock_pipeline.queue.events import FAILED
from bedrock_pipeline.queue.results import job_result
from bedrock_pipeline.queue.task import InvalidTaskError
from bedrock_pipeline.settings import Settings

#: Jobs that a table shows.
_MOST_JOBS = 50
_SLICE_S = 2.0


class UnknownQueueError(BedrockPipelineError):
    """There is no queue of this name."""


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--queue", "name", required=True, help="The queue's name.")
@click.option("--model", help="Model id or ARN; needed the first time.")
@click.option("--job-type", help="What its jobs are for.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="As soon as so many tasks wait, they become a job."
)
@click.option("--max-age", type=float, help="As soon as one has waited for so many seconds.")
@click.option("--replace", is_flag=True, help="A task takes the place of one of its record id that waits.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def enqueue(
    file: IO[bytes],
    name: str,
    model: str | None,
    job_type: str | None,
    batch_size: int | None,
    max_age: float | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Add the tasks of a JSONL file, or of standard input (-), to a queue.

    A line is {"recordId": …, "modelInput": {…}}.
    """
    changes = {"job_type": job_type, "batch_size": batch_size, "max_age_s": max_age}
    if replace:
        changes["on_duplicate"] = "replace"
    with BedrockQueue(_config(name, model, changes)) as queue:
        added = queue.enqueue_many(_tasks(file))
        waiting = queue.get_queue_size()
    if as_json:
        print_json({"queue": name, "added": added, "waiting": waiting})
    else:
        click.echo(f"{added} tasks added to {name}; {waiting} wait")


@click.command()
@click.argument("queue")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def flush(queue: str, as_json: bool) -> None:
    """Make jobs of every task that waits in a queue, and print their ids."""
    with BedrockQueue(_config(queue)) as opened:
        jobs = opened.flush()
        waiting = opened.get_queue_size()
    if as_json:
        print_json({"queue": queue, "jobs": jobs, "waiting": waiting})
        return
    for job in jobs:
        click.echo(job)
    if not jobs:
        console.print(f"no task became a job; {waiting} wait", highlight=False)


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--timeout", type=float, help="Seconds to wait at the most.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def wait(jobs: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until every record of these jobs is final, and make it so; exit code 1 where one has failed."""
    with BedrockQueue(_config(_queue_of(jobs[0]))) as queue:
        results = _await(queue, list(jobs), timeout)
    if as_json:
        print_json([as_row(result) for result in results])
    else:
        console.print(table_of_jobs(results))
    sys.exit(1 if any(result.status in FAILED for result in results) else 0)


def is_job(text: str | None) -> bool:
    """Whether an argument is a job's id rather than a name."""
    try:
        return bool(UUID(text or ""))
    except ValueError:
        return False


def job_of(deployment: Deployment, job_id: str) -> JobResult:
    """A job of whatever queue.

    Raises:
        UnknownJobError: there is none.
    """
    job = deployment.ledger.queues.job(UUID(job_id)) if is_job(job_id) else None
    if job is None:
        raise UnknownJobError(f"There is no job {job_id!r}.", "A job's id is what `flush` printed.")
    return job_result(deployment, job)


def jobs_of(deployment: Deployment, queue: str) -> list[JobResult] | None:
    """The jobs that a queue made last, newest first; None where there is no such queue."""
    if deployment.ledger.queues.get(queue) is None:
        return None
    return [job_result(deployment, job) for job in deployment.ledger.queues.jobs(queue, _MOST_JOBS)]


def as_row(result: JobResult) -> dict[str, Any]:
    """A job for programs."""
    return {field.name: getattr(result, field.name) for field in fields(result) if field.name != "results"}


def table_of_jobs(results: list[JobResult]) -> Table:
    """Jobs for people."""
    table = Table("job", "status", "records", "", "answered", "failed", "why")
    for one in results:
        bar = ProgressBar(total=one.record_count, completed=one.processed_count, width=20)
        counts = ("" if count is None else str(count) for count in (one.answered, one.failed))
        table.add_row(
            one.job_id, one.status, str(one.record_count), bar, *counts, one.stuck or one.error_message or ""
        )
    return table


def batches_of(result: JobResult) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The results of a job that is final, as a stream.

    Raises:
        JobNotFinalError: it is not.
    """
    batches = result.final_results().batches()
    first = next(batches)

    def all_of_them() -> Iterator[pa.RecordBatch]:
        yield first
        for batch in batches:
            yield batch.cast(first.schema)

    return first.schema, all_of_them()


def _await(queue: BedrockQueue, jobs: list[str], timeout: float | None) -> list[JobResult]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
    )
    left = timeout
    with Progress(*columns, console=console) as progress:
        bars: dict[str, TaskID] = {}
        while True:
            for job in jobs:
                now = queue.get_job(job)
                if job not in bars:
                    bars[job] = progress.add_task(job, total=now.record_count, status=now.status)
                progress.update(bars[job], completed=now.processed_count, status=now.status)
            try:
                return queue.await_jobs(jobs, _SLICE_S if left is None else min(left, _SLICE_S))
            except AwaitTimeoutError:
                left = None if left is None else left - _SLICE_S
                if left is not None and left <= 0:
                    raise


def _config(name: str, model: str | None = None, changes: dict[str, Any] | None = None) -> BedrockQueueConfig:
    with open_deployment(Settings.resolve()) as deployment:
        known = deployment.ledger.queues.get(name) if deployment.ledger.is_current() else None
    if known:
        config = BedrockQueueConfig.of(known)
    elif model:
        config = BedrockQueueConfig(name=name, model_id=model, job_type=name, enable_auto_polling=False)
    else:
        raise UnknownQueueError(
            f"There is no queue {name!r}.",
            "The first time, `enqueue` needs --model; see `bedrock-pipeline status`.",
        )
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    return BedrockQueueConfig.model_validate(
        {**dict(config), **given, **({"model_id": model} if model else {})}
    )


def _queue_of(job_id: str) -> str:
    with open_deployment(Settings.resolve()) as deployment:
        return job_of(deployment, job_id).queue


def _tasks(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                task = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise InvalidTaskError("task", f"line {number} is not JSON") from None
            if not isinstance(task, dict):
                raise InvalidTaskError("task", f"line {number} is no JSON object")
            yield task
