"""How commands speak.

What belongs here: where words for people go, and JSON for programs.
"""

from typing import Any

import click
import orjson
from rich.console import Console

#: For people; programs read standard output.
console = Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON value on one line."""
    click.echo(orjson.dumps(value, default=str).decode())
