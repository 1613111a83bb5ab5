"""The emulated models.

What belongs here: which model answers for an id, and what a job may not ask of any. A family is a file beside this
one: `PREFIXES` of the ids that are its own, the card of a model that nothing is known about, and `answer`, which takes
a body and a card and gives a `Reply` or raises `BodyError`. What is known about single models is in `catalog.toml`.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from bedrock_pipeline.emulator.behaviour import BatchTools, Behaviour, ModelFeatures, Quota, UnknownModels
from bedrock_pipeline.emulator.models import (
    chat,
    claude,
    cohere_embed,
    converse,
    llama,
    mistral,
    nova,
    nova_embed,
    titan_embed,
)
from bedrock_pipeline.emulator.models.catalog import ModelCard, ModelId, catalog, parse_model_id, sources
from bedrock_pipeline.emulator.models.reply import Body, BodyError, Model, Reply

__all__ = [
    "Body",
    "BodyError",
    "Model",
    "ModelCard",
    "ModelId",
    "Models",
    "Reply",
    "load_models",
    "parse_model_id",
]


_CUSTOM_MODEL_JOBS = 3
#: Of one response; the counts of a job, which are the sums, stay numbers of 64 bits.
_MOST_TOKENS = 2**40
_FAMILIES: dict[str, Any] = {
    "claude": claude,
    "titan_embed": titan_embed,
    "nova_embed": nova_embed,  # before the other Nova's, whose ids begin alike
    "nova": nova,
    "llama": llama,
    "mistral": mistral,
    "cohere_embed": cohere_embed,
    "chat": chat,
}


class Models:
    """The models of one emulator.

    Args:
        replaced: models that answer instead of the emulated ones, by the beginning of the id.
        behaviour: what is done where the service's own behaviour is not known.
    """

    def __init__(
        self, replaced: Mapping[str, Model] | None = None, behaviour: Behaviour | None = None
    ) -> None:
        self._replaced = replaced or {}
        self._behaviour = behaviour or Behaviour()

    def supports(self, model_id: str) -> bool:
        """Whether the model is known."""
        return self.card(model_id) is not None

    def card(self, model_id: str) -> ModelCard | None:
        """What a model takes and rejects; None where it is not known."""
        named = parse_model_id(model_id)
        if self._own(named.name):
            return ModelCard(named.name, "own")
        known = catalog().cards.get(named.name)
        if known is None:
            if self._behaviour.unknown_models is UnknownModels.REJECTED:
                return None
            family = next((one for one in _FAMILIES.values() if named.name.startswith(one.PREFIXES)), None)
            return replace(family.ANY, id=named.name) if family else None
        if known.converse and self._behaviour.model_features is ModelFeatures.ANY:
            return _with_every_feature(known)
        return known

    def takes_bare(self, card: ModelCard, region: str) -> bool:
        """Whether a model's own id can be used in a region."""
        return card.bare and (not card.bare_regions or region in card.bare_regions)

    def takes_profile(self, card: ModelCard, named: ModelId, region: str) -> bool:
        """Whether the inference profile that is named can be used in a region."""
        if self._behaviour.unknown_models is UnknownModels.FAMILY or self._own(card.id):
            return True
        place = named.geography
        return place is not None and place in card.profiles and region in sources(place, region)

    def max_jobs(self, model_id: str, quota: Quota) -> int:
        """The most jobs of a model at once."""
        if quota.max_jobs is not None:
            return quota.max_jobs
        card = self.card(model_id)
        return _CUSTOM_MODEL_JOBS if ":custom-model/" in model_id or card is None else card.max_jobs

    def listed(self) -> list[ModelCard]:
        """Every model that is in the catalog."""
        return list(catalog().cards.values())

    def answer(self, model_id: str, body: Body, *, batch: bool = False) -> Reply:
        """The answer to a body in the family's native shape.

        Args:
            model_id: id or ARN.
            body: the request.
            batch: whether it is a record of a job.

        Raises:
            BodyError: the body is not what the model takes.
        """
        card = self._known(model_id)
        if own := self._own(card.id):
            return own(body)
        if batch and self._behaviour.batch_tools is BatchTools.NONE:
            _reject(body, ("tools", "tool_choice", "toolConfig", "response_format"))
            _reject(body.get("output_config") or {}, ("format",))
        reply: Reply = _FAMILIES[card.family].answer(body, card, batch=batch)
        return reply

    def converse(self, model_id: str, body: Body, *, batch: bool = False) -> Reply:
        """The answer to a body of the Converse API.

        Args:
            model_id: id or ARN.
            body: the request.
            batch: whether it is a record of a job.

        Raises:
            BodyError: the body is not what the API takes, or the model makes no text.
        """
        card = self._known(model_id)
        if not card.converse:
            raise BodyError("The model does not support the Converse API.")
        if batch and self._behaviour.batch_tools is not BatchTools.ANY:
            _reject(body, ("toolConfig",))
            if self._behaviour.batch_tools is BatchTools.NONE:
                _reject(body, ("outputConfig",))
        return converse.answer(body, card, batch=batch)

    def _known(self, model_id: str) -> ModelCard:
        card = self.card(model_id)
        if card is None:
            raise BodyError("The provided model identifier is invalid.")
        return card

    def _own(self, name: str) -> Model | None:
        return next((one for start, one in self._replaced.items() if name.startswith(start)), None)


def load_models(given: Iterable[str]) -> dict[str, Model]:
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
    return replaced


@cache
def _with_every_feature(card: ModelCard) -> ModelCard:
    thinking = card.thinking or (("enabled",) if card.family == "claude" else ())
    return replace(card, structured=True, thinking=thinking, input=ModelCard.input)


def _counted(function: Callable[[Body], Body]) -> Model:
    """A function as a model: whatever it raises is the record's error, its usage is read where families have it."""

    def model(body: Body) -> Reply:
        try:
            said = function(body)
        except Exception as error:
            raise BodyError(f"{type(error).__name__}: {error}") from error
        if not isinstance(said, dict):
            raise BodyError(f"The model's function returned a {type(said).__name__}, not a dict.")
        found = said.get("usage")
        usage: dict[str, Any] = found if isinstance(found, dict) else {}
        spent = usage.get("input_tokens", usage.get("inputTokens", said.get("inputTextTokenCount")))
        return Reply(said, _tokens(spent), _tokens(usage.get("output_tokens", usage.get("outputTokens"))))

    return model


def _tokens(said: object) -> int:
    """What counts as a number of tokens for the job; the body keeps whatever the function has said."""
    return int(said) if isinstance(said, (int, float)) and 0 <= said < _MOST_TOKENS else 0


def _reject(body: Body, names: tuple[str, ...]) -> None:
    """Reject what jobs do not support."""
    if named := next((name for name in names if body.get(name)), None):
        raise BodyError(f"Batch inference does not support {named} for this invocation type.")
