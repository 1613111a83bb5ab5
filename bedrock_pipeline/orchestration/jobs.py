"""The jobs of a pipeline, one for each step."""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.due_work import WorkItem
from bedrock_pipeline.ledger.run_leases import Kind, LeaseKind
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.runs import working
from bedrock_pipeline.orchestration.steps import carried_out, shown
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

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
#: If more runs wait than may run at once: first what fills Bedrock's slots, then what is closest to its end.
_BY_PRIORITY: Final[tuple[LeaseKind, ...]] = (
    "work",
    "finish",
    "submit",
    "publish",
    "collect",
    "retry",
    "flush",
    "prepare",
)


def pipeline_jobs(pipeline: BasePipeline) -> Iterator[Any]:
    """The jobs of one pipeline; a queue is flushed, everything else is prepared."""
    names, other = Names.of(pipeline), "prepare" if isinstance(pipeline, QueuePipeline) else "flush"
    for kind, (assets, description) in _ASSET_JOBS.items():
        if kind != other:
            yield dg.define_asset_job(
                names.job(kind),
                selection=_selection([names.asset(asset) for asset in assets], kind),
                tags=tags_of(kind),
                executor_def=dg.in_process_executor,
                description=description,
            )
    yield _retry_job(pipeline)


def _selection(assets: list[dg.AssetKey], kind: Kind) -> dg.AssetSelection:
    """Assets with their checks; the check of all chunks is not evaluated by the run of each."""
    selection = dg.AssetSelection.assets(*assets)
    return selection.without_checks() if kind == "submit" else selection


def _retry_job(pipeline: BasePipeline) -> dg.JobDefinition:
    """An op rather than an asset: it adds to what `batch_chunks` made before, and is observed there."""
    names = Names.of(pipeline)

    @dg.op(
        name=f"{pipeline.name}_start_retry_round",
        out=dg.Out(dg.Nothing),  # nothing is written by an IO manager
        description="Packs the dataset's retryable records into chunks of the next attempt.",
    )
    def retry_round(context: dg.OpExecutionContext, bedrock_deployment: DeploymentResource) -> None:
        item = WorkItem("retry", pipeline.name, names.dataset(context.partition_key))
        with working(bedrock_deployment, "retry", pipeline.name, item.key) as opened:
            done = shown(opened, pipeline, item, carried_out(context, opened, pipeline, item))
        done.log(context, names, item)

    @dg.job(
        name=names.job("retry"),
        partitions_def=names.datasets,
        tags=tags_of("retry"),
        executor_def=dg.in_process_executor,
        description="Starts a retry round: sends the retryable records of a dataset again.",
    )
    def retry() -> None:
        retry_round()

    return retry


def tags_of(kind: LeaseKind) -> dict[str, str]:
    """The priority in the run queue, and that Dagster's general retries do not apply."""
    return {
        "dagster/priority": str(len(_BY_PRIORITY) - _BY_PRIORITY.index(kind)),
        # A failure states itself whether trying again helps, so Dagster's general retries must not apply.
        "dagster/retry_on_asset_or_op_failure": "false",
    }
