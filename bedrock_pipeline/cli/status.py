"""Command `status`: datasets, the chunks of one, or the jobs of a queue, and what each waits for."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from bedrock_pipeline.cli.datasets import describe_version, version_row
from bedrock_pipeline.cli.jobs import is_job_id, job_by_id, job_row, jobs_of_queue
from bedrock_pipeline.cli.output import json_option, print_json, printable
from bedrock_pipeline.cli.status_text import chunk_lines, dataset_lines, job_lines, wide_lines, wrapped
from bedrock_pipeline.cli.watch import Frames
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.known_names import check_known
from bedrock_pipeline.ledger.status_report import ChunkStatus, DatasetStatus
from bedrock_pipeline.models.quota_group import JobPlace
from bedrock_pipeline.queue import JobResult
from bedrock_pipeline.settings import Settings

_Shown = Sequence[DatasetStatus] | Sequence[ChunkStatus] | Sequence[JobResult]
_WATCH_S = 2


@click.command()
@click.argument("pipeline", required=False)
@click.argument("dataset", required=False)
@click.option("--watch", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
@click.option("--wide", is_flag=True, help="A table with every column, one line each.")
@json_option
def status(pipeline: str | None, dataset: str | None, watch: bool, wide: bool, as_json: bool) -> None:
    """Show datasets, or the chunks of one, and why each waits.

    Instead of PIPELINE it takes a job's id, or a queue's name to show the queue's jobs.

    Example: bedrock-pipeline status reviews 2026-11-26
    """
    with open_deployment(Settings.resolve()) as deployment:
        if as_json:
            print_json(_json(deployment, pipeline, dataset))
        elif watch:
            frames = Frames(sys.stdout)
            while True:
                lines = _lines(deployment, pipeline, dataset, wide=wide, bars=True)
                frames.show([printable(line) for line in lines])
                time.sleep(_WATCH_S)
        else:
            for line in _lines(deployment, pipeline, dataset, wide=wide):
                click.echo(printable(line))


def _lines(
    deployment: Deployment, pipeline: str | None, dataset: str | None, *, wide: bool, bars: bool = False
) -> Iterator[str]:
    shown = _shown(deployment, pipeline, dataset)
    said = any(one.why for one in shown if isinstance(one, ChunkStatus))
    notes = _notes(deployment, pipeline, dataset, said=said)
    if not shown and not notes:
        yield "nothing to show"
    if wide:
        yield from wide_lines([_row(one) for one in shown])
    else:
        yield from dataset_lines((one for one in shown if isinstance(one, DatasetStatus)), bars=bars)
        yield from chunk_lines((one for one in shown if isinstance(one, ChunkStatus)), bars=bars)
        yield from job_lines(one for one in shown if isinstance(one, JobResult))
    for note in notes:
        yield from [note] if wide else wrapped(note, indent="")


def _shown(deployment: Deployment, pipeline: str | None, dataset: str | None) -> _Shown:
    """What the arguments name: chunks, a job, the jobs of a queue, or datasets."""
    report = deployment.ledger.status_report
    if pipeline and not is_job_id(pipeline):
        check_known(deployment.ledger, pipeline, dataset)
    if pipeline and dataset:
        return report.chunks(pipeline, dataset)
    if pipeline and is_job_id(pipeline):
        return [job_by_id(deployment, pipeline)]
    if pipeline and (jobs := jobs_of_queue(deployment, pipeline)) is not None:
        return jobs
    return report.datasets(pipeline)


def _json(deployment: Deployment, pipeline: str | None, dataset: str | None) -> Any:
    """Datasets or jobs; one dataset with its chunks and versions; a queue with the tasks that wait for its next flush."""
    rows = [_row(one) for one in _shown(deployment, pipeline, dataset)]
    if pipeline and dataset:
        found = deployment.ledger.status_report.dataset(pipeline, dataset)
        versions = deployment.ledger.versions.history(pipeline, dataset)
        return {
            **(asdict(found) if found else {}),
            "chunks": rows,
            "versions": [version_row(one) for one in versions],
        }
    if pipeline and not dataset and deployment.ledger.queues.get(pipeline) is not None:
        return {"queue": pipeline, "waiting": deployment.ledger.tasks.size(pipeline), "jobs": rows}
    return rows


def _row(shown: DatasetStatus | ChunkStatus | JobResult) -> dict[str, Any]:
    return job_row(shown) if isinstance(shown, JobResult) else asdict(shown)


def _notes(deployment: Deployment, pipeline: str | None, dataset: str | None, *, said: bool) -> list[str]:
    """What stands below: waiting tasks, rejected rows, quota groups in backoff, jobs out of reach, orphans.

    What a dataset waits for is among it, unless its chunks have `said` it.
    """
    notes = []
    if (
        pipeline
        and not dataset
        and not is_job_id(pipeline)
        and (tasks := deployment.ledger.tasks.size(pipeline))
    ):
        notes.append(f"{tasks:,} tasks wait for the next flush: bedrock-pipeline flush {pipeline}")
    if pipeline is None:
        waiting = {
            one.queue: deployment.ledger.tasks.size(one.queue) for one in deployment.ledger.queues.all()
        }
        notes += [
            f"{tasks:,} tasks of queue {queue} wait for the next flush: bedrock-pipeline flush {queue}"
            for queue, tasks in waiting.items()
            if tasks
        ]
    row = deployment.ledger.datasets.get(pipeline, dataset) if pipeline and dataset else None
    if row:
        [now, *before] = deployment.ledger.versions.history(row.pipeline, row.dataset)
        notes += [describe_version(version) for version in before]
        found = deployment.ledger.status_report.dataset(row.pipeline, row.dataset)
        why = row.state_reason if said or found is None else found.waiting
        behind = f"{'.' if why[0].isupper() else ';'} {why}" if why else ""
        notes.append(f"version {row.version}: {found.state if found else row.state}{behind}")
        if now.settings_digest:
            notes[-1] = f"{notes[-1].removesuffix('.')}; launched with settings {now.settings_digest[:12]}"
        if row.schema_only_since:
            notes[-1] += "; its responses are judged by the JSON schema alone"
    if row and row.rejected:
        rows = "row" if row.rejected == 1 else "rows"
        notes.append(
            f"{row.rejected:,} {rows} of the input rejected; position, record id and reason of each: "
            f"bedrock-pipeline show {row.pipeline} {row.dataset} --rejected"
        )
    notes += [
        f"{group['quota_group']} waits until {group['backoff_until']:%H:%M:%S %Z}: {group['backoff_reason']}"
        for group in deployment.ledger.jobs.backoffs()
    ]
    notes += [
        f"The jobs in {one['region']} could not be listed since {one['since']:%Y-%m-%d %H:%M %Z}; they keep their slots. "
        f"{one['error']}"
        for one in deployment.ledger.jobs.unreachable_regions()
    ]
    notes += [
        f"Job {job.job_arn} is of another account than these settings. It keeps its slot there until it is polled with "
        f"that account's settings, or given up: bedrock-pipeline resolve {job.pipeline} {job.chunk_key} --lost"
        for job in deployment.ledger.jobs.in_flight()
        if not deployment.reaches(JobPlace.of(job.job_arn).account)
    ]
    notes += [
        f"Chunk {chunk.chunk_key} of {chunk.pipeline} is {chunk.status} in {chunk.quota_group}, which is out of reach of these "
        f"settings. It keeps its slot there until it can be looked up, or is given up: "
        f"bedrock-pipeline resolve {chunk.pipeline} {chunk.chunk_key} --lost"
        for chunk in deployment.ledger.submissions.out_of_reach(
            deployment.settings.region, deployment.settings.account
        )
    ]
    notes += [
        f"Chunk {key} of {name}, of a replaced version, needs resolution and keeps its slot: bedrock-pipeline resolve {name} {key}"
        for name, key in deployment.ledger.status_report.unresolved_of_replaced_versions()
    ]
    notes += [
        f"Job {orphan['job_arn']} ({orphan['status']}) carries this deployment's name and is no chunk's job."
        for orphan in deployment.ledger.interventions.orphans()
    ]
    return notes
