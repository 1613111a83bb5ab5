"""The lines of a CSV file, as `csv.reader` takes them, with a bound for the rows that they make.

A row that is too long, or has too many fields, is passed over without being kept: to the line on which it ends, also if its
fields have quotes and line ends, so that nothing within it is ever taken for a row.
"""

import io
import re
from collections.abc import Callable
from itertools import islice
from typing import Final, TextIO

from bedrock_pipeline.sources.csv_format import CsvFormat, separator_line
from bedrock_pipeline.sources.source import LONGEST_RECORD, MOST_VALUES

_PIECE: Final = 1 << 20
#: Lines of a quoted field after which it is read in pieces, and their characters: few, since what is behind it is read twice.
_MANY_LINES: Final = 32
_QUOTED_PIECE: Final = 1 << 12


class RowTooLongError(ValueError):
    """A row was passed over; the message is why."""


class QuoteOpenError(ValueError):
    """The file ended in a row that was passed over, within quotes."""


class _Text:
    """A text by lines and pieces; what was read too far can be unread. None ends within CR LF."""

    def __init__(self, text: TextIO) -> None:
        self._text, self._ahead, self._length = text, io.StringIO(), 0
        #: The next line, or its first characters.
        self.line: Callable[[int], str] = text.readline

    def piece(self, most: int) -> str:
        """About as many characters; empty at the end."""
        return self.whole(self._ahead.read(most) or self._text.read(most))

    def whole(self, piece: str) -> str:
        """A piece, with the line behind it if that may begin with the rest of its line end."""
        return piece + self.line(_PIECE) if piece.endswith("\r") else piece

    def unread(self, rest: str) -> None:
        """Let the last characters that were read be the next ones."""
        if (at := self._ahead.tell()) < self._length:
            self._ahead.seek(at - len(rest))
        elif rest:
            self._ahead, self._length = io.StringIO(rest, newline=""), len(rest)
        self.line = self._line

    def _line(self, most: int) -> str:
        line = self._ahead.readline(most)
        if line.endswith(("\r", "\n")) or len(line) == most:
            return line
        self.line = self._text.readline
        return line + self._text.readline(most - len(line))


class CsvLines:
    """Lines of a file that are no comments, and do not name the delimiter.

    Attributes:
        number: how many lines were read.
    """

    def __init__(self, text: TextIO, form: CsvFormat) -> None:
        self._text, self._form, self._quote = _Text(text), form, form.quote
        self._size = self._delimiters = self._fields = 0  # of the row, in the lines before
        self._within = 0  # lines before that neither opened nor could close the quoted field that they are of
        self.number = 0
        self._delimiter, self._escape = form.delimiter or ",", form.escape or ""
        quote, delimiter, escape = map(re.escape, (form.quote, self._delimiter, self._escape))
        escaped = f"{escape}." if escape else None
        self._quoted = _run(f"{quote}{escape}", escaped or quote * 2, quote)
        self._plain = _run(f"{delimiter}{escape}\r\n", escaped)
        behind = f"[^{delimiter}\r\n]*+"  # a closing quote
        field = f"(?:{self._quoted.pattern}{quote}{behind}|(?!{quote}){self._plain.pattern}){delimiter}"
        self._field = re.compile(field, re.DOTALL)
        self._closed = re.compile(f"(?:{field})*+", re.DOTALL)
        self._last = re.compile(
            f"{self._quoted.pattern}(?:{quote}{behind})?+|{self._plain.pattern}", re.DOTALL
        )

    def begin_row(self) -> None:
        """What comes next is the beginning of a row."""
        self._size = self._delimiters = self._fields = self._within = 0

    def __iter__(self) -> "CsvLines":
        return self

    def __next__(self) -> str:
        while True:
            if self._within >= _MANY_LINES and (text := self._within_quotes()):
                return text
            line = self._text.line(LONGEST_RECORD - self._size + 1)
            if not line:
                raise StopIteration
            if self._size + len(line) > LONGEST_RECORD:
                self._pass_over(line)
                raise RowTooLongError(f"row is longer than {LONGEST_RECORD} characters")
            if self._size + len(line) > MOST_VALUES and self._has_many(line):
                self._pass_over(line)
                raise RowTooLongError(f"row has more than {MOST_VALUES} fields")
            self.number += 1
            if self.number == 1 and separator_line(line) == self._form.delimiter:
                continue
            # What comes within a row is in quotes.
            if self._size or not (self._form.comment and line.startswith(self._form.comment)):
                if self._size:
                    can_close = self._quote in line or (self._escape or self._quote) in line
                    self._within = 0 if can_close else self._within + 1
                self._size += len(line)
                return line

    def _within_quotes(self) -> str:
        """What comes next of a quoted field: it takes too long to look at each of its lines."""
        text = self._text.piece(_QUOTED_PIECE)
        size = _end(self._quoted, self._quote + text) - 1
        if self._size + size > LONGEST_RECORD:
            size = 0
        self._text.unread(text[size:])
        self._size += size
        self.number += _line_ends(text[:size])
        return text[:size]

    def _has_many(self, line: str) -> bool:
        """Whether a row that goes on with a line has more than `MOST_VALUES` fields; they are counted only if it may."""
        self._delimiters += line.count(self._delimiter)
        if self._delimiters < MOST_VALUES:
            return False
        text = (self._quote if self._size else "") + line
        found = self._field.finditer(text, 0, _end(self._closed, text))
        self._fields += sum(1 for _ in islice(found, MOST_VALUES))
        return self._fields >= MOST_VALUES

    def _pass_over(self, piece: str) -> None:
        """Go behind a row of which a piece was read; it begins within quotes if it is not the row's first line."""
        within = self._quote if self._size else ""
        while piece:
            text = within + (piece := self._text.whole(piece))
            closed = _end(self._closed, text)
            end = closed + _end(self._last, text[closed:])
            if text[end : end + 1] in ("\r", "\n"):
                end += 2 if text[end : end + 2] == "\r\n" else 1
                self._text.unread(text[end:])
                self.number += _line_ends(text[:end])
                return
            self.number += _line_ends(piece)
            within = self._state(text[closed:])
            piece = self._text.piece(_PIECE)
        if within.startswith(self._quote) and within != self._quote * 2:
            raise QuoteOpenError

    def _state(self, field: str) -> str:
        """What stands for the beginning of a row whose last field is not closed, so that what follows it means the same."""
        if not field:
            return ""
        is_quoted = field.startswith(self._quote)
        rest = field[_end(self._quoted if is_quoted else self._plain, field) :]
        if is_quoted and rest == self._quote:  # which ends the field, or is the first of two
            return self._quote * 2
        return (self._quote if is_quoted and rest in ("", self._escape) else "x") + rest[:1].strip(
            self._quote
        )


def _line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _run(ends: str, pair: str | None, begin: str = "") -> re.Pattern[str]:
    """Characters up to one of some, and pairs that stand for a character."""
    plain = f"[^{ends}]*+"
    return re.compile(f"{begin}{plain}(?:{pair}{plain})*+" if pair else f"{begin}{plain}", re.DOTALL)


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0
