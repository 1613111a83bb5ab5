"""Carry out one item of work: the one function behind the assets' own runs and those that do many items."""

from typing import TYPE_CHECKING, Union

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, WorkItem, due_work
from bedrock_pipeline.frozen_settings import thaw
from bedrock_pipeline.pipeline import BasePipeline

if TYPE_CHECKING:
    from bedrock_pipeline.collect.collect_chunk import CollectReport
    from bedrock_pipeline.collect.start_retry_round import RetryRoundReport
    from bedrock_pipeline.publish.publish_dataset import Publication
    from bedrock_pipeline.submit.submit_chunk import Outcome

#: What a step returns; a chunk that was submitted, or why not, one of `Outcome`.
Report = Union["Outcome", "CollectReport", "RetryRoundReport", "Publication"]
_MOST_ITEMS = 50


def carry_out(deployment: Deployment, pipeline: BasePipeline, item: WorkItem) -> Report:
    """Submit, collect, retry or publish. What a step needs is imported when it is first carried out.

    Raises:
        BedrockPipelineError: see the function of the step.
        ValueError: the item needs the pipeline's code.
    """
    match item.kind:
        case "submit":
            from bedrock_pipeline.submit.submit_chunk import submit_chunk

            return submit_chunk(deployment, pipeline.name, item.key)
        case "collect":
            from bedrock_pipeline.collect.collect_chunk import collect_chunk

            return collect_chunk(deployment, pipeline, item.key)
        case "retry":
            from bedrock_pipeline.collect.start_retry_round import start_retry_round

            return start_retry_round(deployment, pipeline, item.key)
        case "publish":
            from bedrock_pipeline.publish.publish_dataset import publish_dataset

            return publish_dataset(deployment, pipeline, item.key)
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
