"""What a model family must be able to do.

What belongs here: the interface, its question and its answer. A new family is a file beside this one with a subclass
of `Family`, and a line in `registry.py`. Shapes of bodies and answers: the model parameter pages of the Amazon Bedrock
user guide, and `InvokeModel`'s documentation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.models.plain import Plain

Json = Mapping[str, Any]


class BodyError(InvalidInputError, ValueError):
    """A family cannot render such a request."""


class ResponseShapeError(ValueError):
    """A model's answer is not of its family's shape; the message names the member, never its value."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """A structured answer that is asked for.

    Attributes:
        schema: JSON schema of an object, without references.
        by: `tool`, a tool that the model is made to use; or `schema`, the service's structured output.
    """

    schema: Json
    by: Literal["tool", "schema"] = "tool"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model, whatever its family.

    Attributes:
        parameters: go into the body in the model's own words. `max_tokens`, `temperature`, `top_p` and
            `stop_sequences` are understood by every family that has them, so that a pipeline can change its model.
        images: what the family's `image` made of them; they stand before the prompt.
        answer: the form of the answer; None leaves it to the model.
    """

    prompt: str
    system: str | None = None
    parameters: Json = field(default_factory=dict)
    images: Sequence[Any] = ()
    answer: AnswerFormat | None = None


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """What a model said, whatever its family.

    Attributes:
        text: the text of all content blocks, joined; None for embeddings.
        embedding: the vector; None for text.
        stop_reason: in the model's own word.
        input_tokens: tokens that were read; None where the answer does not say.
        output_tokens: tokens that were written; None where the answer does not say.
        tool_use: `{"name", "input"}` of each use of a tool, in order.
        content: all content blocks as the model gave them, where one is neither text nor the use of a tool.
    """

    text: str | None = None
    embedding: list[float] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tool_use: tuple[Json, ...] = ()
    content: list[Any] | None = None


#: What a family may take: a system prompt, images, a structured answer by tool or by schema.
Feature = Literal["system", "images", "tool", "schema"]
_ASKED: Final[Mapping[Feature, str]] = {
    "system": "a system prompt",
    "images": "images",
    "tool": "a structured answer by tool",
    "schema": "a structured answer by schema",
}


class Family(ABC):
    """Models that share the shape of body and answer: a file each, and a line in `registry.py`."""

    name: ClassVar[str]
    #: Whether answers are vectors.
    embeds: ClassVar[bool] = False
    takes: ClassVar[frozenset[Feature]] = frozenset()
    #: Where ordinary answers have what `answer` reads; None where each is read by itself.
    plain: ClassVar[Plain | None] = None

    @abstractmethod
    def owns(self, model: str) -> bool:
        """Whether a bare model id, such as `anthropic.claude-…`, is of this family."""

    @abstractmethod
    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The request body of a question that asks for nothing but what the family takes.

        Raises:
            BodyError: a parameter is not one of the family's.
        """

    @abstractmethod
    def answer(self, output: Json) -> ModelResponse:
        """Read an answer.

        Raises:
            ResponseShapeError: it is not of this family's shape.
        """

    def image(self, kind: str, data: str) -> Any:  # noqa: ARG002  # for those that take images
        """An image in the body: its kind (`png`, `jpeg`, `gif` or `webp`) and its base64.

        Raises:
            BodyError: the family takes none.
        """
        raise self._refusal("images")

    def check(self, model_request: ModelRequest) -> None:
        """Refuse what the family does not take.

        Raises:
            BodyError: says what, and what to do.
        """
        asked: dict[Feature, object] = {"system": model_request.system, "images": model_request.images}
        if model_request.answer:
            asked[model_request.answer.by] = model_request.answer
        for feature, value in asked.items():
            if value and feature not in self.takes:
                raise self._refusal(feature)

    def _refusal(self, feature: Feature) -> BodyError:
        return BodyError(
            f"The bodies of {self.name} have no place for {_ASKED[feature]}.",
            "Leave it out."
            if self.embeds
            else "Leave it out, or set invocation='Converse' where the model has it.",
        )


def renamed(parameters: Json, names: Mapping[str, str]) -> dict[str, Any]:
    """Parameters with the common names replaced by the family's own."""
    return {names.get(name, name): value for name, value in parameters.items()}


def with_answer(parameters: Json, asked: Json) -> dict[str, Any]:
    """Parameters, and the members that ask for a structured answer.

    Raises:
        BodyError: the parameters have one of these members themselves.
    """
    if doubled := asked.keys() & parameters.keys():
        raise BodyError(
            f"The parameters have {', '.join(sorted(doubled))}, which the structured answer needs.",
            "Leave them out, or leave out answer_schema.",
        )
    return {**parameters, **asked}
