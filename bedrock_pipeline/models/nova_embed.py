"""Amazon Nova Multimodal Embeddings.

Source: "Complete embeddings request and response schema", Amazon Nova user guide:
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html.
"""

from typing import Any, ClassVar, Final

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
)
from bedrock_pipeline.models.shape import list_at, member, vector_of

_DIMENSIONS: Final = (256, 384, 1024, 3072)


class NovaEmbed(Family):
    """A text or an image in, one vector of 256, 384, 1,024 or 3,072 numbers out.

    Parameters are those of `singleEmbeddingParams`, and `truncationMode` of the text.
    """

    name = "nova-embed"
    embeds = True
    by_setting = by_prompt("text", images=("image",))
    takes: ClassVar[frozenset[Feature]] = frozenset({"images"})
    most_images = 1

    def owns(self, model: str) -> bool:
        """Nova's embedding models."""
        return model.startswith("amazon.nova-2-multimodal-embeddings")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """One embedding; a text that is too long is an error, unless `truncationMode` says otherwise."""
        given = {"embeddingPurpose": "GENERIC_INDEX", **model_request.parameters}
        mode = given.pop("truncationMode", "NONE")
        content: dict[str, Any] = (
            {"image": model_request.images[0]}
            if model_request.images
            else {"text": {"truncationMode": mode, "value": model_request.prompt}}
        )
        return {
            "schemaVersion": "nova-multimodal-embed-v1",
            "taskType": "SINGLE_EMBEDDING",
            "singleEmbeddingParams": {**given, **content},
        }

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not; or there are a text and an image.
        """
        super().check(model_request)
        check_dimension("embeddingDimension", model_request.parameters.get("embeddingDimension"), _DIMENSIONS)
        if model_request.images and model_request.prompt:
            raise BodyError(
                "Nova Multimodal Embeddings take a text or an image, not both.",
                "Set prompt='' to embed images.",
            )

    def image(self, kind: str, data: str) -> dict[str, Any]:
        """Format and bytes."""
        return {"format": kind, "source": {"bytes": data}}

    def answer(self, output: Json) -> ModelResponse:
        """The vector; there is no token count."""
        embeddings = list_at(output, "embeddings")
        if len(embeddings) != 1:
            raise ResponseShapeError(f"the answer has {len(embeddings)} embeddings, not one")
        return ModelResponse(embedding=vector_of(member(embeddings[0], "embedding")), output_tokens=0)
