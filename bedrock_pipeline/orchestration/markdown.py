"""Text in Dagster's UI, which reads descriptions and some metadata as Markdown: what others wrote is no markup there."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import dagster as dg

from bedrock_pipeline.records.bounded_texts import shortened

#: What begins markup within a line; an underscore within a word does not.
_MARKUP: Final = re.compile(r"[\\`*\[\]<>|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
#: What is a heading, a list or a line at the beginning of one; and what the UI makes a link of.
_BEGINNING: Final = re.compile(r"^[#+=-]|(?i:(?<=http)|(?<=https)|(?<=ftp)):|(?i:(?<=www))\.|@")
_ODD: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")


def as_text(value: object) -> str:
    """A value as one line of bounded length that Markdown shows as it is."""
    line = "".join(" " if unicodedata.category(one) in _ODD else one for one in shortened(str(value)))
    return _BEGINNING.sub(r"\\\g<0>", _MARKUP.sub(r"\\\g<0>", line.strip()))


def bullets(lines: Iterable[object]) -> dg.MetadataValue[Any]:
    """A list of texts."""
    return dg.MetadataValue.md("\n".join(f"- {as_text(line)}" for line in lines))


def table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> dg.MetadataValue[Any]:
    """A table of texts."""
    head, *body = (f"| {' | '.join(map(as_text, row))} |" for row in (columns, *rows))
    return dg.MetadataValue.md("\n".join([head, "|" + "---|" * len(columns), *body]))
