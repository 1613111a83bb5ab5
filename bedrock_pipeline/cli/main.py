"""The commands, put together.

What belongs here: the group and short commands. Longer ones have a file of their own.
"""

import sys
from pathlib import Path

import click

from bedrock_pipeline import __version__
from bedrock_pipeline.cli.costs import approve, estimate
from bedrock_pipeline.cli.datasets import launch, results, status
from bedrock_pipeline.cli.demo import demo
from bedrock_pipeline.cli.dev import dev
from bedrock_pipeline.cli.files import pack, parse
from bedrock_pipeline.cli.interventions import cancel, reconcile, resolve, retry
from bedrock_pipeline.cli.local import local
from bedrock_pipeline.cli.output import FriendlyGroup
from bedrock_pipeline.cli.queue import enqueue, flush, wait
from bedrock_pipeline.local import settings_here
from bedrock_pipeline.stages.context import open_context


@click.group(cls=FriendlyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Batch LLM inference on AWS Bedrock, orchestrated by Dagster."""


@cli.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> None:
    """Run the Bedrock emulator by itself."""
    from bedrock_pipeline.emulator import (
        main as serve,  # it brings a web server, which no other command needs
    )

    sys.exit(serve(arguments))


@cli.command()
def migrate() -> None:
    """Bring the ledger's tables up to date."""
    with open_context(settings_here()) as context:
        applied = context.ledger.migrate()
    click.echo(f"applied: {', '.join(applied)}" if applied else "nothing to do")


for command in (
    demo,
    dev,
    launch,
    pack,
    parse,
    estimate,
    approve,
    enqueue,
    flush,
    wait,
    status,
    results,
    cancel,
    retry,
    reconcile,
    resolve,
    local,
):
    cli.add_command(command)


def main() -> None:
    """Entry point."""
    sys.path.insert(0, str(Path.cwd()))  # pipelines of one's own lie in the current folder
    cli()
