"""The job that rolls a dataset's leftovers over into the next round.

What belongs here: an op rather than an asset, since it adds to what `batch_chunks` made before, and is told there.
"""

import dagster as dg

from bedrock_pipeline.collect.start_retry_round import roll_over
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.partitions import register
from bedrock_pipeline.orchestration.red import red
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.run_leases import run_lease
from bedrock_pipeline.pipeline import Pipeline


def next_round_job(pipeline: Pipeline, tags: dict[str, str]) -> dg.JobDefinition:
    """Packs the leftovers of one dataset and registers the new chunks' partitions."""
    names = Names(pipeline.name)

    @dg.op(
        name=f"{pipeline.name}_roll_over",
        out=dg.Out(dg.Nothing),  # nothing is written by an IO manager
        description="The dataset's leftovers as chunks of the next round.",
    )
    def roll_over_leftovers(context: dg.OpExecutionContext, deployment: DeploymentResource) -> None:
        dataset = context.partition_key
        with deployment.open() as opened, run_lease(opened, "next_round", pipeline.name, dataset), red():
            report = roll_over(opened, pipeline, dataset)
        register(context.instance, names, chunks=[chunk.chunk_key for chunk in report.chunks])
        if report.held:
            context.log.warning("%s: %s", dataset, report.held)
        context.log_event(
            dg.AssetObservation(
                names.asset("batch_chunks"), partition=dataset, metadata=metadata.of_round(report)
            )
        )

    @dg.job(
        name=names.job("next_round"),
        partitions_def=names.datasets,
        tags=tags,
        description="Asks again what was left unanswered.",
    )
    def next_round() -> None:
        roll_over_leftovers()

    return next_round
