"""Commands of an operator: `migrate`, `cancel`, `retry`, `reconcile`, `resolve`."""

from collections import Counter
from typing import get_args
from uuid import UUID

import click

from bedrock_pipeline.cli.jobs import job_by_id
from bedrock_pipeline.cli.output import json_option, print_json
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.known_names import check_chunk, check_known
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.records.dataset_request import content_of
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.poll_jobs import jobs_to_stop, stop_jobs
from bedrock_pipeline.submit.reconcile import adopt_job, give_up_job, reconcile_in_doubt, sweep_account


@click.command()
def migrate() -> None:
    """Create or update the ledger's tables.

    Example: bedrock-pipeline migrate
    """
    with open_deployment(Settings.resolve()) as deployment:
        applied = deployment.ledger.migrate()
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to do")


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option("--chunk", help="Cancel only the chunk with this key.")
@json_option
def cancel(pipeline: str, dataset: str | None, chunk: str | None, as_json: bool) -> None:
    """Cancel what has no response yet.

    Existing responses are kept and published. Instead of PIPELINE DATASET it takes a job's id. All attempts of a job are cancelled; a day of a queue means its jobs so
    far.

    Example: bedrock-pipeline cancel reviews 2026-11-26
    """
    with open_deployment(Settings.resolve()) as deployment:
        if dataset is None:
            job = job_by_id(deployment, pipeline)
            pipeline, dataset, chunk = job.queue, job.dataset, job.chunk_key
        check_known(deployment.ledger, pipeline, dataset)
        if chunk is not None:
            check_chunk(deployment.ledger, pipeline, chunk, dataset)
        before = deployment.ledger.datasets.get(pipeline, dataset)
        chunks = deployment.ledger.interventions.cancel(pipeline, dataset, chunk)
        errors = stop_jobs(deployment, jobs_to_stop(chunks))
        after = deployment.ledger.datasets.get(pipeline, dataset)
        after_all = _how_to_process(deployment, after) if after and chunk is None else []
    for error in errors:
        click.echo(f"{error} The cancellation is recorded; each poll tries to stop the job again.", err=True)
    statuses = Counter(one.status if not one.collected_at else "with retryable records" for one in chunks)
    if before and after and chunk is None and not before.open:
        ended = after.state == "cancelled" != before.state
        statuses.update({"launch": 1} if before.launch_id or ended else {})
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    if as_json:
        print_json({"cancelled": dict(statuses)})
    else:
        click.echo(f"cancelled: {counts}" if counts else "nothing to cancel")
    for line in after_all if statuses and not as_json else []:
        click.echo(line, err=True)


def _how_to_process(deployment: Deployment, row: DatasetRow) -> list[str]:
    """What an operator does to have a cancelled dataset after all; nothing for a day of a queue, which goes on."""
    if row.open:
        return []
    again = deployment.ledger.versions.needs_new_version(row.pipeline, row.dataset)
    command = f"bedrock-pipeline launch {row.pipeline} {row.dataset}{' --new-version' if again else ''}"
    given = ", with the options of the launch before" if content_of(row.request) else ""
    return [f"To process it after all{given}: {command}"]


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option(
    "--below-minimum",
    type=click.Choice(get_args(BelowMinimum)),
    help="From now on, for this dataset: what happens to fewer records than a job needs.",
)
@click.option(
    "--schema-only",
    is_flag=True,
    help="Judge responses by the JSON schema, without an answer class that the code no longer has, or that fails.",
)
@json_option
def retry(
    pipeline: str, dataset: str | None, below_minimum: str | None, schema_only: bool, as_json: bool
) -> None:
    """Continue what waits for an operator, after the cause is fixed.

    Chunks that Bedrock rejected are submitted again. Retryable records of stopped jobs are sent again. Records that wait
    because they are too few follow --below-minimum. Results that a table has rejected are published again. Instead of
    PIPELINE DATASET it takes the id of a job, of which all attempts are continued.

    Example: bedrock-pipeline retry reviews 2026-11-26
    """
    with open_deployment(Settings.resolve()) as deployment:
        interventions, retryable, repacked, published = deployment.ledger.interventions, 0, False, False
        unprepared: DatasetRow | None = None
        if dataset is None:
            rejected, retryable = interventions.retry_job(UUID(job_by_id(deployment, pipeline).job_id))
        else:
            check_known(deployment.ledger, pipeline, dataset)
            rejected = interventions.retry_rejected(pipeline, dataset)
            retryable, repacked = interventions.release(pipeline, dataset, below_minimum)
            published = interventions.retry_publication(pipeline, dataset)
            row = deployment.ledger.datasets.get(pipeline, dataset)
            unprepared = (
                row if row and row.packed_hash is None and row.state in ("failed", "cancelled") else None
            )
            if schema_only:
                deployment.ledger.versions.judge_by_schema_only(pipeline, dataset)
    if as_json:
        print_json(
            {"rejected": rejected, "retryable": retryable, "repacked": repacked, "republished": published}
        )
        return
    if unprepared is not None:
        click.echo(f"{dataset} has no chunks: its preparation has to be repeated")
        click.echo(f"To process it: bedrock-pipeline launch {pipeline} {dataset}", err=True)
        return
    click.echo(f"{rejected} rejected chunks will be submitted again")
    click.echo(f"{retryable} retryable records will be sent again")
    if repacked:
        click.echo("the dataset will be packed again")
    if published:
        click.echo("the dataset will be published again")


@click.command()
@json_option
def reconcile(as_json: bool) -> None:
    """Compare the ledger with Bedrock.

    Looks up submissions in doubt, adopts jobs that the ledger does not know, and reports orphans.

    Example: bedrock-pipeline reconcile
    """
    with open_deployment(Settings.resolve()) as deployment:
        reports = [step(deployment) for step in (reconcile_in_doubt, sweep_account)]
    if as_json:
        print_json(
            {name: [key for one in reports for key in getattr(one, name)] for name in reports[0].__slots__}
        )
    else:
        click.echo("; ".join(str(one) for one in reports if str(one)) or "ledger and Bedrock agree")


@click.command()
@click.argument("pipeline")
@click.argument("chunk")
@click.option("--job", "job_arn", help="ARN of the chunk's job.")
@click.option("--no-job", is_flag=True, help="Confirm that no job exists: submit the chunk again.")
@click.option(
    "--lost",
    is_flag=True,
    help="Give up the chunk's job, which Bedrock does not know any more, or a submission in another account.",
)
def resolve(pipeline: str, chunk: str, job_arn: str | None, no_job: bool, lost: bool) -> None:
    """Decide about a chunk that needs resolution.

    Or about one whose job is lost or out of reach. After --lost the chunk has ended and its records without a response wait: retry or cancel the dataset.

    Example: bedrock-pipeline resolve reviews 2026-11-26--00000 --no-job
    """
    if [bool(job_arn), no_job, lost].count(True) != 1:
        raise click.UsageError("Give either --job ARN, --no-job or --lost.")
    with open_deployment(Settings.resolve()) as deployment:
        check_known(deployment.ledger, pipeline)
        check_chunk(deployment.ledger, pipeline, chunk)
        row = deployment.ledger.chunks.by_key(pipeline, chunk)
        if lost:
            give_up_job(deployment, row)
        elif job_arn is None:
            deployment.ledger.interventions.resolve_without_job(row.chunk_id)
        else:
            adopt_job(deployment, row, job_arn)
    click.echo("resolved")
