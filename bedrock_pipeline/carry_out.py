"""Carry out one item of work, as the run of an asset would: for whoever works without a partition of Dagster's."""

from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WorkItem, due_work
from bedrock_pipeline.frozen_settings import thaw
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.submit.submit_chunk import submit_chunk

#: What can be done without the code of a pipeline, in the order of the steps.
WITHOUT_CODE: tuple[Kind, ...] = ("submit", "collect", "retry", "publish")
_MOST_ITEMS = 50


def carry_out(deployment: Deployment, pipeline: BasePipeline, item: WorkItem) -> None:
    """Submit, collect, retry or publish.

    Raises:
        BedrockPipelineError: see the function of the step.
        ValueError: the item needs the pipeline's code.
    """
    match item.kind:
        case "submit":
            submit_chunk(deployment, pipeline.name, item.key)
        case "collect":
            collect_chunk(deployment, pipeline, item.key)
        case "retry":
            start_retry_round(deployment, pipeline, item.key)
        case "publish":
            publish_dataset(deployment, pipeline, item.key)
        case _:
            raise ValueError(f"{item.kind} needs the code of pipeline {item.pipeline}")


def removed_pipelines(deployment: Deployment) -> list[tuple[BasePipeline, list[WorkItem]]]:
    """The pipelines that no code serves any more, as they were when they were launched, with what is due for each now."""
    found = []
    for settings in deployment.ledger.served_pipelines.removed().values():
        pipeline = thaw(settings)
        found.append(
            (pipeline, due_work(deployment.ledger, [pipeline], limit=_MOST_ITEMS, kinds=WITHOUT_CODE))
        )
    return found
