"""The commands, put together.

What belongs here: which there are, and where.
"""

import sys
from pathlib import Path

import click

from bedrock_pipeline import __version__
from bedrock_pipeline.cli.group import CommandGroup

_COMMANDS = {
    "costs": ("approve", "estimate"),
    "datasets": ("launch", "results", "status"),
    "demo": ("demo",),
    "dev": ("dev",),
    "emulator": ("emulator",),
    "files": ("pack", "collect"),
    "interventions": ("cancel", "reconcile", "resolve", "retry"),
    "local": ("local",),
    "migrate": ("migrate",),
    "queue": ("enqueue", "flush", "wait"),
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
    """Entry point."""
    sys.path.insert(0, str(Path.cwd()))  # pipelines of one's own lie in the current folder
    cli()
