"""Command `models`: the models that the built-in catalog knows."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import click

from bedrock_pipeline.cli.output import json_option, print_json
from bedrock_pipeline.cli.status_text import wide_lines, wrapped
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.models.catalog import READ, ModelCard, card_of, catalog, similar
from bedrock_pipeline.pricing.prices import price_of

_NOTE: Final = (
    f"Sources read on {READ}. Prices are US dollars per million input and output tokens of a batch job. Ids: bare is the id "
    "alone; us. and others are put before it."
)


@click.command()
@click.argument("model", required=False)
@click.option("--batch", is_flag=True, help="Only models that have batch inference.")
@click.option("--wide", is_flag=True, help="A table, one line each.")
@json_option
def models(model: str | None, batch: bool, wide: bool, as_json: bool) -> None:
    """List the models of the built-in catalog.

    With MODEL, an id or ARN: what the catalog knows about it. Models that it does not have can be used too; they are not checked.

    Example: bedrock-pipeline models --batch
    """
    cards: Iterable[ModelCard] = [_found(model)] if model else catalog().values()
    shown = [card for card in cards if card.batch == "yes" or not batch]
    if as_json:
        print_json([_json(card) for card in shown])
        return
    for line in wide_lines([_facts(card) for card in shown]) if wide else _lines(shown):
        click.echo(line)
    click.echo("")
    for line in wrapped(_NOTE):
        click.echo(line.strip())


def _facts(card: ModelCard) -> dict[str, str]:
    """What is shown of a model, in words."""
    able = {"flex": card.flex, "CountTokens": card.counts_tokens, "legacy": card.legacy}
    return {
        "model": card.id,
        "ids": " ".join([*(["bare"] if card.bare else []), *(f"{place}." for place in card.profiles)]),
        "family": card.family,
        "batch": card.batch,
        "price": _price_text(card),
        "input": ", ".join(card.input),
        "structured": ", ".join(card.answers),
        "rejects": "; ".join(card.rejects),
        "notes": ", ".join(name for name, found in able.items() if found),
    }


def _lines(cards: Iterable[ModelCard]) -> Iterator[str]:
    """A model: its id, whole on its line, and what is known about it below."""
    for card in cards:
        model, *facts = [(name, text) for name, text in _facts(card).items() if text]
        yield model[1]
        yield from wrapped(" | ".join(f"{name}: {text}" for name, text in facts))


def _found(model: str) -> ModelCard:
    card = card_of(model)
    if card is None:
        near = similar(model)
        raise NotFoundError(
            f"The catalog has no model {model!r}; a pipeline can use it, unchecked.",
            f"It has {', '.join(near)}." if near else "Run `bedrock-pipeline models` for those that it has.",
        )
    return card


def _price(card: ModelCard) -> dict[str, Decimal] | None:
    """US dollars per million tokens of a batch job, for requests of the shortest kind; None if it is not known."""
    price = price_of(card.ids[0], datetime.now(UTC))
    if price is None:
        return None
    rate = price.batch[0]
    return {"input_per_million": rate.input * 10**6, "output_per_million": rate.output * 10**6}


def _price_text(card: ModelCard) -> str:
    price = _price(card)
    return " / ".join(f"{one.normalize():f}" for one in price.values()) if price else "no price known"


def _json(card: ModelCard) -> dict[str, Any]:
    words = {"provider": card.provider, "ids": card.ids, "rejects": card.rejects}
    return {**asdict(card), **words, "price": _price(card)}
