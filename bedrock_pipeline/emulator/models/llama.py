"""Meta Llama: a prompt and its continuation.

Source: "Meta Llama models", Amazon Bedrock user guide.
"""

from typing import Final

from bedrock_pipeline.emulator.models import rules
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

PREFIXES: Final = ("meta.llama",)
ANY: Final = ModelCard("meta.llama", "llama")
_MEMBERS = ("prompt", "max_gen_len", "temperature", "top_p", "images")


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:  # noqa: ARG001  # a family's shape
    """A continuation."""
    reject_extraneous(body, _MEMBERS)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise malformed("#: required key [prompt] not found")
    if not prompt:
        raise malformed("#/prompt: expected minLength: 1, actual: 0")
    if body.get("images"):
        rules.check_input_kind(card, "image")
    limit = most_tokens(body.get("max_gen_len"), "max_gen_len")
    if limit is not None and card.max_output is not None and limit > card.max_output:
        raise malformed(f"#/max_gen_len: {limit} is not less or equal to {card.max_output}")
    rules.check_length(card, tokens(prompt))
    said, cut = sentence(prompt, limit or 512)
    return Reply(
        {
            "generation": said,
            "prompt_token_count": tokens(prompt),
            "generation_token_count": tokens(said),
            "stop_reason": "length" if cut else "stop",
        },
        tokens(prompt),
        tokens(said),
    )
