"""The Converse API, for any model that makes text.

Source: "Converse", Amazon Bedrock API reference.
"""

from typing import Any

from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    malformed,
    most_tokens,
    refuse_extra,
    sentence,
    tokens,
)

_MEMBERS = (
    *("messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields"),
    *("additionalModelResponseFieldPaths", "guardrailConfig", "promptVariables", "requestMetadata"),
    *("performanceConfig", "serviceTier", "outputConfig"),
)


def answer(body: Body, members: tuple[str, ...] = _MEMBERS) -> Reply:
    """A message with one block of text, and its usage."""
    refuse_extra(body, members)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise malformed("#: required key [messages] not found")
    asked = "\n".join(_text(message, f"#/messages/{number}") for number, message in enumerate(messages))
    system = "\n".join(_block(block, "#/system") for block in body.get("system") or [])
    config = body.get("inferenceConfig") or {}
    said, cut = sentence(asked, most_tokens(config.get("maxTokens"), "inferenceConfig/maxTokens"))
    spent = tokens(asked) + (tokens(system) if system else 0)
    usage = {"inputTokens": spent, "outputTokens": tokens(said), "totalTokens": spent + tokens(said)}
    return Reply(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": said}]}},
            "stopReason": "max_tokens" if cut else "end_turn",
            "usage": usage,
        },
        spent,
        tokens(said),
    )


def _text(message: Any, path: str) -> str:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise malformed(f"{path}/role: not a valid enum value")
    content = message.get("content")
    if not isinstance(content, list) or not content:
        raise malformed(f"{path}/content: expected a list of content blocks")
    return "\n".join(_block(block, f"{path}/content") for block in content)


def _block(block: Any, path: str) -> str:
    if not isinstance(block, dict):
        raise malformed(f"{path}: expected a content block")
    return str(block.get("text", ""))
