"""What the assets of a pipeline are without their keys and edges: description, group, kinds, code version, metadata."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

import dagster as dg

from bedrock_pipeline.frozen_settings import freeze
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.options import PREPARATION
from bedrock_pipeline.pipeline import BasePipeline, Pipeline

_DESCRIPTIONS: Final = {
    "input_dataset": "An immutable snapshot of the dataset's input: record ids, the columns of the prompt, the carried columns.",
    "batch_chunks": "The dataset as JSONL chunks within Bedrock's limits, uploaded to S3 and entered into the ledger.",
    "submitted_jobs": "The chunk's job at Bedrock, or its on-demand calls. A successful run without a materialization: the chunk was requeued and will be submitted later.",
    "parsed_results": "The chunk's responses, joined by record id. Every record has a response, a final error, or is retryable.",
    "results": "The dataset's published results: complete, and visible all at once.",
}
_FLUSHED: Final = "Flushes the queue: packs its waiting tasks into chunks of today's dataset."


class AssetAttributes(TypedDict):
    """Arguments of `dg.asset` and of `dg.AssetSpec`."""

    partitions_def: dg.PartitionsDefinition
    group_name: str
    description: str | None
    kinds: set[str]
    code_version: str | None
    metadata: Mapping[str, Any]


def asset_attributes(
    pipeline: BasePipeline, step: str, partitions: dg.PartitionsDefinition
) -> AssetAttributes:
    """Of the asset of a step, before the pipeline's translation."""
    prepares = isinstance(pipeline, Pipeline) and step in PREPARATION
    flushes = not prepares and step == "batch_chunks"
    return {
        "partitions_def": partitions,
        "group_name": pipeline.name,
        "description": _FLUSHED if flushes else _DESCRIPTIONS.get(step),
        "kinds": _kinds(pipeline, step),
        "code_version": freeze(pipeline).content_digest[:12] if prepares else None,
        "metadata": metadata.of_destination(pipeline, None) if step == "results" else {},
    }


def _kinds(pipeline: BasePipeline, step: str) -> set[str]:
    if step == "batch_chunks":
        return {"json", "s3"}
    if step == "submitted_jobs":
        return {"aws", {"claude": "claude", "titan-embed": "aws"}.get(pipeline.model_family.name, "ai")}
    return {"parquet", "s3"}
