"""Reading outputs that may have any shape.

Errors name the member, never its value.
"""

from collections.abc import Mapping
from typing import Any, Final

from bedrock_pipeline.models.family import ResponseShapeError

#: The largest 32-bit float.
_FLOAT32 = 3.4028234663852886e38
#: Types of vectors of whole numbers, and the numbers that each may have. Bits are packed in bytes, or are 0 and 1 each.
VECTOR_RANGES: Final = {"int8": (-128, 127), "uint8": (0, 255), "binary": (-128, 127), "ubinary": (0, 255)}
#: Token counts are below this, so that their sum over a dataset fits 64 bits.
_COUNT = 2**40


def member(output: object, *path: str) -> Any:
    """A nested member of an output.

    Raises:
        ResponseShapeError: it is not there.
    """
    value = output
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raise ResponseShapeError(f"the answer has no {'.'.join(path)}")
        value = value[name]
    return value


def text_at(output: object, *path: str) -> str:
    """A member that must be text.

    Raises:
        ResponseShapeError: it is not there, or not text.
    """
    value = member(output, *path)
    if not isinstance(value, str):
        raise ResponseShapeError(f"{'.'.join(path)} is not text")
    return value


def list_at(output: object, *path: str) -> list[Any]:
    """A member that must be a list.

    Raises:
        ResponseShapeError: it is not there, or not a list.
    """
    value = member(output, *path)
    if not isinstance(value, list):
        raise ResponseShapeError(f"{'.'.join(path)} is not a list")
    return value


def first_at(output: object, *path: str) -> Any:
    """The first element of a member that must be a list.

    Raises:
        ResponseShapeError: it is not there, not a list, or empty.
    """
    values = list_at(output, *path)
    if not values:
        raise ResponseShapeError(f"{'.'.join(path)} is empty")
    return values[0]


def vector_of(value: object) -> list[float]:
    """A vector of 32-bit floats.

    Raises:
        ResponseShapeError: it is not a list of numbers, or a number is too large.
    """
    if not isinstance(value, list) or not {*map(type, value)} <= {int, float}:
        raise ResponseShapeError("the embedding is not a list of numbers")
    if value and max(map(abs, value)) > _FLOAT32:
        raise ResponseShapeError("the embedding has a number that is too large")
    return list(map(float, value))


def quantized(vectors: Mapping[str, Any]) -> dict[str, list[int]]:
    """The vectors of whole numbers among vectors by type.

    Raises:
        ResponseShapeError: one is not a list of the numbers that its type has.
    """
    found = {kind: vectors[kind] for kind in VECTOR_RANGES if vectors.get(kind) is not None}
    for kind, vector in found.items():
        low, high = VECTOR_RANGES[kind]
        if not isinstance(vector, list) or not {*map(type, vector)} <= {int}:
            raise ResponseShapeError(f"the embedding of type {kind} is not a list of whole numbers")
        if vector and not (low <= min(vector) and max(vector) <= high):
            raise ResponseShapeError(f"the embedding of type {kind} has a number beyond {low} to {high}")
    return found


def word_at(output: object, *path: str) -> str | None:
    """An optional member; None if it is not text. Without it the response is still usable."""
    value = _optional(output, path)
    return value if isinstance(value, str) else None


def count_at(output: object, *path: str) -> int | None:
    """An optional count; None if it is not a count. Without it the response is still usable."""
    value = _optional(output, path)
    return value if type(value) is int and 0 <= value < _COUNT else None


def blocks_at(output: object, *path: str) -> list[dict[str, Any]]:
    """A member that must be a list of content blocks.

    Raises:
        ResponseShapeError: it is not there, not a list, or a block is not an object.
    """
    blocks = list_at(output, *path)
    if not all(isinstance(block, dict) for block in blocks):
        raise ResponseShapeError("a content block is not an object")
    return blocks


def joined_text(blocks: list[dict[str, Any]]) -> str:
    """The text of all content blocks that have text; thinking and tool use have none."""
    return "".join(block["text"] for block in blocks if isinstance(block.get("text"), str))


def _optional(output: object, path: tuple[str, ...]) -> Any:
    value = output
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value
