"""Reading answers that may have any shape.

What belongs here: taking a member out of an answer, or saying that it is not there, never what it is.
"""

from collections.abc import Mapping
from typing import Any

from bedrock_pipeline.models.family import ResponseShapeError

#: The largest 32-bit float.
_FLOAT32 = 3.4028234663852886e38
#: Above this a token count is not believed, so that the sums over a dataset fit 64 bits.
_COUNT = 2**40


def member(output: object, *path: str) -> Any:
    """A nested member of an answer.

    Raises:
        ResponseShapeError: it is not there.
    """
    value = output
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            raise ResponseShapeError(f"the answer has no {'.'.join(path)}")
        value = value[name]
    return value


def text_at(output: object, *path: str) -> str:
    """A member that must be text.

    Raises:
        ResponseShapeError: it is not there, or no text.
    """
    value = member(output, *path)
    if not isinstance(value, str):
        raise ResponseShapeError(f"{'.'.join(path)} is not text")
    return value


def list_at(output: object, *path: str) -> list[Any]:
    """A member that must be a list.

    Raises:
        ResponseShapeError: it is not there, or no list.
    """
    value = member(output, *path)
    if not isinstance(value, list):
        raise ResponseShapeError(f"{'.'.join(path)} is not a list")
    return value


def first_at(output: object, *path: str) -> Any:
    """The first element of a member that must be a list.

    Raises:
        ResponseShapeError: it is not there, no list, or empty.
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


def word_at(output: object, *path: str) -> str | None:
    """A member that an answer may lack; None where it is no text. An answer is not lost for want of it."""
    value = _optional(output, path)
    return value if isinstance(value, str) else None


def count_at(output: object, *path: str) -> int | None:
    """A count that an answer may lack; None where it is none. An answer is not lost for want of it."""
    value = _optional(output, path)
    return value if type(value) is int and 0 <= value < _COUNT else None


def blocks_at(output: object, *path: str) -> list[dict[str, Any]]:
    """A member that must be a list of content blocks.

    Raises:
        ResponseShapeError: it is not there, no list, or a block is no object.
    """
    blocks = list_at(output, *path)
    if not all(isinstance(block, dict) for block in blocks):
        raise ResponseShapeError("a content block is not an object")
    return blocks


def joined_text(blocks: list[dict[str, Any]]) -> str:
    """The text of all content blocks that have one; thinking, tool use and the like have none."""
    return "".join(block["text"] for block in blocks if isinstance(block.get("text"), str))


def _optional(output: object, path: tuple[str, ...]) -> Any:
    try:
        return member(output, *path)
    except ResponseShapeError:
        return None
