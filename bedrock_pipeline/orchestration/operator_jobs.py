"""Jobs with a form: what an operator does in Dagster's UI. Each calls what the command of the same name calls.

What belongs here: run configs with a description for each field, and ops that are thin over the functions of the package.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

import dagster as dg
from pydantic import Field

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, ConfigurationError, NotFoundError
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.submit.poll_jobs import jobs_to_stop, stop_jobs
from bedrock_pipeline.submit.reconcile import adopt_job, give_up_job

_DATASET: Final = Field(description="Key of the dataset, such as 2026-11-24.")
_Action = Callable[[Deployment, Any], str]


class LaunchConfig(dg.Config):
    """Launch a dataset; the sensors do the rest."""

    dataset: str = _DATASET
    new_version: bool = Field(
        default=False,
        description="Process the dataset again, at its full cost, although chunks of other content were submitted.",
    )
    max_cost_usd: float | None = Field(
        default=None,
        gt=0,
        lt=10**12,
        description="Submit nothing beyond this cost until an operator approves it.",
    )
    source: str | None = Field(
        default=None,
        description="Input of this dataset instead of the pipeline's: a file, pattern, folder or s3:// location.",
    )
    prompt: str | None = Field(
        default=None, description="Prompt of this dataset instead of the pipeline's, with {{ column }}."
    )
    settings: dict[str, Any] = Field(
        default={}, description="Other settings that differ from the pipeline's, such as {carry: [product]}."
    )


class RetryConfig(dg.Config):
    """Continue what waits for an operator, after the cause is fixed."""

    dataset: str = _DATASET
    below_minimum: str | None = Field(
        default=None,
        description="From now on: what happens to fewer records than a job needs: on_demand, pad, hold or fail.",
    )


class CancelConfig(dg.Config):
    """Cancel what has no response yet; existing responses are kept and published."""

    dataset: str = _DATASET
    chunk: str | None = Field(default=None, description="Key of a chunk, to cancel it alone.")


class ApproveConfig(dg.Config):
    """Allow a dataset that waits at its cost limit to cost more."""

    dataset: str = _DATASET
    up_to_usd: float = Field(gt=0, lt=10**12, description="US dollars that the dataset may cost in total.")
    approved_by: str = Field(min_length=1, description="Name of who approves; it is recorded.")


class ResolveConfig(dg.Config):
    """Decide about a chunk that needs resolution, or whose job is lost. Give exactly one decision."""

    chunk: str = Field(description="Key of the chunk, such as 2026-11-24--00007.")
    job_arn: str | None = Field(
        default=None, description="ARN of the chunk's job, which you found at Bedrock."
    )
    no_job: bool = Field(
        default=False, description="Confirm that no job exists at Bedrock: the chunk is submitted again."
    )
    lost: bool = Field(
        default=False,
        description="Give up the chunk's job, which Bedrock does not know any more, or a submission in another account.",
    )


def operator_jobs(pipeline: BasePipeline) -> Iterator[dg.JobDefinition]:
    """The jobs of one pipeline; a queue cannot be launched."""
    if isinstance(pipeline, Pipeline):
        yield _job(pipeline, "launch", LaunchConfig, lambda opened, config: _launch(opened, pipeline, config))
    yield _job(
        pipeline, "retry_failed", RetryConfig, lambda opened, config: _retry(opened, pipeline.name, config)
    )
    yield _job(
        pipeline, "cancel", CancelConfig, lambda opened, config: _cancel(opened, pipeline.name, config)
    )
    yield _job(
        pipeline, "approve", ApproveConfig, lambda opened, config: _approve(opened, pipeline.name, config)
    )
    yield _job(
        pipeline, "resolve", ResolveConfig, lambda opened, config: _resolve(opened, pipeline.name, config)
    )


def _job(pipeline: BasePipeline, kind: str, form: type[dg.Config], action: _Action) -> dg.JobDefinition:
    name = Names(pipeline.name).job(kind)

    def compute(context: dg.OpExecutionContext, config: Any, bedrock_deployment: DeploymentResource) -> None:
        try:
            with bedrock_deployment.open() as opened:
                context.log.info("%s", action(opened, config))
        except BedrockPipelineError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    compute.__annotations__["config"] = form
    op = dg.op(name=f"{name}_op", out=dg.Out(dg.Nothing), description=form.__doc__)(compute)

    @dg.job(
        name=name,
        description=form.__doc__,
        config=dg.ConfigMapping(  # the launchpad shows the form alone, without resources
            lambda filled: {"ops": {op.name: {"config": filled}}}, form.to_config_schema()
        ),
        executor_def=dg.in_process_executor,
        tags={"dagster/priority": "10", "dagster/retry_on_asset_or_op_failure": "false"},
    )
    def job() -> None:
        op()

    return job


def _launch(opened: Deployment, pipeline: Pipeline, config: LaunchConfig) -> str:
    check_dataset_key(config.dataset)
    request = dict(config.settings)
    given = {"source": config.source, "prompt": config.prompt, "max_cost_usd": config.max_cost_usd}
    request |= {name: value for name, value in given.items() if value is not None}
    pipeline.for_dataset(request)  # its errors belong here rather than in the run that prepares
    names = Names.of(pipeline)
    if not names.has_partition(config.dataset):
        raise ConfigurationError(
            f"{config.dataset!r} is the dataset of no partition of pipeline {pipeline.name!r}.",
            "Choose one of its partitions, or leave partitions_def out (docs/dagster.md).",
        )
    row = opened.ledger.datasets.request(
        pipeline.name,
        config.dataset,
        request,
        launch=True,
        new_version=config.new_version,
        launch_id=opened.system.new_id(),
    )
    asset, partition = names.asset("results").to_user_string(), names.partition(config.dataset)
    return (
        f"Launched version {row.version} of {config.dataset} of {pipeline.name}. The sensors request the runs of its steps; "
        f"it is published as the partition {partition} of the asset {asset}."
    )


def _retry(opened: Deployment, pipeline: str, config: RetryConfig) -> str:
    _check(opened, pipeline, config.dataset)
    rejected = opened.ledger.interventions.retry_rejected(pipeline, config.dataset)
    retryable, repacked = opened.ledger.interventions.release(pipeline, config.dataset, config.below_minimum)
    again = " The dataset will be packed again." if repacked else ""
    if opened.ledger.interventions.retry_publication(pipeline, config.dataset):
        again += " The dataset will be published again."
    return f"{rejected} rejected chunks and {retryable} retryable records will be sent again.{again}"


def _cancel(opened: Deployment, pipeline: str, config: CancelConfig) -> str:
    _check(opened, pipeline, config.dataset)
    if config.chunk is not None:
        opened.ledger.chunks.by_key(pipeline, config.chunk)
    chunks = opened.ledger.interventions.cancel(pipeline, config.dataset, config.chunk)
    running = jobs_to_stop(chunks)
    errors = stop_jobs(opened, running)
    later = f" Each poll tries again to stop {len(errors)} jobs: {errors[0]}" if errors else ""
    return f"{len(chunks)} chunks are cancelled; {len(running)} jobs are stopped.{later}"


def _approve(opened: Deployment, pipeline: str, config: ApproveConfig) -> str:
    _check(opened, pipeline, config.dataset)
    up_to = Decimal(str(config.up_to_usd))
    budget = opened.ledger.spending.approve(pipeline, config.dataset, up_to, config.approved_by)
    return f"{config.dataset} of {pipeline} may cost ${budget.cap_usd}."


def _resolve(opened: Deployment, pipeline: str, config: ResolveConfig) -> str:
    if [bool(config.job_arn), config.no_job, config.lost].count(True) != 1:
        raise ConfigurationError(
            "Not exactly one decision is given.", "Give one of job_arn, no_job and lost."
        )
    chunk = opened.ledger.chunks.by_key(pipeline, config.chunk)
    if config.job_arn:
        adopt_job(opened, chunk, config.job_arn)
        return f"{config.chunk} has the job {config.job_arn}."
    if config.no_job:
        opened.ledger.interventions.resolve_without_job(chunk.chunk_id)
        return f"{config.chunk} will be submitted again."
    give_up_job(opened, chunk)
    return f"The job of {config.chunk} is given up: retry or cancel the dataset."


def _check(opened: Deployment, pipeline: str, dataset: str) -> None:
    if opened.ledger.datasets.get(pipeline, dataset) is None:
        raise NotFoundError(
            f"There is no dataset {dataset!r} of {pipeline!r}.", "Its key is that of a partition of results."
        )
