"""Output of the commands: text for people on standard error, JSON on standard output; and options that several share."""

from decimal import Decimal
from typing import Any

import click
import orjson
from rich.console import Console

#: Text for people; programs read standard output.
console = Console(stderr=True)
#: The option of every command whose result a program may read.
json_option = click.option("--json", "as_json", is_flag=True, help="Output JSON.")


def _silence(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    console.quiet = value
    ctx.call_on_close(lambda: setattr(console, "quiet", False))


#: The option of every command that shows progress.
quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_silence,
    help="Show neither progress nor notes; only the result, and errors.",
)


class JsonObject(click.ParamType[dict[str, Any]]):
    """An option that is a JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """The object of a text."""
        try:
            found = orjson.loads(value)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            self.fail("it must be a JSON object.", param, ctx)
        return found


#: How CSV files are written.
csv_option = click.option(
    "--csv",
    type=JsonObject(),
    help='How CSV files are written, as a JSON object of CsvFormat\'s fields, for example {"delimiter": ";"}.',
)


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(orjson.dumps(value, default=_plain).decode())


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)
