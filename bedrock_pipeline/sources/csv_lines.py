"""The lines of a CSV file, as `csv.reader` takes them, with a bound for the rows that they make.

A row that is too long is passed over without being kept: to the line on which it ends, also if its fields have quotes and
line ends, so that nothing within it is ever taken for a row.
"""

import re
from typing import Final, TextIO

from bedrock_pipeline.sources.csv_format import CsvFormat, separator_line
from bedrock_pipeline.sources.source import LONGEST_RECORD

_PIECE: Final = 1 << 20


class RowTooLongError(ValueError):
    """A row was passed over; the message is why."""


class QuoteOpenError(ValueError):
    """The file ended in a row that was passed over, within quotes."""


class CsvLines:
    """Lines of a file that are no comments, and do not name the delimiter.

    Attributes:
        number: how many lines were read.
    """

    def __init__(self, text: TextIO, form: CsvFormat) -> None:
        self._text, self._form, self._quote = text, form, form.quote
        self._size = 0  # of the row, in the lines before
        self.number = 0
        self._escape = form.escape or ""
        quote, delimiter, escape = (
            re.escape(one) for one in (form.quote, form.delimiter or ",", self._escape)
        )
        escaped = f"{escape}." if escape else None
        self._quoted = _run(f"{quote}{escape}", escaped or quote * 2, quote)
        self._plain = _run(f"{delimiter}{escape}", escaped)
        fields = (
            f"(?:{self._quoted.pattern}{quote}[^{delimiter}]*+|(?!{quote}){self._plain.pattern}){delimiter}"
        )
        self._closed = re.compile(f"(?:{fields})*+", re.DOTALL)

    def begin_row(self) -> None:
        """What comes next is the beginning of a row."""
        self._size = 0

    def __iter__(self) -> "CsvLines":
        return self

    def __next__(self) -> str:
        while True:
            line = self._text.readline(LONGEST_RECORD - self._size + 1)
            if not line:
                raise StopIteration
            if self._size + len(line) > LONGEST_RECORD:
                self._pass_over(line)
                raise RowTooLongError(f"row is longer than {LONGEST_RECORD} characters")
            self.number += 1
            if self.number == 1 and separator_line(line) == self._form.delimiter:
                continue
            # What comes within a row is in quotes.
            if self._size or not (self._form.comment and line.startswith(self._form.comment)):
                self._size += len(line)
                return line

    def _pass_over(self, piece: str) -> None:
        """Go behind a row of which a piece was read; it begins within quotes if it is not the row's first line."""
        within = self._quote if self._size else ""
        while piece:
            text = piece.rstrip("\r\n")
            within = self._state(within + text)
            if len(text) < len(piece):
                self.number += 1
                if not within.startswith(self._quote) or within == self._quote * 2:
                    return
                within = self._quote
            piece = self._text.readline(_PIECE)
        if within.startswith(self._quote) and within != self._quote * 2:
            raise QuoteOpenError

    def _state(self, text: str) -> str:
        """What stands for the beginning of a row, so that what follows it means the same."""
        field = text[_end(self._closed, text) :]
        if not field:
            return ""
        is_quoted = field.startswith(self._quote)
        rest = field[_end(self._quoted if is_quoted else self._plain, field) :]
        if is_quoted and rest == self._quote:  # which ends the field, or is the first of two
            return self._quote * 2
        return (self._quote if is_quoted and rest in ("", self._escape) else "x") + rest[:1].strip(
            self._quote
        )


def _run(ends: str, pair: str | None, begin: str = "") -> re.Pattern[str]:
    """Characters up to one of some, and pairs that stand for a character."""
    plain = f"[^{ends}]*+"
    return re.compile(f"{begin}{plain}(?:{pair}{plain})*+" if pair else f"{begin}{plain}", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
