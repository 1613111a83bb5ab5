"""The emulated models.

What belongs here: which model answers for an id. A family is a file beside this one, with `PREFIXES` of the ids that
are its own and `answer`, which takes a body and gives a `Reply` or raises `BodyError`.
"""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from bedrock_pipeline.emulator.models import (
    claude,
    cohere_embed,
    converse,
    llama,
    mistral,
    nova,
    titan_embed,
)
from bedrock_pipeline.emulator.models.reply import Body, BodyError, Model, Reply

__all__ = ["Body", "BodyError", "Model", "Models", "Reply"]

_FAMILIES = (claude, titan_embed, nova, llama, mistral, cohere_embed)
_EMBED = (*titan_embed.PREFIXES, *cohere_embed.PREFIXES)
_GEOGRAPHIES = ("us", "eu", "apac", "global", "jp", "au", "ca", "us-gov")


class Models:
    """The models of one emulator.

    Args:
        replaced: models that answer instead of the emulated ones, by the beginning of the id.
    """

    def __init__(self, replaced: dict[str, Model] | None = None) -> None:
        self._replaced = replaced or {}

    def supports(self, model_id: str) -> bool:
        """Whether the model is known."""
        return self._find(bare_id(model_id)) is not None

    def answer(self, model_id: str, body: Body) -> Reply:
        """The answer to a body in the family's native shape.

        Raises:
            BodyError: the body is not what the model takes.
        """
        model = self._find(bare_id(model_id))
        if model is None:
            raise BodyError("The provided model identifier is invalid.")
        return model(body)

    def converse(self, model_id: str, body: Body) -> Reply:
        """The answer to a body of the Converse API.

        Raises:
            BodyError: the body is not what the API takes, or the model makes no text.
        """
        if bare_id(model_id).startswith(_EMBED):
            raise BodyError("The model does not support the Converse API.")
        return converse.answer(body)

    def _find(self, model: str) -> Model | None:
        own = next((one for start, one in self._replaced.items() if model.startswith(start)), None)
        return own or next((family.answer for family in _FAMILIES if model.startswith(family.PREFIXES)), None)


def bare_id(model_id: str) -> str:
    """The id of the model behind an inference profile of a geography, or an ARN; a custom model's is its base's."""
    _, custom, rest = model_id.partition(":custom-model/")
    name = rest.partition("/")[0] if custom else model_id.rpartition("/")[2]
    geography, _, rest = name.partition(".")
    return rest if geography in _GEOGRAPHIES else name


def load_models(given: Iterable[str]) -> Models:
    """Models from `ID=module:function`; the function takes a body and returns the answer's body.

    Raises:
        ValueError: one is not of that form, or cannot be imported.
    """
    replaced: dict[str, Model] = {}
    for one in given:
        model_id, _, target = one.partition("=")
        module, _, function = target.partition(":")
        if not (model_id and module and function):
            raise ValueError(f"{one!r} is not of the form ID=module:function")
        try:
            replaced[model_id] = _counted(getattr(importlib.import_module(module), function))
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{target} cannot be imported: {error}") from error
    return Models(replaced)


def _counted(function: Callable[[Body], Body]) -> Model:
    """A function as a model: whatever it raises is the record's error, its usage is read where families have it."""

    def model(body: Body) -> Reply:
        try:
            said = function(body)
        except Exception as error:
            raise BodyError(f"{type(error).__name__}: {error}") from error
        usage: dict[str, Any] = said.get("usage") or {}
        spent = usage.get("input_tokens", usage.get("inputTokens", said.get("inputTextTokenCount", 0)))
        made = usage.get("output_tokens", usage.get("outputTokens", 0))
        return Reply(said, int(spent or 0), int(made))

    return model
