"""Chat completions: the body of OpenAI's, Qwen's, DeepSeek's, Google's and others' models, and of Mistral's later ones.

Source: "OpenAI models" and "Mistral AI chat completion", Amazon Bedrock user guide; answers that users of the service
show.
"""

import hashlib
from typing import Any, Final

import orjson

from bedrock_pipeline.emulator.models import rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    check_types,
    cut_off,
    digest,
    json_size,
    most_tokens,
    reject_extra,
    sentence,
    tokens,
)
from bedrock_pipeline.emulator.models.structured import invalid, json_text, value_for

PREFIXES: Final = (
    *("openai.", "qwen.", "deepseek.v3", "google.gemma", "zai.", "moonshot.", "moonshotai.", "minimax."),
    *("nvidia.", "mistral."),
)
ANY: Final = ModelCard("chat", "chat", bodies=("messages",))
_MEMBERS = (
    *("messages", "model", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop"),
    *("response_format", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "seed", "n"),
    *("frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "logit_bias", "stream", "user"),
)
_SHAPE = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "n": int,
    "tools": [{"function": {"name": str, "parameters": dict}}],
    "tool_choice": (str, {"function": {"name": str}}),
    "response_format": {"type": str, "json_schema": {"schema": dict}},
    "messages": [
        {
            "role": str,
            "content": (str, [{"type": str, "text": str, "image_url": {"url": str}}]),
            "tool_calls": list,
        }
    ],
}
_ROLES = ("system", "developer", "user", "assistant", "tool")
_REASONING = "<reasoning>Let me look at what is asked.</reasoning>"
_IMAGE_TOKENS = 1600
#: OpenAI's limit; those of others are not known.
_MOST_CHOICES = 128
#: When every answer was made: the same body gets the same answer.
_CREATED = 1_767_225_600


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:  # noqa: ARG001  # a family's shape
    """A choice with text, or with a call of the tool that is forced."""
    reject_extra(body, _MEMBERS)
    check_types(_SHAPE, body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BodyError("messages: Field required")
    limit = most_tokens(body.get("max_completion_tokens", body.get("max_tokens")), "max_tokens")
    if limit is not None and card.max_output is not None and limit > card.max_output:
        raise BodyError(
            f"max_tokens is too large: {limit}. This model supports at most {card.max_output} completion tokens."
        )
    prompt = "\n".join(_seen(message, number, card) for number, message in enumerate(messages))
    images = sum(_images(message) for message in messages)
    spent = tokens(prompt) + images * _IMAGE_TOKENS + json_size(body.get("tools"))
    rules.check_length(card, spent)
    said = [
        _message(f"{prompt}{f' ({index})' if index else ''}", body, card, limit)
        for index in range(_choices(body.get("n")))
    ]
    made = sum(size for _, size, _ in said)
    return Reply(
        {
            "id": f"chatcmpl-{digest(prompt)[:24]}",
            "object": "chat.completion",
            "created": _CREATED,
            "model": card.id,
            "choices": [
                {"index": index, "message": message, "finish_reason": reason}
                for index, (message, _, reason) in enumerate(said)
            ],
            "usage": {"prompt_tokens": spent, "completion_tokens": made, "total_tokens": spent + made},
        },
        spent,
        made,
    )


def _choices(count: object) -> int:
    """How many answers there are."""
    if count is None:
        return 1
    if not isinstance(count, int) or not 1 <= count <= _MOST_CHOICES:
        raise BodyError(f"n: Input should be from 1 to {_MOST_CHOICES}")
    return count


def _message(prompt: str, body: Body, card: ModelCard, limit: int | None) -> tuple[Body, int, str]:
    if tool := _forced(body):
        arguments = orjson.dumps(value_for(tool.get("parameters") or {"type": "object"}, prompt)).decode()
        shown, cut = cut_off(arguments, limit)
        call = {
            "id": f"call_{digest(prompt)[:24]}",
            "type": "function",
            "function": {"name": tool["name"], "arguments": shown},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return message, tokens(shown), "length" if cut else "tool_calls"
    schema = _format(body.get("response_format"))
    text = sentence(prompt)[0] if schema is None else json_text(schema, prompt)
    text, cut = cut_off(f"{_REASONING}{text}" if card.reasons else text, limit)
    return {"role": "assistant", "content": text}, tokens(text), "length" if cut else "stop"


def _forced(body: Body) -> Body | None:
    """The function that must be called."""
    functions = []
    for number, tool in enumerate(body.get("tools") or []):
        function = (tool or {}).get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BodyError(f"tools.{number}.function.name: Field required")
        if why := invalid(function.get("parameters") or {}):
            raise BodyError(f"tools.{number}.function.parameters: {why}")
        functions.append(function)
    choice = body.get("tool_choice") or "auto"
    if choice in ("auto", "none"):
        return None
    if choice not in ("any", "required"):
        name = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else choice
        functions = [function for function in functions if function["name"] == name]
    if not functions:
        raise BodyError("tool_choice: the tool is not one of the tools")
    return functions[0]


def _format(form: Any) -> Any:
    """The schema of structured output."""
    kind = (form or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    schema = (form.get("json_schema") or {}).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BodyError("response_format.json_schema.schema: Field required")
    if why := invalid(schema):
        raise BodyError(f"response_format.json_schema.schema: {why}")
    return schema


def _seen(message: Any, number: int, card: ModelCard) -> str:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise BodyError(f"messages.{number}.role: Input should be one of {', '.join(_ROLES)}")
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BodyError(f"messages.{number}.content: Input should be a valid string or list")
    return "\n".join(
        _part(part, f"messages.{number}.content.{place}", card) for place, part in enumerate(content)
    )


def _part(part: Any, path: str, card: ModelCard) -> str:
    kind = (part or {}).get("type") if isinstance(part, dict) else None
    if kind == "text":
        return str(part.get("text", ""))
    if kind != "image_url":
        raise BodyError(
            f"{path}: Input tag '{kind}' does not match any of the expected tags: 'text', 'image_url'"
        )
    rules.check_input_kind(card, "image")
    url = str((part.get("image_url") or {}).get("url", ""))
    if not url.startswith("data:image/"):
        raise BodyError(f"{path}.image_url.url: Input should be a data URL of an image")
    return f"[image {hashlib.sha256(url.encode()).hexdigest()[:8]}]"


def _images(message: Body) -> int:
    content = message.get("content")
    return sum(part.get("type") == "image_url" for part in content) if isinstance(content, list) else 0
