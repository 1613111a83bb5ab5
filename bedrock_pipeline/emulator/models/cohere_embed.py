"""Cohere Embed: texts or images, and a vector of each.

Source: "Cohere Embed v3" and "Cohere Embed v4", Amazon Bedrock user guide.
"""

from collections.abc import Callable
from typing import Any, Final

from bedrock_pipeline.emulator.models import rules
from bedrock_pipeline.emulator.models.catalog import ModelCard
from bedrock_pipeline.emulator.models.reply import (
    Body,
    Reply,
    check_amazon_types,
    digest,
    malformed,
    reject_extraneous,
    tokens,
    vector,
)

PREFIXES: Final = ("cohere.embed",)
ANY: Final = ModelCard("cohere.embed", "cohere_embed", vectors=(1024,))
_MEMBERS = ("texts", "images", "input_type", "truncate", "embedding_types")
_V4_MEMBERS = (*_MEMBERS, "inputs", "output_dimension", "max_tokens")
_SHAPE = {
    "texts": [str],
    "images": [str],
    "inputs": [{"content": [{"text": str, "image_url": (str, dict)}]}],
    "input_type": str,
    "embedding_types": [str],
    "output_dimension": int,
    "truncate": str,
}
_INPUT_TYPES = ("search_document", "search_query", "classification", "clustering", "image")
_MOST_TEXTS, _MOST_CHARACTERS = 96, 2048
_IMAGE_TOKENS = 1600
_TYPES: Final[dict[str, Callable[[list[float]], list[Any]]]] = {
    "float": lambda values: values,
    "int8": lambda values: [max(-128, min(127, round(value * 127))) for value in values],
    "uint8": lambda values: [max(0, min(255, round(value * 127) + 128)) for value in values],
    "binary": lambda values: [byte - 128 for byte in _bits(values)],
    "ubinary": lambda values: _bits(values),
}


def answer(body: Body, card: ModelCard = ANY, *, batch: bool = False) -> Reply:  # noqa: ARG001  # a family's shape
    """A vector for each text, image or mix of both; with `embedding_types`, below their type."""
    fourth = len(card.vectors) > 1
    reject_extraneous(body, _V4_MEMBERS if fourth else _MEMBERS)
    check_amazon_types(_SHAPE, body)
    if body.get("input_type") not in _INPUT_TYPES:
        raise malformed("#: required key [input_type] not found")
    given = [name for name in ("texts", "images", "inputs") if body.get(name)]
    if len(given) != 1:
        raise malformed(f"#: expected one of [texts], [images] or [inputs], found {len(given)}")
    items, spent = _items(given[0], body[given[0]], card, fourth=fourth)
    size = body.get("output_dimension", card.vectors[0])
    if size not in card.vectors:
        raise malformed("#/output_dimension: not a valid enum value")
    types = body.get("embedding_types")
    if types is not None and (not isinstance(types, list) or not set(types) <= _TYPES.keys()):
        raise malformed("#/embedding_types: not a valid enum value")
    vectors = [vector(item, size) for item in items]
    by_type = {kind: [_TYPES[kind](one) for one in vectors] for kind in types or ()}
    answered: Body = {
        "id": digest("\n".join(items))[:32],
        "embeddings": by_type or vectors,
        "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
    }
    if given[0] == "texts":
        answered["texts"] = items
    return Reply(answered, spent, 0)


def _items(name: str, given: Any, card: ModelCard, *, fourth: bool) -> tuple[list[str], int]:
    """What there is a vector of, as text; and the tokens of all."""
    most = _MOST_TEXTS if name == "texts" or fourth else 1
    if not isinstance(given, list) or len(given) > most:
        raise malformed(f"#/{name}: expected maximum item count: {most}, found: {len(given)}")
    if name == "inputs":
        items = [_mixed(one, f"#/inputs/{number}") for number, one in enumerate(given)]
    elif all(isinstance(one, str) for one in given):
        items = given
    else:
        raise malformed(f"#/{name}: expected type: String")
    if name == "images" and not all(one.startswith("data:image/") for one in items):
        raise malformed("#/images: expected data URIs of images")
    for number, text in enumerate(items if name == "texts" and not fourth else ()):
        if len(text) > _MOST_CHARACTERS:
            raise malformed(f"#/texts/{number}: expected maxLength: {_MOST_CHARACTERS}, actual: {len(text)}")
    sizes = [_IMAGE_TOKENS if one.startswith("data:image/") else tokens(one) for one in items]
    rules.check_length(card, max(sizes))
    return items, sum(sizes)


def _mixed(given: Any, where: str) -> str:
    parts = (given or {}).get("content")
    if not isinstance(parts, list) or not parts:
        raise malformed(f"{where}: required key [content] not found")
    return "\n".join(str(part.get("text") or part.get("image_url") or "") for part in parts)


def _bits(values: list[float]) -> list[int]:
    """Eight signs in a byte."""
    signs = "".join("1" if value > 0 else "0" for value in values)
    return [int(signs[place : place + 8], 2) for place in range(0, len(signs), 8)]
