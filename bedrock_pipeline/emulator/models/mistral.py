"""Mistral: a prompt and its continuation.

Source: "Mistral AI text completion", Amazon Bedrock user guide.
"""

from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    malformed,
    most_tokens,
    refuse_extra,
    sentence,
    tokens,
)

PREFIXES = ("mistral.",)
_MEMBERS = ("prompt", "max_tokens", "temperature", "top_p", "top_k", "stop")


def answer(body: Body) -> Reply:
    """A continuation; there is no `usage` in it, though the tokens are spent."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise malformed("#: required key [prompt] not found")
    refuse_extra(body, _MEMBERS)
    said, cut = sentence(prompt, most_tokens(body.get("max_tokens"), "max_tokens") or 512)
    return Reply(
        {"outputs": [{"text": said, "stop_reason": "length" if cut else "stop"}]},
        tokens(prompt),
        tokens(said),
    )
