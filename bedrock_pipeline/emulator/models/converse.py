"""The Converse API, for any model that makes text.

Source: "Converse", Amazon Bedrock API reference.
"""

from typing import Any

import orjson

from bedrock_pipeline.emulator.models import image
from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    cut_off,
    digest,
    json_size,
    malformed,
    most_tokens,
    refuse_extra,
    sentence,
    tokens,
)
from bedrock_pipeline.emulator.models.structured import json_text, refusal, value_for

_MEMBERS = (
    *("messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields"),
    *("additionalModelResponseFieldPaths", "guardrailConfig", "promptVariables", "requestMetadata"),
    *("performanceConfig", "serviceTier", "outputConfig"),
)


def answer(body: Body, members: tuple[str, ...] = _MEMBERS) -> Reply:
    """A message with one block, text or the use of a tool where one is forced, and its usage."""
    refuse_extra(body, members)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise malformed("#: required key [messages] not found")
    tool, schema = _forced(body.get("toolConfig")), _format(body.get("outputConfig"))
    seen = [_seen(message, f"#/messages/{number}") for number, message in enumerate(messages)]
    asked = "\n".join(text for text, _ in seen)
    system = "\n".join(_block(block, "#/system")[0] for block in body.get("system") or [])
    config = body.get("inferenceConfig") or {}
    block, made, stop = _said(
        asked, tool, schema, most_tokens(config.get("maxTokens"), "inferenceConfig/maxTokens")
    )
    spent = tokens(asked) + (tokens(system) if system else 0) + sum(images for _, images in seen)
    spent += json_size(body.get("toolConfig"))
    return Reply(
        {
            "output": {"message": {"role": "assistant", "content": [block]}},
            "stopReason": stop,
            "usage": {"inputTokens": spent, "outputTokens": made, "totalTokens": spent + made},
        },
        spent,
        made,
    )


def _said(asked: str, tool: Body | None, schema: Any, limit: int | None) -> tuple[Body, int, str]:
    """A block, its tokens and the stop reason; what is longer than the limit is cut off."""
    if tool is None:
        text, cut = sentence(asked, limit) if schema is None else cut_off(json_text(schema, asked), limit)
        return {"text": text}, tokens(text), "max_tokens" if cut else "end_turn"
    value = value_for(tool["inputSchema"]["json"], asked)
    made = json_size(value)
    cut = limit is not None and made > limit
    if limit is not None and cut:
        value, made = {}, limit
    use = {"toolUseId": f"tooluse_{digest(asked)[:22]}", "name": tool["name"], "input": value}
    return {"toolUse": use}, made, "max_tokens" if cut else "tool_use"


def _forced(config: Any) -> Body | None:
    """The specification of the tool that must be used."""
    if config is None:
        return None
    specs = [one["toolSpec"] for one in config.get("tools") or [] if isinstance(one.get("toolSpec"), dict)]
    for spec in specs:
        schema = (spec.get("inputSchema") or {}).get("json")
        if not isinstance(spec.get("name"), str) or not isinstance(schema, dict):
            raise malformed("#/toolConfig/tools: expected a name and an inputSchema")
        if schema.get("type") != "object":
            raise malformed("#/toolConfig/tools/toolSpec/inputSchema/json/type: expected object")
    choice = config.get("toolChoice") or {"auto": {}}
    if "tool" in choice:
        specs = [spec for spec in specs if spec["name"] == choice["tool"].get("name")]
    elif "any" not in choice:
        return None
    if not specs:
        raise malformed("#/toolConfig/toolChoice: the tool is not one of the tools")
    found: Body = specs[0]
    return found


def _format(config: Any) -> Any:
    """The schema of structured output, which stands in the request as text."""
    form = (config or {}).get("textFormat")
    if form is None:
        return None
    try:
        schema = orjson.loads(form["structure"]["jsonSchema"]["schema"])
    except (KeyError, TypeError, orjson.JSONDecodeError):
        raise malformed("#/outputConfig/textFormat: expected a JSON schema as text") from None
    if why := refusal(schema):
        raise malformed(f"#/outputConfig/textFormat: {why}")
    return schema


def _seen(message: Any, path: str) -> tuple[str, int]:
    """A message as text, and the tokens of its images."""
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise malformed(f"{path}/role: not a valid enum value")
    content = message.get("content")
    if not isinstance(content, list) or not content:
        raise malformed(f"{path}/content: expected a list of content blocks")
    blocks = [_block(block, f"{path}/content") for block in content]
    if sum(images > 0 for _, images in blocks) > image.MOST_IMAGES:
        raise malformed(f"{path}/content: expected at most {image.MOST_IMAGES} images")
    return "\n".join(text for text, _ in blocks), sum(images for _, images in blocks)


def _block(block: Any, path: str) -> tuple[str, int]:
    if not isinstance(block, dict):
        raise malformed(f"{path}: expected a content block")
    if "image" not in block:
        return str(block.get("text", "")), 0
    kind, source = block["image"].get("format"), block["image"].get("source") or {}
    if kind not in image.FORMATS:
        raise malformed(f"{path}/image/format: not a valid enum value")
    try:
        return image.seen(kind, source.get("bytes"))
    except ValueError as error:
        raise malformed(f"{path}/image/source/bytes: {error}") from error
