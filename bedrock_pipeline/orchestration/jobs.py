"""The jobs of a pipeline, one for each step, and the schedule of one with `daily=True`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.carry_out import carry_out, removed_pipelines
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.runs import working
from bedrock_pipeline.pipeline import BasePipeline, QueuePipeline

#: The assets that each job materializes, and its description.
_ASSET_JOBS: Final[dict[Kind, tuple[tuple[str, ...], str]]] = {
    "prepare": (
        ("input_dataset", "batch_chunks"),
        "Takes the snapshot of a dataset and packs it into chunks.",
    ),
    "flush": (("batch_chunks",), "Packs the waiting tasks of the queue into chunks."),
    "submit": (("submitted_jobs",), "Submits a chunk to Bedrock."),
    "collect": (("parsed_results",), "Reads the output of an ended job."),
    "publish": (("results",), "Publishes the results of a dataset."),
}
#: Pipeline and subject of the lease under which they are finished.
REMOVED: Final = ("*", "removed")
#: The job that finishes them.
FINISH_JOB: Final = "finish_removed_pipelines"
#: If more runs wait than may run at once: first what fills Bedrock's slots, then what is closest to its end.
_BY_PRIORITY: Final[tuple[Kind, ...]] = ("submit", "publish", "collect", "retry", "flush", "prepare")


def pipeline_jobs(pipeline: BasePipeline) -> Iterator[Any]:
    """The jobs of one pipeline; a queue is flushed, everything else is prepared."""
    names, other = Names.of(pipeline), "prepare" if isinstance(pipeline, QueuePipeline) else "flush"
    for kind, (assets, description) in _ASSET_JOBS.items():
        if kind != other:
            yield dg.define_asset_job(
                names.job(kind),
                selection=dg.AssetSelection.assets(*map(names.asset, assets)),
                tags=_tags(kind),
                executor_def=dg.in_process_executor,
                description=description,
            )
    yield _retry_job(pipeline)


def daily_schedule(pipeline: str) -> dg.ScheduleDefinition:
    """Launches, a quarter of an hour after midnight UTC, the dataset whose key is the date of the day that has ended.

    Only the ledger is written; the sensor `prepare_datasets` requests the run.
    """

    @dg.schedule(
        name=f"{pipeline}_daily",
        job_name=Names(pipeline).job("prepare"),
        cron_schedule="15 0 * * *",
        execution_timezone="UTC",
        description="Launches the dataset of the day that has ended (UTC).",
    )
    def evaluate(
        context: dg.ScheduleEvaluationContext, bedrock_deployment: DeploymentResource
    ) -> dg.SkipReason:
        day = (context.scheduled_execution_time.date() - timedelta(days=1)).isoformat()
        with bedrock_deployment.open() as opened:
            opened.ledger.datasets.request(pipeline, day, {}, launch=True, launch_id=opened.system.new_id())
        return dg.SkipReason(f"Dataset {day} is launched; the sensor prepare_datasets requests its run.")

    return evaluate


def finish_job(prefix: str = "") -> dg.JobDefinition:
    """Finishes what removed pipelines have left. An op rather than assets: the code of removed pipelines, and with it their assets, is gone."""

    @dg.op(
        name=f"{prefix}finish_what_is_left",  # not the job's name: Dagster's code server rejects that
        out=dg.Out(dg.Nothing),
        description="Submits, collects and publishes what pipelines have left that no code location has any more.",
    )
    def finish(context: dg.OpExecutionContext, bedrock_deployment: DeploymentResource) -> None:
        with working(bedrock_deployment, "finish", *REMOVED) as opened:
            for pipeline, items in removed_pipelines(opened):
                for item in items:
                    try:
                        carry_out(opened, pipeline, item)
                    except BedrockPipelineError as error:
                        # It concerns this item alone, which is due again after the others.
                        context.log.warning("%s %s of %s: %s", item.kind, item.key, pipeline.name, error)
                        opened.ledger.run_leases.renew(item.kind, pipeline.name, item.key, timedelta(0))
                    else:
                        context.log.info("%s %s of %s is done.", item.kind, item.key, pipeline.name)

    @dg.job(
        name=f"{prefix}{FINISH_JOB}",
        tags=_tags("collect"),
        executor_def=dg.in_process_executor,
        description=finish.description,
    )
    def finish_removed_pipelines() -> None:
        finish()

    return finish_removed_pipelines


def _retry_job(pipeline: BasePipeline) -> dg.JobDefinition:
    """An op rather than an asset: it adds to what `batch_chunks` made before, and is observed there."""
    names = Names.of(pipeline)

    @dg.op(
        name=f"{pipeline.name}_start_retry_round",
        out=dg.Out(dg.Nothing),  # nothing is written by an IO manager
        description="Packs the dataset's retryable records into chunks of the next attempt.",
    )
    def retry_round(context: dg.OpExecutionContext, bedrock_deployment: DeploymentResource) -> None:
        dataset = names.dataset(context.partition_key)
        with working(bedrock_deployment, "retry", pipeline.name, dataset) as opened:
            report = start_retry_round(opened, pipeline, dataset)
        names.register(context.instance, chunks=[chunk.chunk_key for chunk in report.chunks])
        if report.waits_for:
            context.log.warning("%s: %s", dataset, report.waits_for)
        context.log_event(
            dg.AssetObservation(
                names.asset("batch_chunks"),
                partition=context.partition_key,
                metadata=metadata.of_retry_round(report),
            )
        )

    @dg.job(
        name=names.job("retry"),
        partitions_def=names.datasets,
        tags=_tags("retry"),
        executor_def=dg.in_process_executor,
        description="Starts a retry round: sends the retryable records of a dataset again.",
    )
    def retry() -> None:
        retry_round()

    return retry


def _tags(kind: Kind) -> dict[str, str]:
    return {
        "dagster/priority": str(len(_BY_PRIORITY) - _BY_PRIORITY.index(kind)),
        # A failure states itself whether trying again helps, so Dagster's general retries must not apply.
        "dagster/retry_on_asset_or_op_failure": "false",
    }
