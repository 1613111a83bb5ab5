"""The models that are known, as data, and what follows from it when a pipeline is defined.

What belongs here: reading `catalog.toml`, and whether a model takes a request's settings. A model that the catalog does not
have is not checked.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models.family import AnswerBy, Family, Json
from bedrock_pipeline.models.model_ids import PROVIDERS, bare_model, is_bare

#: When the sources of `catalog.toml` were read.
READ: Final = date(2026, 11, 26)
_FILE: Final = Path(__file__).with_name("catalog.toml")
_PROVISIONED: Final = ":provisioned-model/"
#: Default of `max_tokens` for models that think unasked, since thinking counts against it.
_ROOM_TO_THINK: Final = 16_384
#: How a pipeline says that it knows better.
_OVERRIDE: Final = "set check_model=False if the catalog is out of date"
#: The names that families and Converse have for one parameter.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "temperature": ("temperature",),
    "top_p": ("top_p", "topP"),
    "top_k": ("top_k", "topK"),
    "max_tokens": ("max_tokens", "max_completion_tokens", "maxTokens", "max_gen_len"),
}


class ModelRejectsError(ConfigurationError, ValueError):
    """A model does not take what a pipeline is to send to it."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about one model.

    Attributes:
        id: without a geography.
        family: of its request body.
        batch: whether it has batch inference; `not found` if no source shows it.
        bare: whether the id itself can be used; otherwise an inference profile must be.
        bare_regions: regions in which the id itself can be used, if not in all that have the model.
        profiles: geographies of its inference profiles, in one region or another.
        input: what it can be given, of what this package sends.
        converse: whether jobs of the type Converse and on-demand calls of Converse can use it.
        context: the most input tokens where a source has it.
        min_records: fewest records of a job.
        max_records: most records of a job.
        answers: how a structured response can be requested in its own body, the best way first.
        max_output: the largest `max_tokens` where a source has it.
        sampling: whether `temperature` and `top_p` can be set: `any`, `one` of the two, or `none`.
        thinks: whether it thinks `when asked`, `by default` or `always`; thinking counts against `max_tokens`.
        flex: whether on-demand calls can be of the service tier `flex`.
        counts_tokens: whether Bedrock counts the tokens of its requests before they are sent (CountTokens).
        legacy: whether AWS lists it as legacy.
        price: US dollars per million input and output tokens on demand, where the package of prices does not have it.
        thinking: the types of `thinking` of its requests, beside `disabled`; None if they are not known.
        effort: the efforts that a request can set: Claude's `output_config.effort`, Nova's `maxReasoningEffort`.
        prefill: whether the last message can be the assistant's, which the model continues.
        characters: the most characters of a text; None for no such limit.
        large_documents: the kinds of documents to which Converse's limit of 4.5 MB does not apply.
    """

    id: str
    family: str
    batch: Literal["yes", "no", "not found"] = "yes"
    bare: bool = True
    bare_regions: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    input: tuple[str, ...] = ("text",)
    converse: bool = True
    context: int | None = None
    min_records: int = 100
    max_records: int = 50_000
    answers: tuple[AnswerBy, ...] = ()
    max_output: int | None = None
    sampling: Literal["any", "one", "none"] = "any"
    thinks: Literal["when asked", "by default", "always"] = "when asked"
    flex: bool = False
    counts_tokens: bool = False
    legacy: bool = False
    price: tuple[Decimal, Decimal] | None = None
    thinking: tuple[str, ...] | None = None
    effort: tuple[str, ...] = ()
    prefill: bool = True
    characters: int | None = None
    large_documents: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """The name of its provider."""
        prefix = self.id.partition(".")[0]
        return PROVIDERS.get(prefix, prefix)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids under which it can be used; its own first, unless that is for a few regions."""
        profiles = [f"{place}.{self.id}" for place in self.profiles]
        if not self.bare:
            return tuple(profiles)
        return (*profiles, self.id) if self.bare_regions else (self.id, *profiles)

    @property
    def rejects(self) -> tuple[str, ...]:
        """What other models take, in words."""
        sampling = {"any": (), "one": ("temperature with top_p",), "none": ("temperature, top_p, top_k",)}
        return (
            *sampling[self.sampling],
            *(("forced tools",) if self.family == "claude" and "tool" not in self.answers else ()),
            *(("thinking turned off",) if self.thinks == "always" else ()),
            *(("a last message of the assistant",) if not self.prefill else ()),
            *((f"max_tokens above {self.max_output:,}",) if self.max_output else ()),
        )


@cache
def catalog() -> Mapping[str, ModelCard]:
    """The models in `catalog.toml`, by id."""
    read: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"), parse_float=Decimal)
    cards = {}
    for family, members in read["families"].items():
        shared = {name: value for name, value in members.items() if name != "models"}
        for own in members["models"]:
            values = {name: _frozen(value) for name, value in {**shared, **own}.items()}
            cards[own["id"]] = ModelCard(family=family, **values)
    return cards


def card_of(model_id: str) -> ModelCard | None:
    """The card of the model behind an id or ARN; None if the catalog does not have it."""
    return catalog().get(bare_model(model_id))


def similar(model_id: str) -> list[str]:
    """Ids of the catalog that look like an id that it does not have, or have it as a part."""
    bare = bare_model(model_id)
    if bare in catalog():
        return []
    return [one for one in catalog() if bare in one][:3] or difflib.get_close_matches(bare, catalog(), n=3)


def answers_of(model_id: str, family: Family) -> tuple[AnswerBy, ...]:
    """How a structured response can be requested from a model in a batch job, the best way first."""
    ways: tuple[AnswerBy, ...] = ("tool", "schema")
    taken = tuple(way for way in ways if way in family.takes)
    card = card_of(model_id)
    if card is None:
        return taken
    if family.name == card.family:
        return card.answers
    return tuple(way for way in taken if way in card.answers) if family.name == "converse" else taken


def with_defaults(model_id: str, parameters: Json) -> dict[str, Any]:
    """Parameters of a model's requests, with room for thinking that it does unasked if they set no `max_tokens`."""
    card = card_of(model_id)
    if card is None or card.thinks == "when asked" or "max_tokens" in _given(parameters):
        return dict(parameters)
    return {"max_tokens": _ROOM_TO_THINK, **parameters}


def with_limit(parameters: Json, limit: int) -> dict[str, Any]:
    """Parameters with another limit of tokens, under the name that they have for it; `max_tokens` if they have none."""
    nested = parameters.get("inferenceConfig")
    for name in _NAMES["max_tokens"]:
        if isinstance(nested, Mapping) and name in nested:
            return {**parameters, "inferenceConfig": {**nested, name: limit}}
        if name in parameters:
            return {**parameters, name: limit}
    return {**parameters, "max_tokens": limit}


def check_model_id(model_id: str, *, converse: bool = False) -> None:
    """Check that batch jobs can use a model under this id, as far as the catalog knows it.

    Raises:
        ModelRejectsError: it has no batch inference, is used by inference profiles only, or is not one of Converse's.
    """
    if _PROVISIONED in model_id:
        raise ModelRejectsError(
            "model_id: batch inference is not supported for provisioned throughput; name the model that it is of"
        )
    card = card_of(model_id)
    if card is None:
        return
    if card.batch == "no":
        raise ModelRejectsError(
            f"model_id: {card.id} has no batch inference; `bedrock-pipeline models` lists those that have, or {_OVERRIDE}"
        )
    if is_bare(model_id) and not card.bare:
        raise ModelRejectsError(
            f"model_id: {card.id} is used by an inference profile only; name {_alternatives(card.ids)}, "
            f"as the region has it, or {_OVERRIDE}"
        )
    if converse and not card.converse:
        raise ModelRejectsError(
            f"invocation: {card.id} has no Converse API; leave out invocation='Converse', or {_OVERRIDE}"
        )


def check_body_known(model_id: str, family: Family) -> None:
    """Check that requests to a model can be written from a prompt.

    Raises:
        ModelRejectsError: the shape of its bodies is not known; names what is near.
    """
    if family.name != "raw":
        return
    raise ModelRejectsError(
        f"model_id: the request body of {model_id!r} is not known; {_meant(model_id)}name the family whose bodies it takes, with "
        f"family='claude' or another; or set invocation='Converse'; or give model_input, a column with whole bodies, in place of "
        f"a prompt (`bedrock-pipeline models` lists what is known)"
    )


def check_output_known(model_id: str, family: Family) -> None:
    """Check that the output of a model can be read.

    Raises:
        ModelRejectsError: its shape is not known; names what is near.
    """
    if family.name == "raw":
        raise ModelRejectsError(
            f"model_id: the output of {model_id!r} is not known; {_meant(model_id)}name the family whose output it has, with "
            f"family='claude' or another, or family='raw' to keep it as JSON; or set invocation='Converse' "
            f"(`bedrock-pipeline models` lists what is known)"
        )


def check_tier(model_id: str, tier: str) -> None:
    """Check that on-demand calls of a model can be of a service tier, as far as the catalog knows it.

    Raises:
        ModelRejectsError: it has no such tier.
    """
    card = card_of(model_id)
    if card is not None and tier == "flex" and not card.flex:
        raise ModelRejectsError(
            f"on_demand_tier: {card.id} has no service tier {tier}; leave it out, choose another model "
            f"(`bedrock-pipeline models`), or {_OVERRIDE}"
        )


def check_inputs(model_id: str, *, images: bool, documents: bool) -> None:
    """Check that a model can be given images or documents, as far as the catalog knows it.

    Raises:
        ModelRejectsError: it cannot.
    """
    card = card_of(model_id)
    for setting, kind, given in (("images", "image", images), ("documents", "document", documents)):
        if card is not None and given and kind not in card.input:
            raise ModelRejectsError(
                f"{setting}: {card.id} takes only {' and '.join(card.input)}; choose a model that takes {setting}, "
                f"or {_OVERRIDE}"
            )


def check_answers(model_id: str, family: Family, by: AnswerBy | None) -> None:
    """Check that a structured response can be requested, as far as the catalog knows the model.

    Args:
        model_id: id or ARN.
        family: of the request body.
        by: how it is to be requested; None leaves it to the catalog.

    Raises:
        ModelRejectsError: the model has no structured responses, or not by this way.
    """
    card = card_of(model_id)
    if card is None:
        return
    ways = answers_of(model_id, family)
    if not ways:
        other = " leave out invocation='Converse'," if card.answers and family.name == "converse" else ""
        raise ModelRejectsError(
            f"answer_schema: {card.id} has no structured responses in jobs with request bodies of {family.name};{other} "
            f"choose another model (`bedrock-pipeline models`), or {_OVERRIDE}"
        )
    if by is not None and by not in ways and by in family.takes:
        raise ModelRejectsError(
            f"answer_by: {card.id} takes {' or '.join(ways)}, not {by}; leave answer_by out, or {_OVERRIDE}"
        )


def _given(parameters: Json) -> dict[str, Any]:
    """The parameters that models have in common, under their common names."""
    nested = parameters.get("inferenceConfig")
    values = {**(nested if isinstance(nested, Mapping) else {}), **parameters}
    return {
        name: values[own] for name, names in _NAMES.items() for own in names if values.get(own) is not None
    }


def _meant(model_id: str) -> str:
    near = similar(model_id)
    return f"did you mean {_alternatives(tuple(near))}? Otherwise " if near else ""


def _alternatives(ids: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(ids[:-1]), ids[-1])))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
