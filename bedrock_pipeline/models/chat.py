"""Chat completions: the body that OpenAI's API has made common, of most models with open weights on Bedrock.

Sources: "OpenAI models", "Mistral AI chat completion" and "Get validated JSON results from models", Amazon Bedrock user
guide. Where a model's reasoning stands is not documented: gpt-oss has it at the beginning of the text, others in a member
of the message.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from bedrock_pipeline.models.exact_numbers import loads
from bedrock_pipeline.models.family import (
    CONVERSATION,
    ONLY,
    AnswerFormat,
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    ResponseShapeError,
    Turn,
    renamed,
    with_answer,
)
from bedrock_pipeline.models.shape import blocks_at, count_at, first_at, joined_text, member, word_at
from bedrock_pipeline.models.structured import TOOL, bound, tool

#: Where reasoning begins that stands at the beginning of the text.
_OPENED: Final = re.compile(r"\A[ \t\r\n]*<(reasoning|think)>")
#: Members of a message in which models write their reasoning.
_REASONING: Final = ("reasoning_content", "reasoning")
_PROVIDERS: Final = (
    *(
        "openai.gpt-oss",
        "qwen.",
        "deepseek.v",
        "moonshot.",
        "moonshotai.",
        "zai.",
        "minimax.",
        "google.gemma",
    ),
    *("nvidia.nemotron", "mistral."),
)


class Chat(Family):
    """Body and response of OpenAI's Chat Completions API."""

    name = "chat"
    limits = (("max_tokens",), ("max_completion_tokens",))
    takes = frozenset({"system", "turns", "images", "tool", "schema"})
    by_setting = CONVERSATION
    plain = Plain(
        text=("choices", ONLY, "message", "content"),
        stop_reason=("choices", ONLY, "finish_reason"),
        input_tokens=("usage", "prompt_tokens"),
        output_tokens=("usage", "completion_tokens"),
        unless=(b"tool_calls", b"refusal", *(name.encode() for name in _REASONING)),
        unless_text_begins=_OPENED.pattern,
    )

    def owns(self, model: str) -> bool:
        """The models of those who have no other body."""
        return model.startswith(_PROVIDERS)

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The conversation; `stop_sequences` is `stop` here.

        Raises:
            BodyError: a parameter is reserved for the structured response.
        """
        given = renamed(model_request.parameters, {"stop_sequences": "stop"})
        return {
            **with_answer(given, _asking(model_request.answer)),
            **self.conversation(model_request.system, model_request.turns),
        }

    def conversation(self, system: str | None, turns: Sequence[Turn]) -> dict[str, Any]:
        """The system prompt is the first message; a message of one text has no parts."""
        first = [{"role": "system", "content": system}] if system else []
        return {"messages": [*first, *({"role": turn.role, "content": _content(turn)} for turn in turns)]}

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """A part of its own, with a data URL."""
        return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}

    def answer(self, output: Json) -> ModelResponse:
        """The text without its reasoning, and tool calls in order; or what it declines with.

        Of several choices, which only `check_model=False` lets a request have, the first counts.
        """
        choice = first_at(output, "choices")
        message = member(choice, "message")
        reasoning, text = _reasoning(message, _text(message))
        declined = _declined(message)
        blocks = [
            {"type": kind, "text": one}
            for kind, one in (("reasoning", reasoning), ("refusal", declined))
            if one
        ]
        return ModelResponse(
            text=text or declined,
            stop_reason=word_at(choice, "finish_reason"),
            input_tokens=count_at(output, "usage", "prompt_tokens"),
            output_tokens=count_at(output, "usage", "completion_tokens"),
            tool_use=tuple(_call(call) for call in _calls(message)),
            content=[*blocks, {"type": "text", "text": text}] if blocks else None,
            declined=bool(declined),
        )


def _content(turn: Turn) -> Any:
    if len(turn.content) == 1 and isinstance(turn.content[0], str):
        return turn.content[0]
    return [{"type": "text", "text": one} if isinstance(one, str) else one for one in turn.content]


def _asking(answer: AnswerFormat | None) -> dict[str, Any]:
    """The members that request a structured response."""
    if answer is None:
        return {}
    if answer.by == "schema":
        schema = {"name": TOOL, "schema": bound(answer.schema)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    description, parameters = tool(answer)
    function = {"name": TOOL, "description": description, "parameters": parameters}
    return {
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": TOOL}},
    }


def _text(message: object) -> str:
    """The text of a message; beside calls of tools, or a `refusal`, there may be none."""
    may_lack = _calls(message) or word_at(message, "refusal")
    content = _optional(message, "content") if may_lack else member(message, "content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return joined_text(blocks_at(message, "content"))


def _declined(message: object) -> str:
    """What a model declines with: `refusal` of the message, or of parts of its content."""
    content = _optional(message, "content")
    parts = content if isinstance(content, list) else []
    found = (word_at(one, "refusal") for one in (message, *parts))
    return "".join(filter(None, found))


def _reasoning(message: object, text: str) -> tuple[str, str]:
    """The reasoning of a message and the rest of its text; reasoning that was cut off has no end."""
    reasoning = next(filter(None, (word_at(message, name) for name in _REASONING)), "")
    opened = _OPENED.match(text)
    if not opened:
        return reasoning, text
    inside, _, rest = text[opened.end() :].partition(f"</{opened[1]}>")
    return reasoning + inside, rest


def _calls(message: object) -> list[Any]:
    calls = _optional(message, "tool_calls")
    return calls if isinstance(calls, list) else []


def _optional(message: object, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else None


def _call(call: object) -> dict[str, Any]:
    """A call's arguments are JSON text; cut off, they stay text."""
    function = member(call, "function")
    if not isinstance(function, Mapping):
        raise ResponseShapeError("a tool call has no function")
    given = function.get("arguments")
    try:
        value = loads(given) if isinstance(given, str) else given
    except orjson.JSONDecodeError:
        value = given
    return {"name": function.get("name"), "input": value}
