"""Command `models`: the models that the built-in catalog knows."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from bedrock_pipeline.cli.output import console, json_option, print_json
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.models.catalog import READ, ModelCard, card_of, catalog, similar


@click.command()
@click.argument("model", required=False)
@click.option("--batch", is_flag=True, help="Only models that have batch inference.")
@json_option
def models(model: str | None, batch: bool, as_json: bool) -> None:
    """List the models of the built-in catalog, or what it knows about MODEL, an id or ARN.

    Models that it does not have can be used too; they are not checked.
    """
    cards: Iterable[ModelCard] = [_found(model)] if model else catalog().values()
    shown = [card for card in cards if card.batch == "yes" or not batch]
    if as_json:
        print_json([_json(card) for card in shown])
        return
    table = Table("model", "ids", "family", "batch", "input", "structured", "rejects")
    for card in shown:
        ids = " ".join([*(["bare"] if card.bare else []), *(f"{place}." for place in card.profiles)])
        words = (", ".join(card.input), ", ".join(card.answers), "; ".join(card.rejects))
        table.add_row(card.id, ids, card.family, card.batch, *words)
    console.print(table)
    console.print(f"Sources read on {READ}.")


def _found(model: str) -> ModelCard:
    card = card_of(model)
    if card is None:
        near = similar(model)
        raise NotFoundError(
            f"The catalog has no model {model!r}; a pipeline can use it, unchecked.",
            f"It has {', '.join(near)}." if near else "Run `bedrock-pipeline models` for those that it has.",
        )
    return card


def _json(card: ModelCard) -> dict[str, Any]:
    return {**asdict(card), "provider": card.provider, "ids": card.ids, "rejects": card.rejects}
