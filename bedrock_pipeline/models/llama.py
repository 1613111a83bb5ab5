"""Meta Llama: the native completion body."""

from typing import Any

from bedrock_pipeline.models.family import (
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    by_prompt,
    renamed,
)
from bedrock_pipeline.models.shape import count_at, text_at, word_at


class Llama(Family):
    """A prompt in, its continuation out.

    The prompt is sent unchanged: the marks around turns differ between Llama's generations, so a prompt template has
    those of its model, with the system prompt between them.
    """

    name = "llama"
    limits = (("max_gen_len",),)
    by_setting = by_prompt("prompt")
    plain = Plain(
        text=("generation",),
        stop_reason=("stop_reason",),
        input_tokens=("prompt_token_count",),
        output_tokens=("generation_token_count",),
    )

    def owns(self, model: str) -> bool:
        """Every Llama."""
        return model.startswith("meta.llama")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The prompt; `max_tokens` is `max_gen_len` here."""
        return {
            **renamed(model_request.parameters, {"max_tokens": "max_gen_len"}),
            "prompt": model_request.prompt,
        }

    def answer(self, output: Json) -> ModelResponse:
        """The continuation."""
        return ModelResponse(
            text=text_at(output, "generation"),
            stop_reason=word_at(output, "stop_reason"),
            input_tokens=count_at(output, "prompt_token_count"),
            output_tokens=count_at(output, "generation_token_count"),
        )
