"""How CSV files are written: given, or found in the beginning of the first file."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bedrock_pipeline.sources.errors import InputError

_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_ROWS = 50
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f]")
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)


class CsvFormat(BaseModel):
    """How CSV files are written. What is None is found in the beginning of the first file, and reported."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """Between fields; None: comma, tab, semicolon or bar, as the first lines show, or as a line `sep=` says."""
    quote: str = Field(default='"', min_length=1, max_length=1)
    """Around fields; a quote within a quoted field is written twice."""
    escape: str | None = Field(default=None, min_length=1, max_length=1)
    """Before a quote within a field, where it is not written twice, for example a backslash. It stands for the character that
    follows it, whatever that is: `\\n` is the letter n, and no line break."""
    encoding: str | None = None
    """Name of the encoding; None: UTF-8, UTF-16 or Windows-1252."""
    comment: str | None = Field(default=None, min_length=1, max_length=1)
    """First character of lines that are skipped."""
    decimal: Literal[".", ","] | None = None
    """Decimal separator of columns with the type `float64`; None: where the delimiter is a semicolon, the one that most of
    their first numbers have, and a comma if they do not show it."""
    empty: Literal["text", "null"] = "text"
    """What an empty field of a text column is."""
    header: tuple[str, ...] | None = None
    """Names of the columns of files that have no header line."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                io.TextIOWrapper(io.BytesIO(), value).close()
            except LookupError:  # also of codecs that are no encodings of text, such as rot13
                raise ValueError(
                    f"{value!r} is no encoding that Python knows, such as utf-8 or cp1252"
                ) from None
        return value

    def completed(
        self, sample: bytes, name: str, encoding: str | None = None, *, cut: bool = False
    ) -> tuple["CsvFormat", list[str]]:
        """The format by the first bytes of a file, and what was found that is not the default.

        Nothing is left open but the decimal separator where the delimiter is a semicolon.

        Args:
            sample: the beginning of the file.
            name: of the file; `.tsv` and `.tab` have tabs.
            encoding: what further rows show, if the encoding is neither given nor found in the first line; without it, it
                then stays open, and the rest is as in any encoding that has ASCII.
            cut: whether the file may go on after the sample, which then may end within a letter.

        Raises:
            InputError: the file does not begin as its encoding does.
        """
        notes: list[str] = []
        encoding = self.encoding or _encoding(sample, cut=cut) or encoding
        if not self.encoding and encoding not in ("utf-8", "utf-8-sig"):
            notes.append(f"CSV is read in the encoding {encoding}, as the rows of {name} show.")
        try:
            text = codecs.getincrementaldecoder(encoding or "latin-1")("replace").decode(sample)
        except UnicodeError as error:  # UTF-16 or UTF-32 without the mark that says the order of the bytes
            raise InputError(
                f"{name} does not begin as {encoding} does: {error}.",
                "Give its encoding (`csv`), such as utf-16-le.",
            ) from error
        lines = [line for line in text.splitlines() if not (self.comment and line.startswith(self.comment))]
        delimiter = self.delimiter or _delimiter(lines, name, self.quote)
        if not self.delimiter and delimiter != ",":
            notes.append(f"CSV is read with the delimiter {delimiter!r}, as the beginning of {name} shows.")
        decimal = self.decimal or ("." if delimiter != ";" else None)  # its numbers show it
        found = {"encoding": encoding, "delimiter": delimiter, "decimal": decimal}
        return self.model_copy(update=found), notes


def separator_line(line: str) -> str | None:
    """The delimiter that a line `sep=;` names, as Excel writes it; None for any other line."""
    found = _SEPARATOR_LINE.fullmatch(line)
    return found.group(1) if found else None


def _encoding(sample: bytes, *, cut: bool) -> str | None:
    """The encoding by what stands in front, which rows have no say in; None if only they show it."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    first, end, _ = sample.partition(b"\n")
    if wide := _wide(first):
        return wide
    if is_utf8(sample, cut=cut):
        return "utf-8"
    if not first.isascii():
        return "utf-8" if is_utf8(first, cut=cut and not end) else "cp1252"
    return None


def _wide(first: bytes) -> str | None:
    """UTF-16 by the bytes before the first line end; None if a zero in it may be one of another encoding.

    Every second byte of western letters and of delimiters is zero; those of other letters are no text by themselves.
    """
    big, little = first[::2].count(0), first[1::2].count(0)
    rest = first.replace(b"\x00", b"")
    if not (big or little) or (
        4 * max(big, little) < len(first) and is_utf8(rest, cut=True) and not _CONTROL.search(rest)
    ):
        return None
    return "utf-16-le" if little > big else "utf-16-be"


def is_utf8(data: bytes, *, cut: bool = False) -> bool:
    """Whether bytes are UTF-8, or, if they are `cut`, the beginning of some."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(lines: Sequence[str], name: str, quote: str) -> str:
    if lines and (given := separator_line(lines[0])):
        return given
    if ".tsv" in name.lower().rpartition("/")[2] or ".tab" in name.lower().rpartition("/")[2]:
        return "\t"
    scores = {one: _score(lines[:_SAMPLE_ROWS], one, quote) for one in _DELIMITERS}
    return max(_DELIMITERS, key=lambda one: (scores[one], -_DELIMITERS.index(one)))


def _score(lines: Sequence[str], delimiter: str, quote: str) -> float:
    """The share of rows that have as many fields as the header; 0 if that has one."""
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, quotechar=quote) if row]
    except csv.Error:
        return 0
    if not rows or len(rows[0]) < 2:
        return 0
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)
