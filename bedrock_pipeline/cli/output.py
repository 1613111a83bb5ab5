"""How commands speak.

What belongs here: errors as two lines instead of a traceback, JSON for programs.
"""

import sys
from typing import Any

import click
import orjson
from rich.console import Console

from bedrock_pipeline.errors import BedrockPipelineError

#: For people; programs read standard output.
console = Console(stderr=True)


class FriendlyGroup(click.Group):
    """Commands whose own errors are told in two lines: what happened, what to do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises:
            SystemExit: 1 after an error of ours.
        """
        try:
            return super().invoke(ctx)
        except BedrockPipelineError as error:
            console.print(f"[red]Error:[/red] {error.what}", highlight=False, soft_wrap=True)
            if error.fix:
                console.print(error.fix, highlight=False, soft_wrap=True)
            sys.exit(1)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(orjson.dumps(value, default=str).decode())
