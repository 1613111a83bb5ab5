"""Anthropic Claude: the Messages API."""

from collections.abc import Mapping
from typing import Any

from bedrock_pipeline.models.family import (
    ONLY,
    AnswerFormat,
    BodyError,
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    with_answer,
)
from bedrock_pipeline.models.shape import blocks_at, count_at, joined_text, word_at
from bedrock_pipeline.models.structured import TOOL, bound, tool


class Claude(Family):
    """Body and response of Anthropic's Messages API on Bedrock."""

    name = "claude"
    limits = (("max_tokens",),)
    takes = frozenset({"system", "images", "tool", "schema"})
    plain = Plain(
        text=("content", ONLY, "text"),
        stop_reason=("stop_reason",),
        input_tokens=("usage", "input_tokens"),
        output_tokens=("usage", "output_tokens"),
        block_type=("content", ONLY, "type"),
    )

    def owns(self, model: str) -> bool:
        """Every model of Anthropic."""
        return model.startswith("anthropic.")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """One user turn; `max_tokens` is required by the API and 1,024 by default.

        Raises:
            BodyError: a parameter is reserved for the structured response.
        """
        return {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            **with_answer(model_request.parameters, _asking(model_request.answer)),
            **({"system": model_request.system} if model_request.system else {}),
            "messages": [
                {
                    "role": "user",
                    "content": [*model_request.images, {"type": "text", "text": model_request.prompt}],
                }
            ],
        }

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not; or a tool is forced while the model is to think.
        """
        super().check(model_request)
        thinking = model_request.parameters.get("thinking")
        kind = thinking.get("type") if isinstance(thinking, Mapping) else None
        if kind in ("enabled", "adaptive") and model_request.answer and model_request.answer.by == "tool":
            raise BodyError(
                "Claude does not think when a tool is forced.",
                "Leave out parameters.thinking, or set answer_by='schema' if the model takes it.",
            )

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """A block of its own."""
        return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind}", "data": data}}

    def answer(self, output: Json) -> ModelResponse:
        """The text of all blocks joined, and tool calls in order."""
        blocks = blocks_at(output, "content")
        return ModelResponse(
            text=joined_text(blocks),
            stop_reason=word_at(output, "stop_reason"),
            input_tokens=count_at(output, "usage", "input_tokens"),
            output_tokens=count_at(output, "usage", "output_tokens"),
            tool_use=tuple(
                {"name": block.get("name"), "input": block.get("input")}
                for block in blocks
                if block.get("type") == "tool_use"
            ),
            content=blocks
            if any(block.get("type") not in ("text", "tool_use") for block in blocks)
            else None,
        )


def _asking(answer: AnswerFormat | None) -> dict[str, Any]:
    """The members that request a structured response. Every Claude since 3 takes a tool, since 4.5 a schema."""
    if answer is None:
        return {}
    if answer.by == "schema":
        return {"output_config": {"format": {"type": "json_schema", "schema": bound(answer.schema)}}}
    description, schema = tool(answer)
    return {
        "tools": [{"name": TOOL, "description": description, "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": TOOL},
    }
