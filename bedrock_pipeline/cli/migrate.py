"""Command migrate."""

import click

from bedrock_pipeline.settings import Settings
from bedrock_pipeline.stages.context import open_context


@click.command()
def migrate() -> None:
    """Bring the ledger's tables up to date."""
    with open_context(Settings.resolve()) as context:
        applied = context.ledger.migrate()
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to do")
