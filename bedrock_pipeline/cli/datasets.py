"""Command `launch`."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import click

from bedrock_pipeline.cli.group import RejectedOptionError
from bedrock_pipeline.cli.output import Number, json_option, print_json
from bedrock_pipeline.cli.request_options import check_model_option, dataset_request, request_options
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.known_names import check_served
from bedrock_pipeline.ledger.rows import DatasetRow, VersionRow, usd
from bedrock_pipeline.ledger.versions import NotAgreedError
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.prompts.template import Template
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.settings import Settings


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option("--input", "source", help="Input file, glob, folder or s3:// location.")
@click.option(
    "--sql", metavar="QUERY", help="Input: the rows of a query; {dataset} in it is the dataset's key."
)
@click.option(
    "--dsn-env", metavar="NAME", help="Variable with the DSN of the query's database, where runs execute."
)
@click.option("--driver", metavar="NAME", help="ADBC driver for the query; default: Postgres.")
@click.option("--delta", metavar="LOCATION", help="Input: a Delta table, a folder or s3:// location.")
@click.option(
    "--iceberg",
    metavar="TABLE",
    help="Input: an Iceberg table, such as sales.reviews or catalog:sales.reviews.",
)
@click.option("--model", help="Model id or ARN.")
@request_options
@click.option(
    "--below-minimum",
    type=click.Choice(get_args(BelowMinimum)),
    help="What happens to fewer records than a job needs.",
)
@click.option(
    "--max-cost-usd",
    type=Number(min=0, min_open=True),
    help="Submit nothing beyond this cost until an operator approves it.",
)
@click.option(
    "--new-version",
    is_flag=True,
    help="Process the dataset again, at its full cost, although chunks of other content were submitted.",
)
@click.option("--yes", is_flag=True, help="Change what an earlier launch agreed on without being asked.")
@json_option
def launch(pipeline: str, dataset: str, new_version: bool, yes: bool, as_json: bool, **options: Any) -> None:
    """Request a dataset; Dagster's sensors process it.

    A launch that changes the settings or the cost limit of an earlier one, or that buys it again, asks first; where no
    terminal can answer, it needs --yes.

    Example: bedrock-pipeline launch reviews 2026-11-26 --max-cost-usd 25
    """
    check_dataset_key(dataset)
    request = dataset_request(**options)
    check_model_option(options["model"], request)
    for text in (request.get("prompt"), request.get("system")):
        if text:
            Template(text)  # its mistakes are reported here rather than by the run
    with open_deployment(Settings.resolve()) as deployment:
        check_served(deployment.ledger, pipeline)
        requested = partial(
            deployment.ledger.datasets.request,
            pipeline,
            dataset,
            request,
            launch=True,
            new_version=new_version,
            launch_id=deployment.system.new_id(),
        )
        row = _confirmed(requested, yes, lambda: deployment.ledger.versions.history(pipeline, dataset)[0])
        before = deployment.ledger.versions.history(pipeline, dataset)[1:2]
        budget = deployment.ledger.spending.budget(pipeline, dataset)
    if as_json:
        print_json(
            {
                "pipeline": pipeline,
                "dataset": dataset,
                "version": row.version,
                "compared": row.preparation_began_at is not None,
                "max_cost_usd": budget.cap_usd if budget else None,
            }
        )
        return
    if row.preparation_began_at:
        click.echo(f"launched {dataset} of {pipeline}: its input is compared with version {row.version}")
    else:
        click.echo(f"launched version {row.version} of {dataset} of {pipeline}")
        for version in before:
            click.echo(describe_version(version))
        if budget:
            click.echo(f"it may cost {usd(budget.cap_usd)} at most")
    click.echo(f"see: bedrock-pipeline status {pipeline} {dataset}")


def _confirmed(
    requested: Callable[..., DatasetRow], yes: bool, current: Callable[[], VersionRow]
) -> DatasetRow:
    """Request it; an operator confirms what it changes, once more if that has become something else meanwhile."""
    agreed: bool | str = yes
    while True:
        try:
            return requested(agreed=agreed)
        except NotAgreedError as error:
            _ask(error, current())
            agreed = error.what


def _ask(error: NotAgreedError, now: VersionRow) -> None:
    """Have an operator confirm a change, who sees what there is.

    Raises:
        RejectedOptionError: no terminal can answer.
        Abort: it is not confirmed.
    """
    if not sys.stdin.isatty():
        raise RejectedOptionError(error.what, error.fix) from error
    click.echo(f"{error.what}\n{describe_version(now)}", err=True)
    click.confirm("Launch it?", abort=True, err=True)


def version_row(version: VersionRow) -> dict[str, Any]:
    """A version as JSON; its settings are not in it, since they can contain what nobody else shall read."""
    return {
        "version": version.version,
        "state": version.state,
        "why": version.state_reason,
        "since": version.state_changed_at,
        "settings": version.settings_digest,
        "jobs": version.jobs,
        "in_flight": version.in_flight,
        "cost_usd": version.cost_usd,
    }


def describe_version(version: VersionRow) -> str:
    """One line about an earlier version: how it ended, and what it cost."""
    reason = f" {version.state_reason}" if version.state_reason else ""
    at = f"{version.state_changed_at:%Y-%m-%d %H:%M %Z}"
    jobs = f"; {version.jobs} jobs" if version.jobs else ""
    flying = f", {version.in_flight} of them in flight, whose responses are kept" if version.in_flight else ""
    cost = "" if version.cost_usd is None else f", {usd(version.cost_usd)}"
    return f"version {version.version} was {version.state}{reason} at {at}{jobs}{flying}{cost}"
