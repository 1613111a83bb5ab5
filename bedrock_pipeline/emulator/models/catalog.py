"""The models of Amazon Bedrock, as data.

What belongs here: reading `catalog.toml`, and what the id of a model or of an inference profile names. What a model
answers is its family's.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import UnknownRegionError
from botocore.session import Session

_FILE: Final = Path(__file__).with_name("catalog.toml")
_VERSION: Final = re.compile(r"-v\d+(:\d+)?$")


@dataclass(frozen=True)
class ModelCard:
    """What one model takes and rejects; the defaults reject nothing.

    Attributes:
        id: the model's id, without a geography.
        family: the file beside this one that knows its body.
        bare: whether its own id can be used.
        bare_regions: the regions in which its own id can be used, where it is not all that have the model.
        profiles: the geographies of its inference profiles.
        input: what it can be given: `text`, `image`, `video`, `document`, `audio`, `speech`.
        batch: whether it has batch inference: `yes`, `no`, or `not found` in any source.
        converse: empty where it has no Converse API.
        bodies: of chat and completion models, whether `prompt` or `messages` or either is taken.
        max_output: the largest `max_tokens`; None for no limit.
        max_input: the most input tokens; None for no limit.
        min_records: the fewest records of a job.
        max_records: the most records of a job.
        max_jobs: the most jobs at once.
        sampling: whether `temperature` and `top_p` can be set: `any`, `one` of the two, `none`.
        thinking: the types of thinking that a request can have, beside `disabled`.
        thinks: `when asked`, `by default` (it can be disabled), `always`.
        forced_tool: whether a tool can be forced.
        effort: the efforts that a request of a model of Anthropic's can set.
        prefill: whether the last message can be the assistant's.
        structured: whether it has structured output.
        caches: whether it has prompt caching, on demand.
        reasons: whether its text begins with its reasoning.
        vectors: of embedding models, the sizes of vectors, the default first.
        flex: whether on-demand calls can be of the service tiers `flex` and `priority`.
        counts_tokens: whether CountTokens takes its own id.
        legacy: whether its provider has marked it as legacy.
    """

    id: str
    family: str
    bare: bool = True
    bare_regions: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    input: tuple[str, ...] = ("text", "image", "video", "document")
    batch: str = "yes"
    converse: tuple[str, ...] = ("text",)
    bodies: tuple[str, ...] = ("prompt",)
    max_output: int | None = None
    max_input: int | None = None
    min_records: int = 100
    max_records: int = 50_000
    max_jobs: int = 100
    sampling: str = "any"
    thinking: tuple[str, ...] = ()
    thinks: str = "when asked"
    forced_tool: bool = True
    effort: tuple[str, ...] = ()
    prefill: bool = True
    structured: bool = False
    caches: bool = False
    reasons: bool = False
    vectors: tuple[int, ...] = ()
    flex: bool = False
    counts_tokens: bool = False
    legacy: bool = False

    @property
    def short(self) -> str:
        """The name by which the provider's own messages call it."""
        return _VERSION.sub("", self.id.partition(".")[2] or self.id)


@dataclass(frozen=True)
class Catalog:
    """Every model that is known.

    Attributes:
        cards: by id.
        geographies: of inference profiles, with the regions that they route to; none for every region.
        providers: names, by the beginning of their models' ids.
    """

    cards: Mapping[str, ModelCard]
    geographies: Mapping[str, tuple[str, ...]]
    providers: Mapping[str, str]


@dataclass(frozen=True)
class ModelId:
    """What a model id or an ARN names.

    Attributes:
        name: the model's id, without a geography; of a custom model, its base's.
        geography: of an inference profile; None for the model itself.
        region: the ARN's; None where there is none.
    """

    name: str
    geography: str | None = None
    region: str | None = None


@cache
def catalog() -> Catalog:
    """The models in `catalog.toml`."""
    read: dict[str, Any] = tomllib.loads(_FILE.read_text())
    cards = {}
    for family, members in read["families"].items():
        shared = {name: value for name, value in members.items() if name != "models"}
        for own in members["models"]:
            values = {name: _frozen(value) for name, value in {**shared, **own}.items()}
            cards[own["id"]] = ModelCard(family=family, **values)
    geographies = {name: tuple(regions) for name, regions in read["geographies"].items()}
    return Catalog(cards, geographies, read["providers"])


@lru_cache(maxsize=1000)
def parse_model_id(text: str) -> ModelId:
    """The model that an id or an ARN names."""
    region, name = "", text
    if text.startswith("arn:"):
        _, _, _, region, _, resource = (text.split(":", 5) + [""] * 5)[:6]
        kind, _, name = resource.partition("/")
        if kind == "custom-model":
            name = name.partition("/")[0]
    providers = catalog().providers
    geography, _, rest = name.partition(".")
    of_a_provider = geography not in providers and rest.partition(".")[0] in providers
    if rest and (of_a_provider or geography in catalog().geographies):
        return ModelId(rest, geography, region or None)
    return ModelId(name, None, region or None)


def sources(geography: str, region: str) -> tuple[str, ...]:
    """The regions in which a geography's profiles can be used; a region itself, for the global one's."""
    return catalog().geographies.get(geography, ()) or ((region,) if geography == "global" else ())


@cache
def partition_of(region: str) -> str:
    """The partition of a region, which its ARNs begin with: `aws`, `aws-us-gov`, `aws-cn` and so on."""
    try:
        return Session().get_partition_for_region(region)
    except UnknownRegionError:
        return "aws"


def arns_invoked(model_id: str, region: str, account: str) -> list[str]:
    """What a job invokes: the model, or an inference profile and the model in every region that it routes to."""
    named = parse_model_id(model_id)
    if model_id.startswith("arn:") and "profile/" not in model_id:
        return [model_id]
    model, partition = f"foundation-model/{named.name}", partition_of(region)
    if named.geography is None:
        own = (
            [model_id] if model_id.startswith("arn:") else []
        )  # an application's profile, whose model is not known
        return own or [f"arn:{partition}:bedrock:{region}::{model}"]
    routed = catalog().geographies.get(named.geography, ()) or (region, "")
    profile = f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{named.geography}.{named.name}"
    return [profile, *(f"arn:{partition}:bedrock:{place}::{model}" for place in routed)]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
