"""Cohere Embed v3 and v4.

Sources: "Cohere Embed v3" and "Cohere Embed v4", Amazon Bedrock user guide:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed-v3.html and …/model-parameters-embed-v4.html.
`base64`, which Cohere's own API has, is an array of 32-bit floats, the lowest byte first.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from bedrock_pipeline.models.family import (
    BodyError,
    Family,
    Feature,
    Json,
    ModelRequest,
    ModelResponse,
    ResponseShapeError,
    by_prompt,
    check_dimension,
    check_vector_types,
)
from bedrock_pipeline.models.shape import first_at, member, quantized, vector_of

_DIMENSIONS: Final = (256, 512, 1024, 1536)


class CohereEmbed(Family):
    """One text or image in, one vector out; the API's lists have one element, so that a record is a row."""

    name = "cohere-embed"
    embeds = True
    by_setting = by_prompt("texts", images=("images", "inputs"))
    takes: ClassVar[frozenset[Feature]] = frozenset({"images"})
    most_images = 1

    def owns(self, model: str) -> bool:
        """Cohere's embedding models."""
        return model.startswith("cohere.embed")

    def vector_types(self, parameters: Json) -> tuple[str, ...]:
        """Those of `embedding_types`; floats without it."""
        return tuple(parameters.get("embedding_types", ("float",)))

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The text or the image; `input_type` is required by the API, and `search_document` or `image` by default."""
        if model_request.images:
            return {"input_type": "image", **model_request.parameters, "images": list(model_request.images)}
        return {"input_type": "search_document", **model_request.parameters, "texts": [model_request.prompt]}

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not; or there are a text and an image.
        """
        super().check(model_request)
        if model_request.images and model_request.prompt:
            raise BodyError(
                "Cohere Embed v3 takes a text or an image, not both.", "Set prompt='' to embed images."
            )

    def check_parameters(self, parameters: Json) -> None:
        """Check what `body` and `vector_types` rely on.

        Raises:
            BodyError: `embedding_types` is not a list, or as in other families.
        """
        super().check_parameters(parameters)
        check_vector_types(parameters, "embedding_types")

    def image(self, kind: str, data: str) -> Any:
        """A data URI."""
        return f"data:image/{kind};base64,{data}"

    def answer(self, output: Json) -> ModelResponse:
        """The vectors; with `embedding_types` in the request they are grouped by type."""
        typed = member(output, "embeddings")
        if not isinstance(typed, Mapping):
            return ModelResponse(embedding=vector_of(first_at(output, "embeddings")), output_tokens=0)
        given = {kind: first_at(typed, kind) for kind, vectors in typed.items() if vectors is not None}
        vectors = quantized(given)
        if "float" in given:
            embedding = vector_of(given["float"])
        elif "base64" in given:
            embedding = vector_of(_decoded(given["base64"]))
        elif vectors:
            embedding = None
        else:
            raise ResponseShapeError("embeddings has no known type")
        return ModelResponse(embedding=embedding, vectors=vectors, output_tokens=0)


class CohereEmbed4(CohereEmbed):
    """A text, an image, or both in; one vector of 256, 512, 1,024 or 1,536 numbers out."""

    name = "cohere-embed-v4"

    def owns(self, model: str) -> bool:
        """Cohere Embed v4."""
        return model.startswith("cohere.embed-v4")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The text, the image, or both as one mixed input."""
        given = {"input_type": "search_document", **model_request.parameters}
        if not model_request.images:
            return {**given, "texts": [model_request.prompt]}
        if not model_request.prompt:
            return {**given, "images": list(model_request.images)}
        pictures = [{"type": "image_url", "image_url": one} for one in model_request.images]
        return {**given, "inputs": [{"content": [*pictures, {"type": "text", "text": model_request.prompt}]}]}

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not.
        """
        Family.check(self, model_request)
        check_dimension("output_dimension", model_request.parameters.get("output_dimension"), _DIMENSIONS)


def _decoded(value: object) -> list[float]:
    try:
        data = base64.b64decode(value if isinstance(value, str) else "", validate=True)
        floats: list[float] = np.frombuffer(data, "<f4").tolist()
    except (binascii.Error, ValueError):
        raise ResponseShapeError("embeddings.base64 is no array of 32-bit floats") from None
    if not floats or not np.isfinite(floats).all():
        raise ResponseShapeError("embeddings.base64 is no array of 32-bit floats")
    return floats
