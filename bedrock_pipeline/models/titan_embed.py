"""Amazon Titan Text Embeddings v2, and Titan Multimodal Embeddings G1.

Sources: "Amazon Titan Embeddings G1 - Text" (which has v2 too) and "Amazon Titan Multimodal Embeddings G1", Amazon Bedrock
user guide: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and
…/model-parameters-titan-embed-mm.html.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from bedrock_pipeline.models.family import (
    BodyError,
    Family,
    Feature,
    Json,
    ModelRequest,
    ModelResponse,
    Plain,
    ResponseShapeError,
    by_prompt,
    check_dimension,
    check_vector_types,
)
from bedrock_pipeline.models.shape import VECTOR_RANGES, count_at, quantized, vector_of, word_at

_DIMENSIONS: Final = (256, 512, 1024)
_LENGTHS: Final = (256, 384, 1024)


class TitanEmbed(Family):
    """One text in, one vector of 256, 512 or 1,024 numbers out; of floats, of bits (`binary`), or both."""

    name = "titan-embed"
    embeds = True
    by_setting = by_prompt("inputText")
    plain = Plain(
        vector=("embedding",),
        input_tokens=("inputTextTokenCount",),
        unless=tuple(kind.encode() for kind in VECTOR_RANGES),
    )

    def owns(self, model: str) -> bool:
        """Titan's text embedding models."""
        return model.startswith("amazon.titan-embed-text")

    def vector_types(self, parameters: Json) -> tuple[str, ...]:
        """Those of `embeddingTypes`; floats without it."""
        return tuple(parameters.get("embeddingTypes", ("float",)))

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The text."""
        return {**model_request.parameters, "inputText": model_request.prompt}

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not.
        """
        super().check(model_request)
        check_dimension("dimensions", model_request.parameters.get("dimensions"), _DIMENSIONS)

    def check_parameters(self, parameters: Json) -> None:
        """Check what `body` and `vector_types` rely on.

        Raises:
            BodyError: `embeddingTypes` is not a list, or as in other families.
        """
        super().check_parameters(parameters)
        check_vector_types(parameters, "embeddingTypes")

    def answer(self, output: Json) -> ModelResponse:
        """The vectors; the token count is `inputTextTokenCount`, there is no `usage`.

        Bits are a list of 0 and 1 each.
        """
        by_type = output.get("embeddingsByType")
        typed = by_type if isinstance(by_type, Mapping) else {}
        vector = output.get("embedding")
        vector = typed.get("float") if vector is None else vector
        vectors = quantized(typed)
        if vector is None and not vectors:
            raise ResponseShapeError("the answer has no embedding")
        return ModelResponse(
            embedding=None if vector is None else vector_of(vector),
            vectors=vectors,
            input_tokens=count_at(output, "inputTextTokenCount"),
            output_tokens=0,
        )


class TitanImageEmbed(Family):
    """A text, an image, or both in; one vector of 256, 384 or 1,024 numbers out, of both their mean."""

    name = "titan-embed-image"
    embeds = True
    by_setting = by_prompt("inputText", images=("inputImage",))
    takes: ClassVar[frozenset[Feature]] = frozenset({"images"})
    plain = Plain(vector=("embedding",), input_tokens=("inputTextTokenCount",))
    most_images = 1

    def owns(self, model: str) -> bool:
        """Titan Multimodal Embeddings."""
        return model.startswith("amazon.titan-embed-image")

    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The image and the text; an empty text beside an image is left out."""
        text = {"inputText": model_request.prompt} if model_request.prompt or not model_request.images else {}
        picture = {"inputImage": model_request.images[0]} if model_request.images else {}
        return {**model_request.parameters, **picture, **text}

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not.
        """
        super().check(model_request)
        config = model_request.parameters.get("embeddingConfig", {})
        if not isinstance(config, Mapping):
            raise BodyError(
                "parameters.embeddingConfig is not an object.",
                'Write {"embeddingConfig": {"outputEmbeddingLength": 1024}}.',
            )
        check_dimension(
            "embeddingConfig.outputEmbeddingLength", config.get("outputEmbeddingLength"), _LENGTHS
        )

    def image(self, kind: str, data: str) -> str:  # noqa: ARG002  # the model looks itself
        """Its base64."""
        return data

    def answer(self, output: Json) -> ModelResponse:
        """The vector; `message` has an error of the model, which is otherwise null.

        Raises:
            ResponseShapeError: there is none; the message is the model's, which does not quote the input.
        """
        if output.get("embedding") is None:
            said = word_at(output, "message")
            raise ResponseShapeError(
                f"the answer has no embedding: {said}" if said else "the answer has no embedding"
            )
        return ModelResponse(
            embedding=vector_of(output["embedding"]),
            input_tokens=count_at(output, "inputTextTokenCount"),
            output_tokens=0,
        )
