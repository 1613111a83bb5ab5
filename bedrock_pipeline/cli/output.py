"""Output of the commands: text for people on standard error, JSON on standard output; and options that several share."""

import math
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import click
import orjson
from rich.console import Console

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: Text for people; programs read standard output. What is printed is text: answers, ids and messages hold brackets, which
#: rich would take for markup, and names between colons, which it would take for emoji.
console = Console(stderr=True, markup=False, emoji=False)
_JSON: Final = "bedrock_pipeline.json"


def _remember(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[_JSON] = value
    return value


def _json_option(text: str) -> Callable[[_Command], _Command]:
    # Eager, so that it is known when another argument is wrong.
    return click.option("--json", "as_json", is_flag=True, is_eager=True, callback=_remember, help=text)


#: The option of every command whose result a program may read; and of those that print other text before.
json_option = _json_option("Output JSON.")
json_line_option = _json_option("One JSON object as the last line.")


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


#: Controls, formats such as the direction of text, halves of surrogate pairs, separators of lines and paragraphs.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Of them, what stays: ends of lines, and what joins letters and emojis.
_KEPT: Final = frozenset("\n\u200c\u200d")
_ASTRAL: Final = 0x10000
_LARGEST_COUNT: Final = 2_000_000_000


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


class Number(click.FloatRange):
    """An option that is a finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number of a text; neither infinity nor NaN, which a range lets through."""
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail("it must be a finite number.", param, ctx)
        return found


class Count(click.IntRange):
    """An option that is a whole number which a column of the ledger can hold."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of a text."""
        found: int = super().convert(value, param, ctx)
        if abs(found) > _LARGEST_COUNT:
            self.fail(f"it must be at most {_LARGEST_COUNT:,}.", param, ctx)
        return found


#: How CSV files are written.
csv_option = click.option(
    "--csv",
    type=JsonObject(),
    help='How CSV files are written, as a JSON object of CsvFormat\'s fields, for example {"delimiter": ";"}.',
)


def printable(text: str) -> str:
    """A text without what a terminal would obey, or would show in another order; lines stay lines."""
    return "".join(one if one in _KEPT or unicodedata.category(one) not in _OBEYED else "�" for one in text)


def escaped(line: bytes) -> str:
    """A line of JSON in which what a terminal would obey is escaped; it is the same JSON."""
    return "".join(
        f"\\u{ord(one):04x}"
        if one not in _KEPT and unicodedata.category(one) in _OBEYED and ord(one) < _ASTRAL
        else one
        for one in line.decode()
    )


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(escaped(orjson.dumps(value, default=_plain)))


def print_json_error(ctx: click.Context, what: str, fix: str = "") -> None:
    """Print why a command that was to print JSON has failed: what happened, and what to do."""
    if ctx.meta.get(_JSON):
        print_json({"error": printable(what), "fix": printable(fix) or None})


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)
