"""Converse: one body and one response for every model, if a job's invocation type is `Converse`.

Source: "Process multiple prompts with batch inference", Amazon Bedrock user guide: jobs of this type have no tools, a record
with `toolConfig` is an error; both types have structured output.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from bedrock_pipeline.models.family import (
    CONVERSATION,
    ONLY,
    AnswerFormat,
    BodyError,
    Family,
    Feature,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    Turn,
    given_twice,
    renamed,
    with_answer,
)
from bedrock_pipeline.models.shape import blocks_at, count_at, joined_text, word_at
from bedrock_pipeline.models.structured import TOOL, bound, tool

_COMMON: Final = {"max_tokens": "maxTokens", "top_p": "topP", "stop_sequences": "stopSequences"}
_INFERENCE: Final = frozenset({"maxTokens", "temperature", "topP", "stopSequences"})
_NO_TOOLS: Final = (
    "Leave out invocation='Converse', or request the structured response with answer_by='schema'."
)


class Converse(Family):
    """Body and response of the Converse API; a job selects it, no model id does."""

    name = "converse"
    limits = (("inferenceConfig", "maxTokens"),)
    #: The common names of inference parameters with the body's own, and the names that go into `inferenceConfig`.
    common: ClassVar[Mapping[str, str]] = _COMMON
    inference: ClassVar[frozenset[str]] = _INFERENCE
    takes: ClassVar[frozenset[Feature]] = frozenset({"system", "turns", "images", "documents", "schema"})
    by_setting = CONVERSATION
    plain = Plain(
        text=("output", "message", "content", ONLY, "text"),
        stop_reason=("stopReason",),
        input_tokens=("usage", "inputTokens"),
        output_tokens=("usage", "outputTokens"),
        closed=("output", "message", "content", ONLY),
    )
    plain_tool = Plain(
        tool_input=("output", "message", "content", ONLY, "toolUse", "input"),
        stop_reason=("stopReason",),
        input_tokens=("usage", "inputTokens"),
        output_tokens=("usage", "outputTokens"),
        words=((("output", "message", "content", ONLY, "toolUse", "name"), TOOL),),
        closed=("output", "message", "content", ONLY),
    )

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """None."""
        return False

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The conversation; inference parameters go into `inferenceConfig`, others to the top level.

        Raises:
            BodyError: a parameter is given twice, or is reserved for the structured response.
        """
        given = renamed(model_request.parameters, self.common)
        inference = dict(given.pop("inferenceConfig", {}))
        for name in inference.keys() & given.keys() & self.inference:
            raise given_twice(name, f"inferenceConfig.{name}")
        inference |= {name: given.pop(name) for name in list(given) if name in self.inference}
        return {
            **with_answer(given, _asking(model_request.answer)),
            **({"inferenceConfig": inference} if inference else {}),
            **self.conversation(model_request.system, model_request.turns),
        }

    def check_parameters(self, parameters: Json) -> None:
        """Check what `body` relies on.

        Raises:
            BodyError: `inferenceConfig` is not an object, or as in other families.
        """
        super().check_parameters(parameters)
        if not isinstance(parameters.get("inferenceConfig", {}), Mapping):
            raise BodyError(
                "parameters.inferenceConfig is not an object.",
                'Write {"inferenceConfig": {"maxTokens": 512}}.',
            )

    def conversation(self, system: str | None, turns: Sequence[Turn]) -> dict[str, Any]:
        """The system prompt is a list of blocks of its own."""
        messages = [
            {
                "role": turn.role,
                "content": [{"text": one} if isinstance(one, str) else one for one in turn.content],
            }
            for turn in turns
        ]
        return {**({"system": [{"text": system}]} if system else {}), "messages": messages}

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """A block of its own."""
        return {"image": {"format": kind, "source": {"bytes": data}}}

    def document(self, kind: str, name: str, data: bytes) -> dict[str, Any]:
        """A block of its own."""
        encoded = base64.b64encode(data).decode()
        return {"document": {"format": kind, "name": name, "source": {"bytes": encoded}}}

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
            content=blocks if any(_is_special(block) for block in blocks) else None,
        )

    def _unsupported(self, feature: Feature) -> BodyError:
        if feature == "tool":
            return BodyError("Jobs of the type Converse have no tools: it does not support them.", _NO_TOOLS)
        return super()._unsupported(feature)


def _is_special(block: Json) -> bool:
    """Whether a content block has something besides text and tool use; members that are not set can be null."""
    return not any(block.get(name) is not None for name in ("text", "toolUse")) or any(
        value is not None and name not in ("text", "toolUse") for name, value in block.items()
    )


def _asking(answer: AnswerFormat | None) -> dict[str, Any]:
    """The members that request a structured response; tools are for Nova's own body, which has this shape."""
    if answer is None:
        return {}
    if answer.by == "schema":
        schema = {"name": TOOL, "schema": orjson.dumps(bound(answer.schema)).decode()}
        return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}}
    description, top = tool(answer)
    spec = {"name": TOOL, "description": description, "inputSchema": {"json": top}}
    return {"toolConfig": {"tools": [{"toolSpec": spec}], "toolChoice": {"tool": {"name": TOOL}}}}
