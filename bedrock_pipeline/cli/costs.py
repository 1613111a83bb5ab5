"""Commands about costs: estimate, approve.

What belongs here: what they ask the stages and the ledger, and how they show it.
"""

import getpass
import importlib
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from bedrock_pipeline.cli.datasets import dataset_request
from bedrock_pipeline.cli.output import print_json
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import usd
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.estimate_dataset import estimate_dataset, estimate_source
from bedrock_pipeline.pricing.estimates import Estimate, Estimator, Measured, overrides
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.sources import open_location


class UnknownPipelineError(BedrockPipelineError):
    """A code location has no such pipeline."""


@click.command()
@click.argument("pipeline", required=False)
@click.argument("dataset", required=False)
@click.option("--input", "source", help="File, glob or folder.")
@click.option("--prompt", help="Template with {{ column }}.")
@click.option("--record-id", help="Column with the record ids.")
@click.option("--model", help="Model id or ARN.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The most tokens of an answer.")
@click.option(
    "-m", "--module", default="bedrock_pipeline.definitions", show_default=True, help="Your code location."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def estimate(
    pipeline: str | None,
    dataset: str | None,
    source: str | None,
    prompt: str | None,
    record_id: str | None,
    model: str | None,
    max_tokens: int | None,
    module: str,
    as_json: bool,
) -> None:
    """Say what a dataset will need and cost, before anything is submitted; or a file, without a ledger."""
    given = dataset_request(source, prompt, record_id, model, ())
    if max_tokens:
        given["parameters"] = {"max_tokens": max_tokens}
    if pipeline and dataset:
        found = _of_dataset(_pipeline_in(module, pipeline), dataset, given)
    elif pipeline or not (source and prompt and model):
        raise click.UsageError("Give PIPELINE DATASET; or --input, --prompt and --model.")
    else:
        found = _of_file(given)
    shown = {
        name: float(value) if isinstance(value, Decimal) else value for name, value in asdict(found).items()
    }
    if as_json:
        print_json(shown)
    else:
        _show(found)


@click.command()
@click.argument("pipeline")
@click.argument("dataset")
@click.option(
    "--up-to",
    "up_to",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    help="US dollars that it may cost altogether.",
)
def approve(pipeline: str, dataset: str, up_to: float) -> None:
    """Let a dataset that waits at its max_cost_usd cost more."""
    with open_deployment(Settings.resolve()) as deployment:
        budget = deployment.ledger.spending.approve(pipeline, dataset, Decimal(str(up_to)), getpass.getuser())
    spent = "" if budget.committed_usd is None else f"; {usd(budget.committed_usd)} is spent or in flight"
    click.echo(f"{dataset} of {pipeline} may cost {usd(budget.cap_usd)}{spent}")


def _of_dataset(pipeline: Pipeline, dataset: str, given: dict[str, Any]) -> Estimate:
    with open_deployment(Settings.resolve()) as deployment:
        row = deployment.ledger.datasets.get(pipeline.name, dataset)
        effective = pipeline.for_dataset({**(row.request if row else {}), **given})
        if "parameters" in given:
            parameters = {**pipeline.parameters, **given["parameters"]}
            effective = effective.model_copy(update={"parameters": parameters})
        return estimate_dataset(deployment, effective, dataset, datetime.now(UTC), reread=bool(given))


def _of_file(given: dict[str, Any]) -> Estimate:
    pipeline = Pipeline.model_validate({"name": "estimate", **given})
    at = datetime.now(UTC)
    price = price_of(pipeline.model_id, at, overrides(Settings.resolve(partial=True), pipeline))
    source = open_location(given["source"], objects=None)  # type: ignore[arg-type]  # a local file needs no S3
    return estimate_source(source, Estimator(pipeline, price, Measured()))


def _pipeline_in(module: str, name: str) -> Pipeline:
    found = [one for one in vars(importlib.import_module(module)).values() if isinstance(one, Pipeline)]
    for one in found:
        if one.name == name:
            return one
    raise UnknownPipelineError(
        f"Module {module} has no pipeline {name!r}.",
        f"It has: {', '.join(one.name for one in found) or 'none'}; name yours with --module.",
    )


def _show(found: Estimate) -> None:
    def cost(amount: Decimal | None) -> str:
        return "unknown (docs/costs.md)" if amount is None else usd(amount)

    for name, value in (
        ("records", f"{found.records:,}"),
        ("bytes", f"{found.bytes:,}"),
        ("input tokens", f"about {found.input_tokens:,}"),
        ("output tokens", f"about {found.output_tokens:,}"),
        ("cost", cost(found.cost_usd)),
        ("on demand", cost(found.on_demand_cost_usd)),
        ("jobs", str(found.jobs)),
        ("waves", str(found.waves)),
    ):
        click.echo(f"{name:14}{value}")
