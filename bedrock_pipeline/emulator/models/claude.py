"""Anthropic Claude: the Messages API's body and answer.

Source: "Anthropic Claude Messages API", Amazon Bedrock user guide; "Get validated JSON results from models", ibid.
"""

from typing import Any, Final

from bedrock_pipeline.emulator.models import documents, image, rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    check_types,
    cut_off,
    digest,
    json_size,
    reject_extra,
    sentence,
    tokens,
)
from bedrock_pipeline.emulator.models.structured import invalid, json_text, rejection, value_for

PREFIXES: Final = ("anthropic.claude",)
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
#: A model that nothing is known about: it takes whatever one of the family takes.
ANY: Final = ModelCard(
    "anthropic.claude",
    "claude",
    thinking=("enabled", "adaptive"),
    structured=True,
    caches=True,
    effort=EFFORTS,
)
_VERSION = "bedrock-2023-05-31"
_REQUIRED = ("anthropic_version", "max_tokens", "messages")
_OPTIONAL = (
    *("anthropic_beta", "system", "temperature", "top_p", "top_k", "stop_sequences"),
    *("tools", "tool_choice", "thinking", "metadata", "output_config"),
)
_SHAPE = {
    "system": (str, [dict]),
    "tools": [{"name": str, "input_schema": dict}],
    "tool_choice": dict,
    "thinking": {"type": str, "budget_tokens": int},
    "output_config": {"format": {"type": str, "schema": dict}, "effort": str},
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "stop_sequences": [str],
    "messages": [{"role": str, "content": (str, [{"type": str, "text": str, "source": dict}])}],
}
_CACHED = ("type", "cache_control")
_BLOCKS = {
    "text": (*_CACHED, "text", "citations"),
    "image": (*_CACHED, "source"),
    "document": (*_CACHED, "source", "title", "context", "citations"),
    "search_result": (*_CACHED, "source", "title", "content", "citations"),
    "tool_use": (*_CACHED, "id", "name", "input"),
    "tool_result": (*_CACHED, "tool_use_id", "content", "is_error"),
    "thinking": ("type", "thinking", "signature"),
    "redacted_thinking": ("type", "data"),
}
_THINKING = "Let me look at what is asked."


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:
    """A message: thinking where the model does, then text, or the use of a tool where one is forced."""
    limit = _limit(body, card)
    rules.check_sampling(card, body.get("temperature"), body.get("top_p"), body.get("top_k"))
    rules.check_effort(card, body.get("output_config"))
    rules.check_caching(card, body["messages"], body.get("system"), body.get("tools"), batch=batch)
    tool, schema = _forced(body, card), _format(body, card)
    seen = [_seen(message, number, card) for number, message in enumerate(body["messages"])]
    rules.check_turns(body["messages"])
    rules.check_prefill(card, body["messages"])
    if body["messages"][-1]["role"] == "assistant":
        rules.check_prefill_ends(body["messages"][-1].get("content"))
    prompt = "\n".join(text for text, _ in seen)
    thought = rules.thinking_tokens(card, body.get("thinking"), limit, prompt, forced=tool is not None)
    if thought and body.get("temperature") not in (None, 1):
        raise BodyError("`temperature` may only be set to 1 when thinking is enabled.")
    spent = tokens(prompt) + tokens(_system(body.get("system"))) + sum(images for _, images in seen)
    spent += json_size(body.get("tools"))
    rules.check_length(card, spent)
    content, made, stop = (
        _said(prompt, tool, schema, limit - thought) if limit > thought else ([], 0, "max_tokens")
    )
    if thought:
        shown = _THINKING if "enabled" in card.thinking else ""  # later models keep it to themselves
        content.insert(0, {"type": "thinking", "thinking": shown, "signature": digest(prompt)[:32]})
        made += thought
    return Reply(
        {
            "id": f"msg_bdrk_{digest(prompt)[:24]}",
            "type": "message",
            "role": "assistant",
            "model": card.short,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": spent,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": made,
            },
        },
        spent,
        made,
    )


def _limit(body: Body, card: ModelCard) -> int:
    """The most output tokens of a body that has every member it needs and no other."""
    for required in _REQUIRED:
        if required not in body:
            raise BodyError(f"{required}: Field required")
    reject_extra(body, (*_REQUIRED, *_OPTIONAL))
    check_types(_SHAPE, body)
    if body["anthropic_version"] != _VERSION:
        raise BodyError(f"anthropic_version: Input should be '{_VERSION}'")
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise BodyError("messages: at least one message is required")
    limit = body["max_tokens"]
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BodyError("max_tokens: Input should be greater than or equal to 1")
    if card.max_output is not None and limit > card.max_output:
        raise BodyError(
            f"max_tokens: {limit} > {card.max_output}, which is the maximum allowed number of output tokens "
            f"for {card.short}"
        )
    return limit


def _said(prompt: str, tool: Body | None, schema: Any, limit: int) -> tuple[list[Body], int, str]:
    """A block, its tokens and the stop reason; what is longer than the limit is cut off."""
    if tool is None:
        text, cut = sentence(prompt, limit) if schema is None else cut_off(json_text(schema, prompt), limit)
        return [{"type": "text", "text": text}], tokens(text), "max_tokens" if cut else "end_turn"
    value = value_for(tool["input_schema"], prompt)
    made = json_size(value)
    if cut := made > limit:
        value, made = {}, limit
    use = {
        "type": "tool_use",
        "id": f"toolu_bdrk_{digest(prompt)[:24]}",
        "name": tool["name"],
        "input": value,
    }
    return [use], made, "max_tokens" if cut else "tool_use"


def _forced(body: Body, card: ModelCard) -> Body | None:
    """The tool that must be used."""
    tools = body.get("tools") or []
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str):
            raise BodyError(f"tools.{number}.name: Field required")
        if not isinstance(tool.get("input_schema"), dict) or tool["input_schema"].get("type") != "object":
            raise BodyError(f"tools.{number}.input_schema.type: Field required")
        if why := invalid(tool["input_schema"]):
            raise BodyError(f"tools.{number}.custom.input_schema: {why}")
        if tool.get("strict") and (why := rejection(tool["input_schema"])):
            raise BodyError(f"tools.{number}.custom: {why}")
    choice = body.get("tool_choice") or {"type": "auto"}
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        raise BodyError("tool_choice: Input tag does not match any of the expected tags")
    if kind in ("auto", "none"):
        return None
    rules.check_forced_tool(card, body.get("thinking"))
    found: Body | None = next(
        (one for one in tools if kind == "any" or one["name"] == choice.get("name")), None
    )
    if found is None:
        raise BodyError(f"Tool '{choice.get('name')}' not found in provided tools")
    return found


def _format(body: Body, card: ModelCard) -> Any:
    """The schema of structured output."""
    form = (body.get("output_config") or {}).get("format")
    if form is None:
        return None
    if not card.structured:
        raise BodyError("output_config.format: Extra inputs are not permitted")
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise BodyError("output_config.format.schema: Field required")
    if why := invalid(form["schema"]) or rejection(form["schema"]):
        raise BodyError(f"output_config.format.schema: {why}")
    return form["schema"]


def _system(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(block.get("text", "")) for block in value if isinstance(block, dict))
    return str(value or "")


def _seen(message: Any, number: int, card: ModelCard) -> tuple[str, int]:
    """A message as text, and the tokens of its images."""
    path = f"messages.{number}"
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise BodyError(f"{path}.role: Input should be 'user' or 'assistant'")
    reject_extra(message, ("role", "content"), f"{path}.")
    content = message.get("content")
    if content in ("", []):
        raise BodyError(f"{path}: {message['role']} messages must have non-empty content")
    if isinstance(content, str):
        return _text(content), 0
    if not isinstance(content, list):
        raise BodyError(f"{path}.content: Input should be a valid list")
    blocks = [_block(block, f"{path}.content.{place}", card) for place, block in enumerate(content)]
    if sum(block.get("type") == "image" for block in content) > image.MOST_IMAGES:
        raise BodyError(f"{path}.content: at most {image.MOST_IMAGES} images are permitted")
    return "\n".join(text for text, _ in blocks), sum(images for _, images in blocks)


def _text(text: Any) -> str:
    if text == "":
        raise BodyError("messages: text content blocks must be non-empty")
    if not str(text).strip():
        raise BodyError("messages: text content blocks must contain non-whitespace text")
    return str(text)


def _block(block: Any, path: str, card: ModelCard) -> tuple[str, int]:
    if not isinstance(block, dict):
        raise BodyError(f"{path}: Input should be a valid dictionary")
    kind = block.get("type")
    if kind not in _BLOCKS:
        tags = ", ".join(f"'{known}'" for known in _BLOCKS)
        raise BodyError(
            f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
        )
    reject_extra(block, _BLOCKS[kind], f"{path}.{kind}.")
    if kind == "image":
        rules.check_input_kind(card, "image")
        return _image(block, path)
    if kind == "document":
        rules.check_input_kind(card, "document")
        try:
            return documents.of_claude(block.get("source"))
        except ValueError as error:
            raise BodyError(f"{path}.document.source.{error}") from error
    if kind == "text":
        if "text" not in block:
            raise BodyError(f"{path}.text.text: Field required")
        return _text(block["text"]), 0
    return str(block.get("text", "")), 0


def _image(block: Body, path: str) -> tuple[str, int]:
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
