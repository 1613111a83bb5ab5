"""Prices: from a model id to its price, and from tokens to US dollars.

The prices are those of the package `genai-prices`, from the data inside it (nothing is read over the network), and of models
that it does not have those of the catalog; settings and pipelines override them. A model whose images have a price of their
own, as those of embeddings have, has none here. Batch inference costs half of on-demand ("Pricing", Amazon Bedrock) unless the package has a
batch price; on-demand calls of the service tier `flex` cost half of others, as users report ("Service tiers", Amazon
Bedrock, says that they are cheaper). Cached tokens are not distinguished, since batch inference has no prompt caching.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from bedrock_pipeline.models.catalog import card_of
from bedrock_pipeline.models.model_ids import bare_model
from bedrock_pipeline.models.registry import family_of
from bedrock_pipeline.settings import BATCH_DISCOUNT, FLEX_DISCOUNT, PriceOverride

#: The modes that have a price.
PricedMode = Literal["batch", "on-demand", "flex"]
_MILLION: Final = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per token, for requests with more than `above` input tokens."""

    above: int
    input: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model.

    Attributes:
        batch: rates of batch jobs, ascending by `above`, which is 0 in the first.
        on_demand: rates of on-demand calls, likewise.
        flex_discount: the part of the on-demand price that the service tier `flex` saves.
    """

    batch: tuple[Rate, ...]
    on_demand: tuple[Rate, ...]
    flex_discount: Decimal = FLEX_DISCOUNT

    def rates(self, mode: PricedMode) -> tuple[Rate, ...]:
        """The rates of a mode."""
        if mode == "flex":
            return tuple(_less(rate, self.flex_discount) for rate in self.on_demand)
        return self.batch if mode == "batch" else self.on_demand

    def cost(
        self, input_tokens: int, output_tokens: int, mode: PricedMode = "batch", *, requests: int = 1
    ) -> Decimal:
        """US dollars of these tokens, in one request or in several of about the same size."""
        rates = self.rates(mode)
        rate = rates[0]
        for higher in rates[1:]:
            if input_tokens > higher.above * requests:
                rate = higher
        return input_tokens * rate.input + output_tokens * rate.output


def price_of(
    model_id: str, at: datetime, overrides: Mapping[str, PriceOverride] | None = None
) -> Price | None:
    """The price of a model, profile or ARN at a time; None if it is unknown.

    A profile's own price comes first, since global profiles are cheaper than regional ones; then its model's. The ARN of
    an application inference profile does not contain the model, and a custom model has its own price: these need an
    override, whose key is a model id, profile id or ARN.
    """
    names = _names(model_id)
    for name in (model_id, *names):
        if overrides and name in overrides:
            return _overridden(overrides[name])
    embeds = family_of(model_id).embeds
    found = (_known(name, at, embeds=embeds) for name in names)
    return next((price for price in found if price), None) or (_listed(model_id) if names else None)


def _names(model_id: str) -> tuple[str, ...]:
    """The names under which the package may have the model, the most exact first."""
    if ":custom-model/" in model_id:
        return ()
    profile = model_id.rpartition("/")[2] if model_id.startswith("arn:") else model_id
    return tuple(dict.fromkeys((profile, bare_model(model_id))))


def _listed(model_id: str) -> Price | None:
    """The price that the catalog has of a model."""
    card = card_of(model_id)
    if card is None or card.price is None:
        return None
    return _overridden(PriceOverride(input_per_million=card.price[0], output_per_million=card.price[1]))


def _overridden(override: PriceOverride) -> Price:
    rate = Rate(0, override.input_per_million / _MILLION, override.output_per_million / _MILLION)
    return Price((_less(rate, override.batch_discount),), (rate,), override.flex_discount)


def _known(name: str, at: datetime, *, embeds: bool) -> Price | None:
    from genai_prices import (  # here: it imports an HTTP client, which takes a quarter of a second
        Usage,
        calc_price,
    )

    def rates(context: dict[str, str] | None) -> tuple[Rate, ...] | None:
        found = calc_price(
            Usage(), name, provider_id="aws", genai_request_timestamp=at, price_context=context
        ).model_price
        return _rates(found.input_mtok, found.output_mtok, embeds=embeds)

    try:
        on_demand, batch = rates(None), rates({"processing": "batch"})
    except LookupError:
        return None
    if on_demand is None or batch is None:
        return None
    known_batch = batch if batch != on_demand else tuple(_less(rate, BATCH_DISCOUNT) for rate in on_demand)
    return Price(known_batch, on_demand)


def _rates(per_input: Any, per_output: Any, *, embeds: bool) -> tuple[Rate, ...] | None:
    """Rates from the package's prices per million, which are numbers or tiers; embeddings have no output price."""
    if per_output is None and embeds:
        per_output = Decimal(0)
    if per_input is None or per_output is None:
        return None
    starts = {0, *(tier.start for price in (per_input, per_output) for tier in getattr(price, "tiers", ()))}
    return tuple(
        Rate(above, _tier(per_input, above) / _MILLION, _tier(per_output, above) / _MILLION)
        for above in sorted(starts)
    )


def _tier(price: Any, above: int) -> Decimal:
    value: Decimal = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if tier.start <= above:
            value = tier.price
    return value


def _less(rate: Rate, discount: Decimal) -> Rate:
    return Rate(rate.above, rate.input * (1 - discount), rate.output * (1 - discount))
