"""Anthropic Claude: the Messages API's body and answer.

Source: "Anthropic Claude Messages API", Amazon Bedrock user guide.
"""

from typing import Any

from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    digest,
    refuse_extra,
    sentence,
    tokens,
)

PREFIXES = ("anthropic.claude",)
_REQUIRED = ("anthropic_version", "max_tokens", "messages")
_OPTIONAL = (
    *("anthropic_beta", "system", "temperature", "top_p", "top_k", "stop_sequences"),
    *("tools", "tool_choice", "thinking", "metadata", "output_config"),
)


def answer(body: Body) -> Reply:
    """A message with one block of text."""
    for required in _REQUIRED:
        if required not in body:
            raise BodyError(f"{required}: Field required")
    refuse_extra(body, (*_REQUIRED, *_OPTIONAL))
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise BodyError("messages: at least one message is required")
    limit = body["max_tokens"]
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BodyError("max_tokens: Input should be greater than or equal to 1")
    asked = "\n".join(_text(message, number) for number, message in enumerate(body["messages"]))
    said, cut = sentence(asked, limit)
    spent = tokens(asked) + tokens(_system(body.get("system")))
    return Reply(
        {
            "id": f"msg_bdrk_{digest(asked)[:24]}",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [{"type": "text", "text": said}],
            "stop_reason": "max_tokens" if cut else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": spent, "output_tokens": tokens(said)},
        },
        spent,
        tokens(said),
    )


def _system(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(block.get("text", "")) for block in value if isinstance(block, dict))
    return str(value or "")


def _text(message: Any, number: int) -> str:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise BodyError(f"messages.{number}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BodyError(f"messages.{number}.content: Input should be a valid list")
    return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))
