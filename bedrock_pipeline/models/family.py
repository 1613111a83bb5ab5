"""What a model family must implement.

A new family is a file beside this one with a subclass of `Family`, and a line in `registry.py`. Shapes of bodies and
outputs: the model parameter pages of the Amazon Bedrock user guide, and `InvokeModel`'s documentation.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, TypeAlias

import orjson

from bedrock_pipeline.errors import InvalidInputError

Json = Mapping[str, Any]
#: What a text that is not empty has; a pattern for Python and for Arrow.
INK: Final = re.compile(r"[^ \t\r\n]")
#: Types of content blocks that are no answer by themselves; text is looked at apart. No set: a type can be a list, which has no
#: hash.
_REASONING: Final = ("text", "thinking", "redacted_thinking", "reasoning")
#: How a structured response is requested: by a tool that the model must call, or by the service's structured output.
AnswerBy = Literal["tool", "schema"]
#: Who says a message.
Role = Literal["user", "assistant"]


class BodyError(InvalidInputError, ValueError):
    """A family cannot render such a request."""


class ResponseShapeError(ValueError):
    """A model's output does not have its family's shape; the message names the member, never its value."""


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """The form of a structured response.

    Attributes:
        schema: JSON schema of an object, without references.
        by: `tool`, a tool that the model must call; or `schema`, the service's structured output.
    """

    schema: Json
    by: AnswerBy = "tool"


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a conversation.

    Attributes:
        role: who says it.
        content: texts, and other blocks as the family's `image` and `document` encoded them.
    """

    role: Role
    content: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request, independent of the model family.

    Attributes:
        prompt: the last message of the user; None where `before` is the whole conversation.
        parameters: go into the body under the model's own names. Every family that has `max_tokens`, `temperature`,
            `top_p` and `stop_sequences` accepts these names, so that a pipeline can change its model.
        images: images and documents, as the family's `image` and `document` encoded them; they precede the prompt.
        answer: the form of a structured response; None leaves the form to the model.
        before: the messages before the prompt.
    """

    prompt: str | None
    system: str | None = None
    parameters: Json = field(default_factory=dict)
    images: Sequence[Any] = ()
    answer: AnswerFormat | None = None
    before: Sequence[Turn] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The whole conversation."""
        prompt = () if self.prompt is None else (Turn("user", (*self.images, self.prompt)),)
        return (*self.before, *prompt)


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """A model's response, independent of the model family.

    Attributes:
        text: the text of all content blocks, joined; None for embeddings.
        embedding: the vector; None for text.
        stop_reason: as the model names it.
        input_tokens: tokens that the model read; None if the output does not have the count.
        output_tokens: tokens that the model wrote; None if the output does not have the count.
        tool_use: `{"name", "input"}` of each tool call, in order.
        content: all content blocks unchanged, if one is neither text nor a tool call.
        declined: whether the output says that the model declined, other than by its stop reason.
        vectors: vectors of whole numbers, by their type (`int8`, `uint8`, `binary`, `ubinary`).
    """

    text: str | None = None
    embedding: list[float] | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tool_use: tuple[Json, ...] = ()
    content: list[Any] | None = None
    vectors: Mapping[str, list[int]] = field(default_factory=dict)
    declined: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it is of text and has none, nor a tool call, nor a block of another kind than reasoning."""
        return (
            self.text is not None
            and not INK.search(self.text)
            and not self.tool_use
            and all(map(_is_reasoning, self.content or ()))
        )


def _is_reasoning(block: Any) -> bool:
    """Whether a content block has reasoning or text alone; members that are not set can be null."""
    if not isinstance(block, Mapping):
        return False
    if "type" in block:
        return block["type"] in _REASONING
    return all(value is None or name in ("text", "reasoningContent") for name, value in block.items())


Path: TypeAlias = tuple[str, ...]
#: In a path: the element of a list with one element.
ONLY: Final = "[]"


@dataclass(frozen=True, slots=True)
class Plain:
    """Paths in an ordinary output of a model, so that responses with only a text, or one tool call, are read many at a time.

    `Family.answer` reads every output that they do not fit; if they fit, both give the same.

    Attributes:
        text: the text; an output without it is not plain. None for embeddings and tool calls.
        tool_input: the object with which a tool is called, in place of a text; an output without it is not plain.
        vector: the vector of floats, in place of a text; an output without it is not plain.
        stop_reason: may be missing.
        input_tokens: may be missing.
        output_tokens: may be missing; for embeddings there are none.
        words: texts that must be there, in ASCII.
        closed: an object of which all members that no path leads to must be null; None if there is none.
        unless: an output that has something other than null under one of these keys, at any depth, is not plain.
        unless_text_begins: an output whose text begins so is not plain; a pattern for Python and for Arrow.
    """

    text: Path | None = None
    stop_reason: Path | None = None
    input_tokens: Path | None = None
    output_tokens: Path | None = None
    vector: Path | None = None
    tool_input: Path | None = None
    words: tuple[tuple[Path, str], ...] = ()
    closed: Path | None = None
    unless: tuple[bytes, ...] = ()
    unless_text_begins: str | None = None


#: What a family may support: a system prompt, messages before the prompt, images, documents, a structured response by tool
#: or by schema.
Feature = Literal["system", "turns", "images", "documents", "tool", "schema"]
_FEATURES: Final[Mapping[Feature, str]] = {
    "system": "a system prompt",
    "turns": "messages and examples",
    "images": "images",
    "documents": "documents",
    "tool": "a structured response by tool",
    "schema": "a structured response by schema",
}


#: `Family.by_setting` where bodies have a conversation.
CONVERSATION: Final = {"system": "system", "messages": "prompt, messages or examples"}


def by_prompt(*texts: str, images: Sequence[str] = ()) -> dict[str, str]:
    """`Family.by_setting` where bodies have the prompt, and images, under these names."""
    return {**dict.fromkeys(texts, "prompt"), **dict.fromkeys(images, "images")}


class Family(ABC):
    """Models that share the shape of body and output: a file each, and a line in `registry.py`."""

    name: ClassVar[str]
    #: Whether responses are vectors.
    embeds: ClassVar[bool] = False
    takes: ClassVar[frozenset[Feature]] = frozenset()
    #: The members of a body that a pipeline's own settings make, and the setting to use for each.
    by_setting: ClassVar[Mapping[str, str]] = {}
    #: How many images a request can have; None if the family has no limit of its own.
    most_images: ClassVar[int | None] = None
    #: Where a body may have the largest number of tokens of its response.
    limits: ClassVar[tuple[Path, ...]] = ()
    #: Where ordinary outputs have what `answer` reads; None if each is read by itself.
    plain: ClassVar[Plain | None] = None
    #: The same for outputs with one call of the tool of structured responses.
    plain_tool: ClassVar[Plain | None] = None

    @abstractmethod
    def owns(self, model: str) -> bool:
        """Whether a bare model id, such as `anthropic.claude-…`, is of this family."""

    def vector_types(self, parameters: Json) -> tuple[str, ...]:  # noqa: ARG002  # for those that have several
        """The types of the vectors that are requested by a pipeline's parameters."""
        return ("float",) if self.embeds else ()

    @abstractmethod
    def body(self, model_request: ModelRequest) -> dict[str, Any]:
        """The body of a request that passed `check`.

        Raises:
            BodyError: a parameter is not one of the family's.
        """

    @abstractmethod
    def answer(self, output: Json) -> ModelResponse:
        """Read a model's output.

        Raises:
            ResponseShapeError: it does not have this family's shape.
        """

    def image(self, kind: str, data: str) -> Any:  # noqa: ARG002  # for those that take images
        """An image in the body: its kind (`png`, `jpeg`, `gif` or `webp`) and its base64.

        Raises:
            BodyError: the family takes none.
        """
        raise self._unsupported("images")

    def document(self, kind: str, name: str, data: bytes) -> Any:  # noqa: ARG002  # for those that take documents
        """A document in the body: its kind (`pdf`, `docx`, `txt`, …), its name and its bytes.

        Raises:
            BodyError: the family takes none, or none of this kind.
        """
        raise self._unsupported("documents")

    def conversation(self, system: str | None, turns: Sequence[Turn]) -> dict[str, Any]:  # noqa: ARG002
        """The members of a body that hold the system prompt and the messages.

        Raises:
            BodyError: the family's bodies have a prompt instead.
        """
        raise self._unsupported("turns")

    def check_parameters(self, parameters: Json) -> None:
        """Check what `body` and `vector_types` rely on.

        Raises:
            BodyError: a parameter is not JSON, has the wrong type, or is what another setting makes.
        """
        try:
            orjson.dumps(parameters)
            json.dumps(parameters, allow_nan=False)
        except (TypeError, ValueError):
            raise BodyError(
                "The parameters have a value that JSON does not have.",
                "Give texts, finite numbers of at most 64 bits, true, false, null, lists and objects of these.",
            ) from None
        for name in self.by_setting.keys() & parameters.keys():
            raise BodyError(
                f"parameters.{name}: this member of the request body is made from {self.by_setting[name]}.",
                f"Give it in {self.by_setting[name]} instead.",
            )

    def check(self, model_request: ModelRequest) -> None:
        """Check that the family supports everything in a request.

        Raises:
            BodyError: it does not.
        """
        self.check_parameters(model_request.parameters)
        asked: dict[Feature, object] = {
            "system": model_request.system,
            "turns": model_request.before,
            "images": model_request.images,
        }
        if model_request.answer:
            asked[model_request.answer.by] = model_request.answer
        for feature, value in asked.items():
            if value and feature not in self.takes:
                raise self._unsupported(feature)

    def _unsupported(self, feature: Feature) -> BodyError:
        return BodyError(
            f"Model family {self.name} does not support {_FEATURES[feature]}.",
            "Leave it out."
            if self.embeds
            else "Leave it out, or set invocation='Converse' if the model supports it.",
        )


def check_dimension(parameter: str, given: object, allowed: Sequence[int]) -> None:
    """Check the length of a vector, if the parameters have one.

    Raises:
        BodyError: the model has no vectors of this length.
    """
    if given is not None and (type(given) is not int or given not in allowed):
        *most, last = map(str, allowed)
        raise BodyError(
            f"The model has no vectors of {given} dimensions.",
            f"Set parameters.{parameter} to {', '.join(most)} or {last}.",
        )


def check_vector_types(parameters: Json, parameter: str) -> None:
    """Check that the types of vectors are a list, if the parameters have them.

    Raises:
        BodyError: they are not.
    """
    given = parameters.get(parameter, ["float"])
    if not isinstance(given, list | tuple) or not given or not all(isinstance(one, str) for one in given):
        raise BodyError(
            f"parameters.{parameter} is not a list of types.", f'Write {{"{parameter}": ["float"]}}.'
        )


def renamed(parameters: Json, names: Mapping[str, str]) -> dict[str, Any]:
    """Parameters with the common names replaced by the family's own.

    Raises:
        BodyError: a parameter is given under both names.
    """
    for common, own in names.items():
        if common in parameters and own in parameters:
            raise given_twice(common, own)
    return {names.get(name, name): value for name, value in parameters.items()}


def given_twice(name: str, other: str) -> BodyError:
    """The error that one parameter has two names."""
    return BodyError(f"The parameters have {name} and {other}, which are the same.", "Leave one of them out.")


def with_answer(parameters: Json, asked: Json) -> dict[str, Any]:
    """Parameters, and the members that request a structured response; an object that both have gets the members of both.

    Raises:
        BodyError: the parameters have one of these members themselves.
    """
    whole = dict(parameters)
    for name, value in asked.items():
        given = parameters.get(name)
        if name not in parameters:
            whole[name] = value
        elif not isinstance(given, Mapping) or not isinstance(value, Mapping):
            raise _reserved(name)
        elif both := sorted(given.keys() & value.keys()):
            raise _reserved(f"{name}.{both[0]}")
        else:
            whole[name] = {**given, **value}
    return whole


def _reserved(name: str) -> BodyError:
    return BodyError(
        f"The parameters have {name}, which the structured response needs.",
        "Leave it out, or leave out answer_schema.",
    )
