"""Cohere Embed."""

from collections.abc import Mapping
from typing import Any

from bedrock_pipeline.models.family import Answer, Family, Json, Question
from bedrock_pipeline.models.shape import first_at, member, vector_of


class CohereEmbed(Family):
    """One text in, one vector out; the API's list of texts holds that one, so that a record is a row."""

    name = "cohere-embed"
    embeds = True

    def owns(self, model: str) -> bool:
        """Cohere's embedding models."""
        return model.startswith("cohere.embed")

    def body(self, question: Question) -> dict[str, Any]:
        """The text; `input_type` is required by the API and `search_document` where not given."""
        return {"input_type": "search_document", **question.parameters, "texts": [question.prompt]}

    def answer(self, output: Json) -> Answer:
        """The vector; with `embedding_types` in the request the vectors stand below their type."""
        typed = isinstance(member(output, "embeddings"), Mapping)
        vector = first_at(output, "embeddings", "float") if typed else first_at(output, "embeddings")
        return Answer(embedding=vector_of(vector), output_tokens=0)
