"""Amazon Titan's embeddings.

Source: "Amazon Titan Embeddings Text" and "Amazon Titan Multimodal Embeddings G1", Amazon Bedrock user guide.
"""

from typing import Any, Final

from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    BodyError,
    Reply,
    check_amazon_types,
    malformed,
    reject_extraneous,
    tokens,
    vector,
)

PREFIXES: Final = ("amazon.titan-embed-text", "amazon.titan-embed-image")
ANY: Final = ModelCard("amazon.titan-embed-text-v2", "titan_embed", input=("text",), vectors=(1024, 512, 256))
_MOST_CHARACTERS = 50_000
_MEMBERS = ("inputText", "dimensions", "normalize", "embeddingTypes")
_IMAGE_MEMBERS = ("inputText", "inputImage", "embeddingConfig")
_SHAPE = {
    "inputText": str,
    "dimensions": int,
    "normalize": bool,
    "embeddingTypes": [str],
    "inputImage": str,
    "embeddingConfig": {"outputEmbeddingLength": int},
}
_TYPES = ("float", "binary")


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:  # noqa: ARG001  # a family's shape
    """A vector; there is no `usage`."""
    check_amazon_types(_SHAPE, body)
    if "image" in card.input:
        return _multimodal(body, card)
    second = len(card.vectors) > 1
    reject_extraneous(body, _MEMBERS if second else ("inputText",))
    text = _text(body, card)
    if text is None:
        raise malformed("#: required key [inputText] not found")
    size = body.get("dimensions", card.vectors[0])
    if size not in card.vectors:
        raise malformed("#/dimensions: not a valid enum value")
    types = body.get("embeddingTypes", ["float"])
    if not isinstance(types, list) or not types or not set(types) <= set(_TYPES):
        raise malformed("#/embeddingTypes: not a valid enum value")
    values = vector(text, size, normalize=body.get("normalize", True))
    answered: Body = {"inputTextTokenCount": tokens(text)}
    if "float" in types:
        answered["embedding"] = values
    if second:
        by_type: dict[str, list[Any]] = {"float": values, "binary": [int(value > 0) for value in values]}
        answered["embeddingsByType"] = {kind: by_type[kind] for kind in types}
    return Reply(answered, tokens(text), 0)


def _multimodal(body: Body, card: ModelCard) -> Reply:
    reject_extraneous(body, _IMAGE_MEMBERS)
    text, picture = _text(body, card), body.get("inputImage")
    if text is None and picture is None:
        raise malformed("#: required key [inputText] or [inputImage] not found")
    size = (body.get("embeddingConfig") or {}).get("outputEmbeddingLength", card.vectors[0])
    if size not in card.vectors:
        raise malformed("#/embeddingConfig/outputEmbeddingLength: not a valid enum value")
    counted = tokens(text) if text else 0
    values = vector(f"{text or ''}\n{picture or ''}", size)
    return Reply({"embedding": values, "inputTextTokenCount": counted, "message": None}, counted, 0)


def _text(body: Body, card: ModelCard) -> str | None:
    text = body.get("inputText")
    if text is None:
        return None
    if not isinstance(text, str):
        raise malformed("#/inputText: expected type: String")
    if not text:
        raise malformed("expected minLength: 1, actual: 0")
    if len(text) > _MOST_CHARACTERS:
        raise malformed(f"expected maxLength: {_MOST_CHARACTERS}, actual: {len(text)}")
    if card.max_input is not None and tokens(text) > card.max_input:
        raise BodyError(
            f"400 Bad Request: Too many input tokens. Max input tokens: {card.max_input}, "
            f"request input token count: {tokens(text)} "
        )
    return text
