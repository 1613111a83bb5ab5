"""Amazon Titan Text Embeddings v2."""

from typing import Any

from bedrock_pipeline.models.family import BodyError, Family, Json, ModelRequest, ModelResponse
from bedrock_pipeline.models.shape import count_at, member, vector_of

_DIMENSIONS = (256, 512, 1024)


class TitanEmbed(Family):
    """One text in, one vector of 256, 512 or 1,024 numbers out."""

    name = "titan-embed"
    embeds = True

    def owns(self, model: str) -> bool:
        """Titan's text embedding models."""
        return model.startswith("amazon.titan-embed-text")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The text.

        Raises:
            BodyError: a dimension that the model does not have.
        """
        parameters = model_request.parameters
        if parameters.get("dimensions", 256) not in _DIMENSIONS:
            raise BodyError(
                f"Titan embeddings have no {parameters['dimensions']} dimensions.",
                "Set parameters.dimensions to 256, 512 or 1024.",
            )
        return {**parameters, "inputText": model_request.prompt}

    def answer(self, output: Json) -> ModelResponse:
        """The vector; the token count is `inputTextTokenCount`, there is no `usage`."""
        vector = output.get("embedding")
        if vector is None:
            vector = member(output, "embeddingsByType", "float")
        return ModelResponse(
            embedding=vector_of(vector), input_tokens=count_at(output, "inputTextTokenCount"), output_tokens=0
        )
