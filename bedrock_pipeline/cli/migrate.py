"""Command migrate."""

import click

from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.settings import Settings


@click.command()
def migrate() -> None:
    """Bring the ledger's tables up to date."""
    with open_deployment(Settings.resolve()) as deployment:
        applied = deployment.ledger.migrate()
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to do")
