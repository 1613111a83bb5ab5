"""Anthropic Claude: the Messages API's body and answer.

Source: "Anthropic Claude Messages API", Amazon Bedrock user guide; "Get validated JSON results from models", ibid.
"""

from typing import Any

from bedrock_pipeline.emulator.models import image
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    cut_off,
    digest,
    json_size,
    refuse_extra,
    sentence,
    tokens,
)
from bedrock_pipeline.emulator.models.structured import json_text, refusal, value_for

PREFIXES = ("anthropic.claude",)
_REQUIRED = ("anthropic_version", "max_tokens", "messages")
_OPTIONAL = (
    *("anthropic_beta", "system", "temperature", "top_p", "top_k", "stop_sequences"),
    *("tools", "tool_choice", "thinking", "metadata", "output_config"),
)
_THINKING = "Let me look at what is asked."
_LEAST_THINKING = 1024


def answer(body: Body) -> Reply:
    """A message: thinking where it is enabled, then text, or the use of a tool where one is forced."""
    for required in _REQUIRED:
        if required not in body:
            raise BodyError(f"{required}: Field required")
    refuse_extra(body, (*_REQUIRED, *_OPTIONAL))
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise BodyError("messages: at least one message is required")
    limit = body["max_tokens"]
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BodyError("max_tokens: Input should be greater than or equal to 1")
    tool, schema, thinks = _forced(body), _format(body), _thinks(body, limit)
    seen = [_seen(message, number) for number, message in enumerate(body["messages"])]
    asked = "\n".join(text for text, _ in seen)
    block, made, stop = _said(asked, tool, schema, limit)
    spent = tokens(asked) + tokens(_system(body.get("system"))) + sum(images for _, images in seen)
    spent += json_size(body.get("tools"))
    thinking = {"type": "thinking", "thinking": _THINKING, "signature": digest(asked)[:32]}
    made += tokens(_THINKING) if thinks else 0
    return Reply(
        {
            "id": f"msg_bdrk_{digest(asked)[:24]}",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [thinking, block] if thinks else [block],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": spent, "output_tokens": made},
        },
        spent,
        made,
    )


def _said(asked: str, tool: Body | None, schema: Any, limit: int) -> tuple[Body, int, str]:
    """A block, its tokens and the stop reason; what is longer than the limit is cut off."""
    if tool is None:
        text, cut = sentence(asked, limit) if schema is None else cut_off(json_text(schema, asked), limit)
        return {"type": "text", "text": text}, tokens(text), "max_tokens" if cut else "end_turn"
    value = value_for(tool["input_schema"], asked)
    made = json_size(value)
    if cut := made > limit:
        value, made = {}, limit
    use = {"type": "tool_use", "id": f"toolu_bdrk_{digest(asked)[:24]}", "name": tool["name"], "input": value}
    return use, made, "max_tokens" if cut else "tool_use"


def _forced(body: Body) -> Body | None:
    """The tool that must be used."""
    tools = body.get("tools") or []
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise BodyError(f"tools.{number}.name: Field required")
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            raise BodyError(f"tools.{number}.input_schema.type: Field required")
    choice = body.get("tool_choice") or {"type": "auto"}
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise BodyError("tool_choice: Input tag does not match any of the expected tags")
    if kind in ("auto", "none"):
        return None
    if body.get("thinking", {}).get("type") == "enabled":
        raise BodyError("Thinking may not be enabled when tool_choice forces tool use.")
    found: Body | None = next(
        (one for one in tools if kind == "any" or one["name"] == choice.get("name")), None
    )
    if found is None:
        raise BodyError(f"Tool '{choice.get('name')}' not found in provided tools")
    return found


def _format(body: Body) -> Any:
    """The schema of structured output."""
    form = (body.get("output_config") or {}).get("format")
    if form is None:
        return None
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise BodyError("output_config.format.schema: Field required")
    if why := refusal(form["schema"]):
        raise BodyError(f"output_config.format.schema: {why}")
    return form["schema"]


def _thinks(body: Body, limit: int) -> bool:
    thinking = body.get("thinking") or {"type": "disabled"}
    if thinking.get("type") != "enabled":
        return False
    budget = thinking.get("budget_tokens", 0)
    if budget < _LEAST_THINKING:
        raise BodyError("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if budget >= limit:
        raise BodyError("`max_tokens` must be greater than `thinking.budget_tokens`.")
    return True


def _system(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(block.get("text", "")) for block in value if isinstance(block, dict))
    return str(value or "")


def _seen(message: Any, number: int) -> tuple[str, int]:
    """A message as text, and the tokens of its images."""
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise BodyError(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        raise BodyError(f"messages.{number}.content: Input should be a valid list")
    blocks = [
        _block(block, f"messages.{number}.content.{place}")
        for place, block in enumerate(content)
        if isinstance(block, dict)
    ]
    if sum(images > 0 for _, images in blocks) > image.MOST_IMAGES:
        raise BodyError(f"messages.{number}.content: at most {image.MOST_IMAGES} images are permitted")
    return "\n".join(text for text, _ in blocks), sum(images for _, images in blocks)


def _block(block: Body, path: str) -> tuple[str, int]:
    if block.get("type") != "image":
        return str(block.get("text", "")), 0
    source = block.get("source") or {}
    kind = str(source.get("media_type", "")).removeprefix("image/")
    if source.get("type") != "base64":
        raise BodyError(f"{path}.image.source.type: Input should be 'base64'")
    if kind not in image.FORMATS or not str(source.get("media_type")).startswith("image/"):
        raise BodyError(f"{path}.image.source.base64.media_type: Input should be an image type")
    try:
        return image.seen(kind, source.get("data"))
    except ValueError as error:
        raise BodyError(f"{path}.image.source.base64.data: {error}") from error
