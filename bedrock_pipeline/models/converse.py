"""Converse: one body and one answer for every model, where a job's invocation type is `Converse`."""

from typing import Any, Final

from bedrock_pipeline.models.family import Answer, Json, count_at, joined_text, list_at, renamed, word_at

_COMMON: Final = {"max_tokens": "maxTokens", "top_p": "topP", "stop_sequences": "stopSequences"}
_INFERENCE: Final = frozenset({"maxTokens", "temperature", "topP", "topK", "stopSequences"})


class Converse:
    """Body and answer of the Converse API; no model id is its own, a job chooses it."""

    name = "converse"
    embeds = False

    def owns(self, model: str) -> bool:  # noqa: ARG002  # the interface's
        """None."""
        return False

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """One user turn; parameters of inference go where the API has them, others to the top."""
        given = renamed(parameters, _COMMON)
        inference = dict(given.pop("inferenceConfig", {}))
        inference |= {name: given.pop(name) for name in list(given) if name in _INFERENCE}
        return {
            **given,
            **({"inferenceConfig": inference} if inference else {}),
            **({"system": [{"text": system}]} if system else {}),
            "messages": [{"role": "user", "content": [{"text": prompt}]}],
        }

    def answer(self, output: Json) -> Answer:
        """All text blocks, joined."""
        return Answer(
            text=joined_text(list_at(output, "output", "message", "content")),
            stop_reason=word_at(output, "stopReason"),
            input_tokens=count_at(output, "usage", "inputTokens"),
            output_tokens=count_at(output, "usage", "outputTokens"),
        )
