"""Command `emulator`; its options are defined by the emulator."""

import sys

import click

from bedrock_pipeline.emulator import main as serve


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> None:
    """Run the Bedrock emulator alone."""
    sys.exit(serve(arguments))
