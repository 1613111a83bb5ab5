"""The command `bedrock-pipeline`: its subcommands and their modules."""

import sys
from pathlib import Path

import click

from bedrock_pipeline import __version__
from bedrock_pipeline.cli.group import CommandGroup

_COMMANDS = {
    "costs": ("approve", "estimate"),
    "datasets": ("launch",),
    "demo": ("demo",),
    "dev": ("dev", "emulator"),
    "doctor": ("doctor",),
    "files": ("pack", "parse"),
    "init": ("init",),
    "interventions": ("cancel", "migrate", "reconcile", "resolve", "retry"),
    "local": ("local",),
    "models": ("models",),
    "prune": ("prune",),
    "queue": ("enqueue", "flush", "wait"),
    "quota": ("quota",),
    "results": ("results", "show"),
    "status": ("status",),
}


@click.group(
    cls=CommandGroup,
    modules={name: f"bedrock_pipeline.cli.{module}" for module, names in _COMMANDS.items() for name in names},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__)
def cli() -> None:
    """Batch LLM inference on AWS Bedrock, orchestrated by Dagster."""


def main() -> None:
    """Run the command line."""
    # So that --module finds the user's pipelines in the current folder; last, so that nothing there replaces what is installed.
    sys.path.append(str(Path.cwd()))
    cli()
