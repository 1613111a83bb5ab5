"""What a model family must be able to do.

What belongs here: the interface and its answer. Shapes of bodies and answers: the model parameter pages of the
Amazon Bedrock user guide, and `InvokeModel`'s documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Json = Mapping[str, Any]


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
    """Models that share the shape of body and answer."""

    name: str
    #: Whether answers are vectors.
    embeds: bool

    def owns(self, model: str) -> bool:
        """Whether a bare model id, such as `anthropic.claude-…`, is of this family."""
        ...

    def body(self, prompt: str, system: str | None, parameters: Json) -> dict[str, Any]:
        """The request body that asks `prompt`."""
        ...

    def answer(self, output: Json) -> Answer:
        """Read an answer.

        Raises:
            AnswerShapeError: it is not of this family's shape.
        """
        ...


def member(output: Json, *path: str) -> Any:
    """A nested member of an answer.

    Raises:
        AnswerShapeError: it is not there.
    """
    value: Any = output
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            raise AnswerShapeError(f"the answer has no {'.'.join(path)}")
        value = value[name]
    return value
