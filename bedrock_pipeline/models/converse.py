"""Converse: one body and one response for every model, if a job's invocation type is `Converse`."""

from typing import Any, Final

import orjson

from bedrock_pipeline.models.family import (
    ONLY,
    AnswerFormat,
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    renamed,
    with_answer,
)
from bedrock_pipeline.models.shape import blocks_at, count_at, joined_text, word_at
from bedrock_pipeline.models.structured import TOOL, bound, tool

_COMMON: Final = {"max_tokens": "maxTokens", "top_p": "topP", "stop_sequences": "stopSequences"}
_INFERENCE: Final = frozenset({"maxTokens", "temperature", "topP", "topK", "stopSequences"})


class Converse(Family):
    """Body and response of the Converse API; a job selects it, no model id does."""

    name = "converse"
    takes = frozenset({"system", "images", "tool", "schema"})
    plain = Plain(
        text=("output", "message", "content", ONLY, "text"),
        stop_reason=("stopReason",),
        input_tokens=("usage", "inputTokens"),
        output_tokens=("usage", "outputTokens"),
        unless=(b"toolUse",),
    )

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """None."""
        return False

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """One user turn; inference parameters go into `inferenceConfig`, others to the top level.

        Raises:
            BodyError: a parameter is reserved for the structured response.
        """
        given = renamed(model_request.parameters, _COMMON)
        inference = dict(given.pop("inferenceConfig", {}))
        inference |= {name: given.pop(name) for name in list(given) if name in _INFERENCE}
        return {
            **with_answer(given, _asking(model_request.answer)),
            **({"inferenceConfig": inference} if inference else {}),
            **({"system": [{"text": model_request.system}]} if model_request.system else {}),
            "messages": [
                {"role": "user", "content": [*model_request.images, {"text": model_request.prompt}]}
            ],
        }

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """A block of its own."""
        return {"image": {"format": kind, "source": {"bytes": data}}}

    def answer(self, output: Json) -> ModelResponse:
        """The text of all blocks joined, and tool calls in order."""
        blocks = blocks_at(output, "output", "message", "content")
        uses = [block["toolUse"] for block in blocks if isinstance(block.get("toolUse"), dict)]
        return ModelResponse(
            text=joined_text(blocks),
            stop_reason=word_at(output, "stopReason"),
            input_tokens=count_at(output, "usage", "inputTokens"),
            output_tokens=count_at(output, "usage", "outputTokens"),
            tool_use=tuple({"name": use.get("name"), "input": use.get("input")} for use in uses),
            content=blocks if any(block.keys().isdisjoint({"text", "toolUse"}) for block in blocks) else None,
        )


def _asking(answer: AnswerFormat | None) -> dict[str, Any]:
    """The members that request a structured response; a model's documentation says which of the two it takes."""
    if answer is None:
        return {}
    if answer.by == "schema":
        schema = {"name": TOOL, "schema": orjson.dumps(bound(answer.schema)).decode()}
        return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}}
    description, top = tool(answer)
    spec = {"name": TOOL, "description": description, "inputSchema": {"json": top}}
    return {"toolConfig": {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": TOOL}}}}
