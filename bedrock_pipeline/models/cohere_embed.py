"""Cohere Embed."""

from collections.abc import Mapping
from typing import Any

from bedrock_pipeline.models.family import Family, Json, ModelRequest, ModelResponse
from bedrock_pipeline.models.shape import first_at, member, vector_of


class CohereEmbed(Family):
    """One text in, one vector out; the API's list of texts has one element, so that a record is a row."""

    name = "cohere-embed"
    embeds = True

    def owns(self, model: str) -> bool:
        """Cohere's embedding models."""
        return model.startswith("cohere.embed")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The text; `input_type` is required by the API and `search_document` by default."""
        return {"input_type": "search_document", **model_request.parameters, "texts": [model_request.prompt]}

    def answer(self, output: Json) -> ModelResponse:
        """The vector; with `embedding_types` in the request, vectors are grouped by type."""
        typed = isinstance(member(output, "embeddings"), Mapping)
        vector = first_at(output, "embeddings", "float") if typed else first_at(output, "embeddings")
        return ModelResponse(embedding=vector_of(vector), output_tokens=0)
