"""Converse: one body and one response for every model, if a job's invocation type is `Converse`.

Source: "Process multiple prompts with batch inference", Amazon Bedrock user guide: jobs of this type have no tools, a record
with `toolConfig` is an error; both types have structured output.
"""

from typing import Any, ClassVar, Final

import orjson

from bedrock_pipeline.models.family import (
    ONLY,
    AnswerFormat,
    BodyError,
    Family,
    Feature,
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
_INFERENCE: Final = frozenset({"maxTokens", "temperature", "topP", "stopSequences"})
#: What else a pipeline's parameters may set: the members of the operation's request that are not the pipeline's own.
_MEMBERS: Final = frozenset(
    {
        *(
            "inferenceConfig",
            "additionalModelRequestFields",
            "additionalModelResponseFieldPaths",
            "outputConfig",
        ),
        *("guardrailConfig", "performanceConfig", "promptVariables", "requestMetadata", "toolConfig"),
    }
)
_NO_TOOLS: Final = (
    "Leave out invocation='Converse', or request the structured response with answer_by='schema'."
)


class Converse(Family):
    """Body and response of the Converse API; a job selects it, no model id does."""

    name = "converse"
    limits = (("inferenceConfig", "maxTokens"),)
    takes: ClassVar[frozenset[Feature]] = frozenset({"system", "images", "schema"})
    plain = Plain(
        text=("output", "message", "content", ONLY, "text"),
        stop_reason=("stopReason",),
        input_tokens=("usage", "inputTokens"),
        output_tokens=("usage", "outputTokens"),
        closed=("output", "message", "content", ONLY),
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

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not.
        """
        super().check(model_request)
        if "tool" not in self.takes and "toolConfig" in model_request.parameters:
            raise BodyError(
                "Jobs of the type Converse have no tools, so parameters cannot have toolConfig.", _NO_TOOLS
            )
        _check_parameters(renamed(model_request.parameters, _COMMON))

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


def _check_parameters(parameters: Json) -> None:
    """Check that the operation has the parameters; each record would be rejected for one that it does not have.

    Raises:
        BodyError: it does not.
    """
    nested = parameters.get("inferenceConfig")
    unknown = sorted(
        {
            *(parameters.keys() - _INFERENCE - _MEMBERS),
            *((nested if isinstance(nested, dict) else {}).keys() - _INFERENCE),
        }
    )
    if unknown:
        raise BodyError(
            f"Converse has no parameter {', '.join(unknown)}.",
            "Put a model's own parameters into additionalModelRequestFields, or leave out invocation='Converse'.",
        )
