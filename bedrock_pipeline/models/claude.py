"""Anthropic Claude: the Messages API."""

from typing import Any

from bedrock_pipeline.models.family import Answer, Json, count_at, joined_text, list_at, word_at


class Claude:
    """Body and answer of Anthropic's Messages API on Bedrock."""

    name = "claude"
    embeds = False

    def owns(self, model: str) -> bool:
        """Every model of Anthropic."""
        return model.startswith("anthropic.")

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """One user turn; `max_tokens` is required by the API and 1,024 where not given."""
        return {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            **parameters,
            **({"system": system} if system else {}),
            "messages": [{"role": "user", "content": [{"type": "text", "text": prompt}]}],
        }

    def answer(self, output: Json) -> Answer:
        """All text blocks, joined."""
        return Answer(
            text=joined_text(list_at(output, "content")),
            stop_reason=word_at(output, "stop_reason"),
            input_tokens=count_at(output, "usage", "input_tokens"),
            output_tokens=count_at(output, "usage", "output_tokens"),
        )
