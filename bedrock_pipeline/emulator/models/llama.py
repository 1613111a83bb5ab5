"""Meta Llama: a prompt and its continuation.

Source: "Meta Llama models", Amazon Bedrock user guide.
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

PREFIXES = ("meta.llama",)
_MEMBERS = ("prompt", "max_gen_len", "temperature", "top_p", "images")


def answer(body: Body) -> Reply:
    """A continuation."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise malformed("#: required key [prompt] not found")
    refuse_extra(body, _MEMBERS)
    said, cut = sentence(prompt, most_tokens(body.get("max_gen_len"), "max_gen_len") or 512)
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
