"""What a model family must be able to do.

What belongs here: the interface, its answer, and reading a member of an answer that may have any shape. Shapes
of bodies and answers: the model parameter pages of the Amazon Bedrock user guide, and `InvokeModel`'s
documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bedrock_pipeline.errors import BedrockPipelineError

Json = Mapping[str, Any]


class BodyError(BedrockPipelineError, ValueError):
    """A family cannot render such a request."""


class AnswerShapeError(ValueError):
    """A model's answer is not of its family's shape; the message names the member, never its value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, whatever its family.

    Attributes:
        text: the text of all content blocks, joined; None for embeddings.
        embedding: the vector; None for text.
        stop_reason: in the model's own word.
        input_tokens: tokens that were read; None where the answer does not say.
        output_tokens: tokens that were written; None where the answer does not say.
    """

    text: str | None = None
    embedding: list[float] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Family(Protocol):
    """Models that share the shape of body and answer.

    `parameters` go into the body in the model's own words. `max_tokens`, `temperature`, `top_p` and
    `stop_sequences` are understood by every family that has them, so that a pipeline can change its model.
    """

    name: str
    #: Whether answers are vectors.
    embeds: bool

    def owns(self, model: str) -> bool:
        """Whether a bare model id, such as `anthropic.claude-…`, is of this family."""
        ...

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """The request body that asks `prompt`.

        Raises:
            BodyError: the family has no such request.
        """
        ...

    def answer(self, output: Json) -> Answer:
        """Read an answer.

        Raises:
            AnswerShapeError: it is not of this family's shape.
        """
        ...


def member(output: object, *path: str) -> Any:
    """A nested member of an answer.

    Raises:
        AnswerShapeError: it is not there.
    """
    value = output
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            raise AnswerShapeError(f"the answer has no {'.'.join(path)}")
        value = value[name]
    return value


def text_at(output: object, *path: str) -> str:
    """A member that must be text.

    Raises:
        AnswerShapeError: it is not there, or no text.
    """
    value = member(output, *path)
    if not isinstance(value, str):
        raise AnswerShapeError(f"{'.'.join(path)} is not text")
    return value


def list_at(output: object, *path: str) -> list[Any]:
    """A member that must be a list.

    Raises:
        AnswerShapeError: it is not there, or no list.
    """
    value = member(output, *path)
    if not isinstance(value, list):
        raise AnswerShapeError(f"{'.'.join(path)} is not a list")
    return value


def first_at(output: object, *path: str) -> Any:
    """The first element of a member that must be a list.

    Raises:
        AnswerShapeError: it is not there, no list, or empty.
    """
    values = list_at(output, *path)
    if not values:
        raise AnswerShapeError(f"{'.'.join(path)} is empty")
    return values[0]


def vector_of(value: object) -> list[float]:
    """A vector.

    Raises:
        AnswerShapeError: it is no list of numbers.
    """
    if not isinstance(value, list) or not all(type(number) in (float, int) for number in value):
        raise AnswerShapeError("the embedding is not a list of numbers")
    return value


def word_at(output: object, *path: str) -> str | None:
    """A member that an answer may lack; None where it is no text. An answer is not lost for want of it."""
    value = _optional(output, path)
    return value if isinstance(value, str) else None


def count_at(output: object, *path: str) -> int | None:
    """A count that an answer may lack; None where it is none. An answer is not lost for want of it."""
    value = _optional(output, path)
    return value if type(value) is int and 0 <= value < 2**63 else None


def joined_text(blocks: list[Any]) -> str:
    """The text of all content blocks that have one; thinking, tool use and the like have none.

    Raises:
        AnswerShapeError: a block is no object.
    """
    if not all(isinstance(block, Mapping) for block in blocks):
        raise AnswerShapeError("a content block is no object")
    return "".join(block["text"] for block in blocks if isinstance(block.get("text"), str))


def renamed(parameters: Json, names: Mapping[str, str]) -> dict[str, Any]:
    """Parameters with the common names replaced by the family's own."""
    return {names.get(name, name): value for name, value in parameters.items()}


def _optional(output: object, path: tuple[str, ...]) -> Any:
    try:
        return member(output, *path)
    except AnswerShapeError:
        return None
