"""Amazon Titan Text Embeddings v2."""

from typing import Any

from bedrock_pipeline.models.family import Answer, AnswerShapeError, Json, member


class TitanEmbed:
    """One text in, one vector of 256, 512 or 1,024 numbers out."""

    name = "titan-embed"
    embeds = True

    def owns(self, model: str) -> bool:
        """Titan's text embedding models."""
        return model.startswith("amazon.titan-embed-text")

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """The text; an embedding model has no system prompt, so one is refused.

        Raises:
            ValueError: a system prompt is given.
        """
        if system:
            raise ValueError("an embedding model takes no system prompt")
        return {**parameters, "inputText": prompt}

    def answer(self, output: Json) -> Answer:
        """The vector; tokens stand in `inputTextTokenCount`, there is no `usage`."""
        vector = output.get("embedding") or output.get("embeddingsByType", {}).get("float")
        if not isinstance(vector, list):
            raise AnswerShapeError("the answer has no embedding")
        return Answer(embedding=vector, input_tokens=member(output, "inputTextTokenCount"), output_tokens=0)
