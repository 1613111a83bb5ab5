"""Commands about costs: `estimate`, `approve`."""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from bedrock_pipeline.aws.clients import runtime_client
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.cli.files import objects_for
from bedrock_pipeline.cli.output import Number, console, json_option, print_json, quiet_option
from bedrock_pipeline.cli.pipelines import dataset_pipeline_in, module_option
from bedrock_pipeline.cli.progress import CommandProgress, command_progress
from bedrock_pipeline.cli.request_options import (
    dataset_request,
    files_of,
    pipeline_of_options,
    request_options,
)
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.known_names import check_known
from bedrock_pipeline.ledger.rows import usd
from bedrock_pipeline.models.quota_group import default_max_jobs
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.count_tokens import token_counter
from bedrock_pipeline.prepare.estimate_dataset import estimate_dataset, estimate_source
from bedrock_pipeline.pricing.estimates import Estimate, Estimator, Measured, overrides
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.pricing.token_counts import TokenCount
from bedrock_pipeline.settings import Settings

_WAYS = ("prompt", "messages", "model_input")


@click.command()
@click.argument("pipeline", required=False)
@click.argument("dataset", required=False)
@click.option("--input", "source", help="Input file, glob or folder.")
@click.option("--model", help="Model id or ARN.")
@request_options
@module_option
@click.option(
    "--count-tokens",
    is_flag=True,
    help="Have Bedrock count the input tokens of a sample; free of charge, for models that have it.",
)
@json_option
@quiet_option
def estimate(
    pipeline: str | None,
    dataset: str | None,
    module: str,
    count_tokens: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Estimate tokens, cost and jobs; nothing is submitted.

    Either of PIPELINE DATASET, or of a file (--input, --model, and --prompt or another way), which needs no database.

    Example: bedrock-pipeline estimate reviews 2026-11-26 -m my_pipelines
    """
    request = dataset_request(**options)
    if pipeline and dataset:
        defined = dataset_pipeline_in(module, pipeline)
        with command_progress("measured") as progress:
            estimated = _of_dataset(defined, dataset, request, progress, count=count_tokens)
    elif pipeline or not (options["source"] and options["model"] and any(map(request.get, _WAYS))):
        raise click.UsageError(
            "Give PIPELINE DATASET; or --input, --model, and one of --prompt, --messages and --model-input."
        )
    else:
        with command_progress("measured") as progress:
            estimated = _of_file(request, progress, count=count_tokens)
    if as_json:
        print_json(asdict(estimated))
    else:
        _show(estimated)


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option(
    "--up-to",
    "up_to",
    type=Number(min=0, min_open=True),
    required=True,
    help="US dollars that the dataset may cost in total.",
)
@json_option
def approve(pipeline: str, dataset: str, up_to: float, as_json: bool) -> None:
    """Allow a dataset that waits at its max_cost_usd to cost more.

    Example: bedrock-pipeline approve reviews 2026-11-26 --up-to 25
    """
    with open_deployment(Settings.resolve()) as deployment:
        check_known(deployment.ledger, pipeline, dataset)
        budget = deployment.ledger.spending.approve(pipeline, dataset, Decimal(str(up_to)), getpass.getuser())
    if as_json:
        known = {"max_cost_usd": budget.cap_usd, "committed_usd": budget.committed_usd}
        print_json({"pipeline": pipeline, "dataset": dataset, **known})
        return
    spent = "" if budget.committed_usd is None else f"; {usd(budget.committed_usd)} is spent or in flight"
    click.echo(f"{dataset} of {pipeline} may cost {usd(budget.cap_usd)}{spent}")


def _of_dataset(
    pipeline: Pipeline, dataset: str, request: dict[str, Any], progress: CommandProgress, *, count: bool
) -> Estimate:
    with open_deployment(Settings.resolve()) as deployment:
        row = deployment.ledger.datasets.get(pipeline.name, dataset)
        effective = pipeline.for_dataset({**(row.request if row else {}), **request})
        if count:
            effective = effective.model_copy(update={"count_tokens": True})
        reread = bool(request) or count
        return estimate_dataset(
            deployment,
            effective,
            dataset,
            datetime.now(UTC),
            reread=reread,
            progress=progress,
            counted=progress.read_from,
        )


def _of_file(request: dict[str, Any], progress: CommandProgress, *, count: bool) -> Estimate:
    pipeline = pipeline_of_options("estimate", request)
    at, settings = datetime.now(UTC), Settings.resolve(partial=True)
    price = price_of(pipeline.model_id, at, overrides(settings, pipeline))
    counter = token_counter(BedrockRuntime(runtime_client(settings)), pipeline) if count else None
    source = files_of(pipeline, request["source"], objects_for(request["source"]))
    estimator = Estimator(pipeline, price, Measured(), default_max_jobs(pipeline.model_id), counter)
    return estimate_source(progress.read_from(source), pipeline, estimator, progress=progress)


def _show(estimated: Estimate) -> None:
    def cost(amount: Decimal | None) -> str:
        return "no price known (docs/costs.md)" if amount is None else usd(amount)

    again = estimated.cut_off_cost_usd
    for name, value in (
        ("records", f"{estimated.records:,}"),
        ("bytes", f"{estimated.bytes:,}"),
        ("input tokens", f"about {estimated.input_tokens:,}"),
        ("output tokens", f"about {estimated.output_tokens:,}"),
        ("cost", cost(estimated.cost_usd)),
        ("on demand", cost(estimated.on_demand_cost_usd)),
        *([("if cut off", f"up to {cost(again)} more")] if again else []),
        ("jobs", str(estimated.jobs)),
        ("waves", str(estimated.waves)),
    ):
        click.echo(f"{name:14}{value}")
    if estimated.counted:
        click.echo(f"{'counted':14}{_counted(estimated.counted)}")
    for note in estimated.notes:
        console.print(note)


def _counted(count: TokenCount) -> str:
    """What Bedrock counted, and by how much the estimate from the text was off."""
    if count.factor is None:
        return f"no tokens: {count.problem or 'there were no requests'}"
    off = float((1 / count.factor - 1) * 100)
    return (
        f"{count.counted:,} input tokens of {count.requests} requests; the estimate from their text was {count.estimated:,} "
        f"({off:+.0f} %)"
    )
