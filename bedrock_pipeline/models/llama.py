"""Meta Llama: the native completion body."""

from typing import Any

from bedrock_pipeline.models.family import Answer, BodyError, Json, count_at, renamed, text_at, word_at


class Llama:
    """A prompt in, its continuation out.

    The prompt is sent as it is: the marks around turns differ between Llama's generations, so a prompt template
    holds those of its model.
    """

    name = "llama"
    embeds = False

    def owns(self, model: str) -> bool:
        """Every Llama."""
        return model.startswith("meta.llama")

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """The prompt; `max_tokens` is `max_gen_len` here.

        Raises:
            BodyError: a system prompt is given; the body has no place for it.
        """
        if system:
            raise BodyError(
                "Llama's body has no system prompt.",
                "Write it into the prompt, between the model's own marks.",
            )
        return {**renamed(parameters, {"max_tokens": "max_gen_len"}), "prompt": prompt}

    def answer(self, output: Json) -> Answer:
        """The continuation."""
        return Answer(
            text=text_at(output, "generation"),
            stop_reason=word_at(output, "stop_reason"),
            input_tokens=count_at(output, "prompt_token_count"),
            output_tokens=count_at(output, "generation_token_count"),
        )
