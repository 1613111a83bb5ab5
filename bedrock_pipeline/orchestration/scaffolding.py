"""What `dg scaffold defs` writes for the components: a `defs.yaml` that loads, with the fields that most pipelines need."""

from typing import Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, ConfigDict, Field

_MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


class BatchParameters(BaseModel):
    """Options of `dg scaffold defs bedrock_pipeline.BedrockBatchComponent`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(default=_MODEL, description="Id or ARN of the model.")
    source: str = Field(
        default="inputs/{dataset}.jsonl",
        description="File, glob, folder or s3:// location; {dataset} stands for the dataset's key.",
    )
    prompt: str = Field(
        default="{{ text }}",
        description="Template of the user message, with {{ column }} for a column's value.",
    )
    asset: str | None = Field(
        default=None, description="Key of a Dagster asset that is the input, instead of a source."
    )


class QueueParameters(BaseModel):
    """Options of `dg scaffold defs bedrock_pipeline.BedrockQueueComponent`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(default=_MODEL, description="Id or ARN of the model.")
    batch_size: int = Field(default=1000, ge=1, description="Flush when this many tasks wait.")


class BatchScaffolder(dg.Scaffolder[BatchParameters]):
    """Writes the `defs.yaml` of a pipeline."""

    @classmethod
    def get_scaffold_params(cls) -> type[BatchParameters]:
        """The options of the command."""
        return BatchParameters

    def scaffold(self, request: dg.ScaffoldRequest[BatchParameters]) -> None:
        """Write the file."""
        given = request.params
        _write(
            request,
            {
                "model_id": given.model,
                "source": {"asset": given.asset} if given.asset else given.source,
                "prompt": given.prompt,
                "parameters": {"max_tokens": 500},
            },
        )


class QueueScaffolder(dg.Scaffolder[QueueParameters]):
    """Writes the `defs.yaml` of a queue."""

    @classmethod
    def get_scaffold_params(cls) -> type[QueueParameters]:
        """The options of the command."""
        return QueueParameters

    def scaffold(self, request: dg.ScaffoldRequest[QueueParameters]) -> None:
        """Write the file."""
        given = request.params
        _write(
            request,
            {"model_id": given.model, "flush_policy": {"batch_size": given.batch_size, "max_age_s": 3600}},
        )


def _write(request: dg.ScaffoldRequest[Any], attributes: dict[str, Any]) -> None:
    name = request.target_path.name.lower().replace("-", "_")
    scaffold_component(request, {"name": name, **attributes})
