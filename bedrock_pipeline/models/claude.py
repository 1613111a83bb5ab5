"""Anthropic Claude: the Messages API."""

import base64
from collections.abc import Sequence
from typing import Any, Final

from bedrock_pipeline.models.family import (
    CONVERSATION,
    ONLY,
    AnswerFormat,
    BodyError,
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    Turn,
    with_answer,
)
from bedrock_pipeline.models.shape import blocks_at, count_at, joined_text, word_at
from bedrock_pipeline.models.structured import TOOL, bound, tool

#: Kinds of documents that are text.
_TEXTS: Final = frozenset({"txt", "md", "csv", "html"})


class Claude(Family):
    """Body and response of Anthropic's Messages API on Bedrock."""

    name = "claude"
    limits = (("max_tokens",),)
    takes = frozenset({"system", "turns", "images", "documents", "tool", "schema"})
    by_setting = CONVERSATION
    plain = Plain(
        text=("content", ONLY, "text"),
        stop_reason=("stop_reason",),
        input_tokens=("usage", "input_tokens"),
        output_tokens=("usage", "output_tokens"),
        words=((("content", ONLY, "type"), "text"),),
    )
    plain_tool = Plain(
        tool_input=("content", ONLY, "input"),
        stop_reason=("stop_reason",),
        input_tokens=("usage", "input_tokens"),
        output_tokens=("usage", "output_tokens"),
        words=((("content", ONLY, "type"), "tool_use"), (("content", ONLY, "name"), TOOL)),
        unless=(b"text",),
    )

    def owns(self, model: str) -> bool:
        """Every model of Anthropic."""
        return model.startswith("anthropic.")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The conversation; `max_tokens` is required by the API and 1,024 by default.

        Raises:
            BodyError: a parameter is reserved for the structured response.
        """
        return {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            **with_answer(model_request.parameters, _asking(model_request.answer)),
            **self.conversation(model_request.system, model_request.turns),
        }

    def conversation(self, system: str | None, turns: Sequence[Turn]) -> dict[str, Any]:
        """The system prompt is a member of its own; texts are blocks."""
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": one} if isinstance(one, str) else one for one in turn.content
                ],
            }
            for turn in turns
        ]
        return {**({"system": system} if system else {}), "messages": messages}

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """A block of its own."""
        return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind}", "data": data}}

    def document(self, kind: str, name: str, data: bytes) -> dict[str, Any]:
        """A block of its own: PDF as base64, kinds of text as text.

        Raises:
            BodyError: it is neither.
        """
        if kind == "pdf":
            encoded = base64.b64encode(data).decode()
            source = {"type": "base64", "media_type": "application/pdf", "data": encoded}
        elif kind in _TEXTS:
            source = {"type": "text", "media_type": "text/plain", "data": data.decode("utf-8-sig", "replace")}
        else:
            raise BodyError(
                f"The body of Claude takes no {kind} documents.",
                "Set invocation='Converse', or convert them to PDF.",
            )
        return {"type": "document", "source": source, "title": name}

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
