"""Commands about queues: `enqueue`, `flush`, `wait`. They open a queue with the settings that it was last opened with."""

import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

import click
import orjson
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from bedrock_pipeline.cli.jobs import job_by_id, job_row
from bedrock_pipeline.cli.output import Count, Number, console, json_option, print_json, quiet_option
from bedrock_pipeline.cli.progress import CommandProgress, command_progress
from bedrock_pipeline.cli.status_text import job_lines
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.errors import AwaitTimeoutError
from bedrock_pipeline.known_names import check_queue
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, JobResult
from bedrock_pipeline.queue.events import FAILED
from bedrock_pipeline.queue.task import InvalidTaskError
from bedrock_pipeline.settings import Settings

#: Seconds between two updates of the progress bars.
_SLICE_S = 2.0
#: Lines of `enqueue` between two updates of its progress.
_LINES_SHOWN = 1_000
_MARK = b"\xef\xbb\xbf"  # that some editors write in front of UTF-8


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--queue", "name", required=True, help="The queue's name.")
@click.option("--model", help="Model id or ARN; required for a new queue.")
@click.option("--job-type", help="What the jobs are for; any text.")
@click.option("--batch-size", type=Count(min=1), help="Flush when this many tasks wait.")
@click.option("--max-age", type=Number(), help="Flush when a task has waited this many seconds.")
@click.option("--no-check-model", is_flag=True, help="Take bodies that the catalog of models does not know.")
@click.option("--replace", is_flag=True, help="Replace waiting tasks with the same record ids.")
@json_option
@quiet_option
def enqueue(
    file: IO[bytes],
    name: str,
    model: str | None,
    job_type: str | None,
    batch_size: int | None,
    max_age: float | None,
    no_check_model: bool,
    replace: bool,
    as_json: bool,
) -> None:
    """Add the tasks of a JSONL file to a queue.

    FILE is - for standard input. A line is {"recordId": …, "modelInput": {…}}.

    Example: bedrock-pipeline enqueue tasks.jsonl --queue reviews
    """
    config = _config(
        name,
        model_id=model or None,
        job_type=job_type,
        batch_size=batch_size,
        max_age_s=max_age,
        check_model=False if no_check_model else None,
        on_duplicate="replace" if replace else None,
    )
    size = _size(file)
    with BedrockQueue(config) as queue, command_progress("read", "tasks", size) as progress:
        added = queue.enqueue_many(_tasks(file, progress))
        waiting = queue.get_queue_size()
    if as_json:
        print_json({"queue": name, "added": added, "waiting": waiting})
    else:
        click.echo(f"{added} tasks added to {name}; {waiting} wait")
        if waiting < added:
            console.print(f"The others are in jobs: bedrock-pipeline status {name}", highlight=False)


@click.command()
@click.argument("queue")
@json_option
def flush(queue: str, as_json: bool) -> None:
    """Make jobs of all waiting tasks of a queue, and print their ids.

    Example: bedrock-pipeline flush reviews
    """
    with BedrockQueue(_config(queue)) as opened:
        jobs = opened.flush()
        waiting = opened.get_queue_size()
    if as_json:
        print_json({"queue": queue, "jobs": jobs, "waiting": waiting})
        return
    for job in jobs:
        click.echo(job)
    if not jobs and not waiting:
        console.print(f"no task waits; those in jobs: bedrock-pipeline status {queue}", highlight=False)
    elif not jobs:
        console.print(f"no task became a job; {waiting} wait", highlight=False)


@click.command()
@click.argument("jobs", nargs=-1, required=True)
@click.option("--timeout", type=Number(), help="The most seconds to wait.")
@json_option
@quiet_option
def wait(jobs: tuple[str, ...], timeout: float | None, as_json: bool) -> None:
    """Wait until every record of these jobs is final.

    Meanwhile it submits, polls and collects. The exit code is 1 if a job has failed.

    Example: bedrock-pipeline wait JOB_ID --timeout 3600
    """
    of_queue: dict[str, list[str]] = {}
    for job in jobs:
        of_queue.setdefault(_queue_of(job), []).append(job)
    begun, results = time.monotonic(), list[JobResult]()
    for name, some in of_queue.items():
        left = None if timeout is None else timeout - (time.monotonic() - begun)
        with BedrockQueue(_config(name)) as queue:
            results += _await(queue, some, left, timeout)
    if as_json:
        print_json([job_row(result) for result in results])
    else:
        click.echo("\n".join(job_lines(results)))
    sys.exit(1 if any(result.status in FAILED for result in results) else 0)


def _await(
    queue: BedrockQueue, jobs: list[str], left: float | None, timeout: float | None
) -> list[JobResult]:
    """The results of jobs, for which it waits as long as is left of the timeout."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
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
                    missing = [job for job in jobs if not queue.get_job(job).final]
                    raise AwaitTimeoutError(
                        f"Not final within {timeout:g} s: {', '.join(missing)}.",
                        "They continue. The same command waits for them again.",
                    ) from None


def _config(name: str, **options: Any) -> BedrockQueueConfig:
    """The settings with which the queue was last opened, changed by the options that are not None."""
    with open_deployment(Settings.resolve()) as deployment:
        known = deployment.ledger.queues.get(name) if deployment.ledger.is_current() else None
        if known is None and options.get("model_id") is None:
            check_queue(deployment.ledger, name, "For a new queue `enqueue` needs --model.")
    changes = {name: value for name, value in options.items() if value is not None}
    if known:
        config = BedrockQueueConfig.of(known)
        settings = {name: getattr(config, name) for name in config.model_fields_set}
    else:
        settings = {"name": name, "job_type": name, "enable_auto_polling": False}
    return BedrockQueueConfig.model_validate({**settings, **changes})


def _queue_of(job_id: str) -> str:
    with open_deployment(Settings.resolve()) as deployment:
        return job_by_id(deployment, job_id).queue


def _size(file: IO[bytes]) -> int | None:
    """The bytes of a file; None for a pipe."""
    try:
        found = os.fstat(file.fileno())
    except OSError:  # without a descriptor
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _tasks(file: IO[bytes], progress: CommandProgress) -> Iterator[dict[str, Any]]:
    size = 0
    for number, line in enumerate(file, 1):
        size += len(line)
        if number % _LINES_SHOWN == 0:
            progress.of_total(size, number)
        if line.strip():
            try:
                task = orjson.loads(line.removeprefix(_MARK) if number == 1 else line)
            except orjson.JSONDecodeError:
                raise InvalidTaskError("task", f"line {number} is not JSON") from None
            if not isinstance(task, dict):
                raise InvalidTaskError("task", f"line {number} is not a JSON object")
            yield task
