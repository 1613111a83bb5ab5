"""Commands by which a person intervenes: cancel, retry, reconcile, resolve.

What belongs here: what they ask of the ledger and the stages, and how they tell what happened.
"""

from collections import Counter
from typing import get_args

import click

from bedrock_pipeline.cli.output import print_json
from bedrock_pipeline.cli.queue import job_of
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account


class NotAdoptedError(BedrockPipelineError):
    """A job cannot become a chunk's."""


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option("--chunk", help="Only this chunk, by its key.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def cancel(pipeline: str, dataset: str | None, chunk: str | None, as_json: bool) -> None:
    """Give up what is not answered yet; what is answered is kept. Given a job's id alone, that job."""
    with open_deployment(Settings.resolve()) as deployment:
        if dataset is None:
            pipeline, dataset, chunk = _place(deployment, pipeline)
        concerned = deployment.ledger.interventions.cancel(pipeline, dataset, chunk)
        for one in concerned:
            if one.job_arn and one.status != "stopping":
                deployment.jobs.stop(one.job_arn)
    states = Counter(one.status for one in concerned)
    told = ", ".join(f"{count} {status}" for status, count in sorted(states.items()))
    if as_json:
        print_json({"cancelled": dict(states)})
    else:
        click.echo(f"cancelled: {told}" if told else "nothing to cancel")


def _place(deployment: Deployment, job_id: str) -> tuple[str, str, str]:
    """Pipeline, dataset and chunk key of a job."""
    job = job_of(deployment, job_id)
    return job.queue, job.dataset, job.chunk_key


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option(
    "--below-minimum",
    type=click.Choice(get_args(BelowMinimum)),
    help="What becomes of too few records for a job, for this dataset from now on.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def retry(pipeline: str, dataset: str | None, below_minimum: str | None, as_json: bool) -> None:
    """Go on with what waits for a person. Given a job's id alone, with that job, where Bedrock refused it.

    Chunks that Bedrock refused are submitted again; retryable records of jobs that somebody stopped are asked again; records
    that are held since they are too few are decided about anew.
    """
    with open_deployment(Settings.resolve()) as deployment:
        if dataset is None:
            refused, retryable, packed_anew = (
                deployment.ledger.interventions.retry_rejected(*_place(deployment, pipeline)),
                0,
                False,
            )
        else:
            refused = deployment.ledger.interventions.retry_rejected(pipeline, dataset)
            retryable, packed_anew = deployment.ledger.interventions.release(pipeline, dataset, below_minimum)
    if as_json:
        print_json({"refused": refused, "retryable": retryable, "packed_anew": packed_anew})
        return
    click.echo(f"{refused} chunks will be submitted again")
    click.echo(f"{retryable} retryable will be asked again")
    if packed_anew:
        click.echo("the dataset, which was held, will be packed anew")


@click.command()
@click.argument("pipelines", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def reconcile(pipelines: tuple[str, ...], as_json: bool) -> None:
    """Make ledger and Bedrock agree: settle lost answers, adopt jobs that the ledger forgot, report the others."""
    with open_deployment(Settings.resolve()) as deployment:
        reports = [
            reconcile_in_doubt(deployment, list(pipelines)),
            sweep_account(deployment, list(pipelines)),
        ]
    if as_json:
        print_json(
            {name: [key for one in reports for key in getattr(one, name)] for name in reports[0].__slots__}
        )
    else:
        click.echo("; ".join(str(one) for one in reports if str(one)) or "ledger and Bedrock agree")


@click.command()
@click.argument("pipeline")
@click.argument("chunk")
@click.option("--job", "job_arn", help="ARN of the job that is the chunk's.")
@click.option("--no-job", is_flag=True, help="You have made sure that no job exists: submit it anew.")
def resolve(pipeline: str, chunk: str, job_arn: str | None, no_job: bool) -> None:
    """Say what happened to a chunk that is in need of resolution."""
    if bool(job_arn) == no_job:
        raise click.UsageError("Give either --job ARN or --no-job.")
    with open_deployment(Settings.resolve()) as deployment:
        row = deployment.ledger.chunks.by_key(pipeline, chunk)
        if job_arn is None:
            deployment.ledger.interventions.resolve_without_job(row.chunk_id)
        else:
            job = deployment.jobs.get(job_arn)
            if not deployment.ledger.interventions.adopt(row.chunk_id, job.arn):
                raise NotAdoptedError(
                    f"Chunk {chunk} has a job already, or has ended.", "See `bedrock-pipeline status`."
                )
    click.echo("resolved")
