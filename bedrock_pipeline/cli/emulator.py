"""Command emulator; its options stand with the emulator itself."""

import sys

import click

from bedrock_pipeline.local.extra import require_local


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def emulator(arguments: tuple[str, ...]) -> None:
    """Run the Bedrock emulator by itself."""
    require_local()
    from bedrock_pipeline.emulator import main as serve  # here: it needs the extra

    sys.exit(serve(arguments))
