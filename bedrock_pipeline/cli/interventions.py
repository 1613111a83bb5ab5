"""Commands by which a person intervenes: cancel, retry, reconcile, resolve.

What belongs here: what they ask of the ledger and the stages, and how they tell what happened.
"""

from collections import Counter
from typing import get_args

import click

from bedrock_pipeline.cli.output import print_json
from bedrock_pipeline.cli.queue import job_of
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.stages.context import Context, open_context
from bedrock_pipeline.stages.reconcile import reconcile_unclear, sweep_account


class NotAdoptedError(BedrockPipelineError):
    """A job cannot become a chunk's."""


@click.command()
@click.argument("pipeline")
@click.argument("dataset", required=False)
@click.option("--chunk", help="Only this chunk, by its key.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def cancel(pipeline: str, dataset: str | None, chunk: str | None, as_json: bool) -> None:
    """Give up what is not answered yet; what is answered is kept. Given a job's id alone, that job."""
    with open_context(Settings.resolve()) as context:
        if dataset is None:
            pipeline, dataset, chunk = _place(context, pipeline)
        concerned = context.ledger.interventions.cancel(pipeline, dataset, chunk)
        for one in concerned:
            if one.job_arn and one.status != "stopping":
                context.jobs.stop(one.job_arn)
    states = Counter(one.status for one in concerned)
    told = ", ".join(f"{count} {status}" for status, count in sorted(states.items()))
    if as_json:
        print_json({"cancelled": dict(states)})
    else:
        click.echo(f"cancelled: {told}" if told else "nothing to cancel")


def _place(context: Context, job_id: str) -> tuple[str, str, str]:
    """Pipeline, dataset and chunk key of a job."""
    job = job_of(context, job_id)
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

    Chunks that Bedrock refused are submitted again; leftovers of jobs that somebody stopped are asked again; records
    that are held since they are too few are decided about anew.
    """
    with open_context(Settings.resolve()) as context:
        if dataset is None:
            refused, leftovers, packed_anew = (
                context.ledger.interventions.retry_refused(*_place(context, pipeline)),
                0,
                False,
            )
        else:
            refused = context.ledger.interventions.retry_refused(pipeline, dataset)
            leftovers, packed_anew = context.ledger.interventions.release(pipeline, dataset, below_minimum)
    if as_json:
        print_json({"refused": refused, "leftovers": leftovers, "packed_anew": packed_anew})
        return
    click.echo(f"{refused} chunks will be submitted again")
    click.echo(f"{leftovers} leftovers will be asked again")
    if packed_anew:
        click.echo("the dataset, which was held, will be packed anew")


@click.command()
@click.argument("pipelines", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def reconcile(pipelines: tuple[str, ...], as_json: bool) -> None:
    """Make ledger and Bedrock agree: settle lost answers, adopt jobs that the ledger forgot, report the others."""
    with open_context(Settings.resolve()) as context:
        reports = [reconcile_unclear(context, list(pipelines)), sweep_account(context, list(pipelines))]
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
    """Say what happened to a chunk that is blocked."""
    if bool(job_arn) == no_job:
        raise click.UsageError("Give either --job ARN or --no-job.")
    with open_context(Settings.resolve()) as context:
        row = context.ledger.chunks.by_key(pipeline, chunk)
        if job_arn is None:
            context.ledger.interventions.resolve_without_job(row.chunk_id)
        else:
            job = context.jobs.get(job_arn)
            if not context.ledger.interventions.adopt(row.chunk_id, job.arn):
                raise NotAdoptedError(
                    f"Chunk {chunk} has a job already, or has ended.", "See `bedrock-pipeline status`."
                )
    click.echo("resolved")
