"""Mistral's first models: a prompt and its continuation; the large ones take messages too.

Source: "Mistral AI text completion" and "Mistral AI chat completion", Amazon Bedrock user guide.
"""

from typing import Final

from bedrock_pipeline.emulator.models import chat, rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    malformed,
    most_tokens,
    reject_extraneous,
    sentence,
    tokens,
)

PREFIXES: Final = (
    "mistral.mistral-7b",
    "mistral.mixtral",
    "mistral.mistral-small",
    "mistral.mistral-large-24",
)
ANY: Final = ModelCard("mistral.mistral", "mistral", bodies=("prompt", "messages"))
_MEMBERS = ("prompt", "max_tokens", "temperature", "top_p", "top_k", "stop")


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:
    """A continuation; there is no `usage` in it, though the tokens are spent."""
    if "messages" in body and "messages" in card.bodies:
        return chat.answer(body, card, batch=batch)
    reject_extraneous(body, _MEMBERS)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise malformed("#: required key [prompt] not found")
    if not prompt:
        raise malformed("#/prompt: expected minLength: 1, actual: 0")
    limit = most_tokens(body.get("max_tokens"), "max_tokens")
    if limit is not None and card.max_output is not None and limit > card.max_output:
        raise malformed(f"#/max_tokens: {limit} is not less or equal to {card.max_output}")
    rules.check_length(card, tokens(prompt))
    said, cut = sentence(prompt, limit or 512)
    return Reply(
        {"outputs": [{"text": said, "stop_reason": "length" if cut else "stop"}]},
        tokens(prompt),
        tokens(said),
    )
