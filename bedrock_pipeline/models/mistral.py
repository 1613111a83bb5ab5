"""Mistral's first models: text completion, and both shapes of their outputs.

The later ones have the body of `chat`. Source: "Mistral AI text completion", Amazon Bedrock user guide.
"""

from dataclasses import replace
from typing import Any, Final

from bedrock_pipeline.models.chat import Chat
from bedrock_pipeline.models.family import (
    ONLY,
    Family,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    by_prompt,
    renamed,
)
from bedrock_pipeline.models.shape import count_at, first_at, text_at, word_at

_MODELS: Final = tuple(
    f"mistral.{name}" for name in ("mistral-7b", "mixtral-8x7b", "mistral-small-24", "mistral-large-24")
)


class Mistral(Family):
    """A prompt in, its continuation out. The prompt is sent unchanged, with the model's own marks if any."""

    name = "mistral"
    limits = (("max_tokens",),)
    by_setting = by_prompt("prompt", "messages")
    plain = Plain(
        text=("outputs", ONLY, "text"),
        stop_reason=("outputs", ONLY, "stop_reason"),
        input_tokens=("usage", "prompt_tokens"),
        output_tokens=("usage", "completion_tokens"),
        unless=(b"choices",),
    )

    def owns(self, model: str) -> bool:
        """The models that have text completion."""
        return model.startswith(_MODELS)

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The prompt; `stop_sequences` is `stop` here."""
        return {
            **renamed(model_request.parameters, {"stop_sequences": "stop"}),
            "prompt": model_request.prompt,
        }

    def answer(self, output: Json) -> ModelResponse:
        """The first continuation; models with chat completion return `choices`, the others `outputs`."""
        if output.get("choices") is not None:
            read, stop = Chat().answer(output), word_at(first_at(output, "choices"), "stop_reason")
            return read if stop is None else replace(read, stop_reason=stop)
        continuation = first_at(output, "outputs")
        return ModelResponse(
            text=text_at(continuation, "text"),
            stop_reason=word_at(continuation, "stop_reason"),
            input_tokens=count_at(output, "usage", "prompt_tokens"),
            output_tokens=count_at(output, "usage", "completion_tokens"),
        )
