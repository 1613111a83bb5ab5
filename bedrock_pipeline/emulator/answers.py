"""What the emulated models answer.

What belongs here: deterministic answers in each family's native shape, and each family's check of a body. Shapes:
the inference parameter pages of the Amazon Bedrock user guide.
"""

import hashlib
import math
import random
from collections.abc import Callable
from typing import Any

Body = dict[str, Any]


class BodyError(Exception):
    """The model refuses this body: an error of one record, with code 400."""


def answer(model_id: str, body: Body) -> Body:
    """The answer of a model.

    Raises:
        BodyError: the body is not what the model takes.
    """
    return _find(model_id)(body)


def supports(model_id: str) -> bool:
    """Whether batch inference knows the model."""
    bare = _bare(model_id)
    return any(bare.startswith(prefix) for prefix in _MODELS)


def tokens(text: str) -> int:
    """Tokens of a text: a quarter of its characters, at least one."""
    return max(1, math.ceil(len(text) / 4))


def _find(model_id: str) -> Callable[[Body], Body]:
    bare = _bare(model_id)
    return next(model for prefix, model in _MODELS.items() if bare.startswith(prefix))


def _bare(model_id: str) -> str:
    name = model_id.rpartition("/")[2]
    geography, _, rest = name.partition(".")
    return rest if geography in ("us", "eu", "apac", "global", "jp", "au", "ca", "us-gov") else name


def _claude(body: Body) -> Body:
    for required in ("anthropic_version", "max_tokens", "messages"):
        if required not in body:
            raise BodyError(f"{required}: Field required")
    allowed = {
        *(
            "anthropic_version",
            "anthropic_beta",
            "max_tokens",
            "messages",
            "system",
            "temperature",
            "top_p",
            "top_k",
        ),
        *("stop_sequences", "tools", "tool_choice", "thinking", "metadata", "output_config"),
    }
    if extra := sorted(body.keys() - allowed):
        raise BodyError(f"{extra[0]}: Extra inputs are not permitted")
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise BodyError("messages: at least one message is required")
    if not isinstance(body["max_tokens"], int) or body["max_tokens"] < 1:
        raise BodyError("max_tokens: Input should be greater than or equal to 1")
    asked = "\n".join(_claude_text(message) for message in body["messages"])
    said = _sentence(asked)
    return {
        "id": f"msg_bdrk_{_digest(asked)[:24]}",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": said}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens(asked) + tokens(str(body.get("system") or "")),
            "output_tokens": tokens(said),
        },
    }


def _claude_text(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
        raise BodyError("messages.0.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BodyError("messages.0.content: Input should be a valid list")
    return "\n".join(str(block.get("text", "")) for block in content if isinstance(block, dict))


def _titan_embed(body: Body) -> Body:
    text = body.get("inputText")
    if not isinstance(text, str) or not text:
        raise BodyError(
            "Malformed input request: #: required key [inputText] not found, please reformat your input and try again."
        )
    size = body.get("dimensions", 1024)
    if size not in (256, 512, 1024):
        raise BodyError(
            "Malformed input request: #/dimensions: not a valid enum value, please reformat your input and try again."
        )
    chance = random.Random(_digest(text))  # noqa: S311  # reproducible on purpose
    vector = [chance.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(x * x for x in vector)) if body.get("normalize", True) else 1.0
    vector = [round(x / length, 8) for x in vector]
    return {"embedding": vector, "embeddingsByType": {"float": vector}, "inputTextTokenCount": tokens(text)}


def _sentence(asked: str) -> str:
    """A deterministic summary: the last words of what was asked, so that answers differ as inputs do."""
    words = asked.split()
    return f"Summary {_digest(asked)[:8]}: {' '.join(words[-12:])}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_MODELS: dict[str, Callable[[Body], Body]] = {
    "anthropic.claude": _claude,
    "amazon.titan-embed-text": _titan_embed,
}
