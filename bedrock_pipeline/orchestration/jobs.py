"""The job that rolls a dataset's retryable records over into the retry round.

What belongs here: an op rather than an asset, since it adds to what `batch_chunks` made before, and is told there.
"""

import dagster as dg

from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.partitions import register
from bedrock_pipeline.orchestration.red import red
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.run_leases import run_lease
from bedrock_pipeline.pipeline import Pipeline


def retry_job(pipeline: Pipeline, tags: dict[str, str]) -> dg.JobDefinition:
    """Packs the retryable records of one dataset and registers the new chunks' partitions."""
    names = Names(pipeline.name)

    @dg.op(
        name=f"{pipeline.name}_start_retry_round",
        out=dg.Out(dg.Nothing),  # nothing is written by an IO manager
        description="The dataset's retryable as chunks of the next attempt.",
    )
    def start_retry_round(context: dg.OpExecutionContext, deployment: DeploymentResource) -> None:
        dataset = context.partition_key
        with deployment.open() as opened, run_lease(opened, "retry", pipeline.name, dataset), red():
            report = start_retry_round(opened, pipeline, dataset)
        register(context.instance, names, chunks=[chunk.chunk_key for chunk in report.chunks])
        if report.waits_for:
            context.log.warning("%s: %s", dataset, report.waits_for)
        context.log_event(
            dg.AssetObservation(
                names.asset("batch_chunks"), partition=dataset, metadata=metadata.of_retry_round(report)
            )
        )

    @dg.job(
        name=names.job("retry"),
        partitions_def=names.datasets,
        tags=tags,
        description="Asks again what was left unanswered.",
    )
    def retry() -> None:
        start_retry_round()

    return retry
