"""CSV files, in the dialects that spreadsheets and databases write."""

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

import pyarrow as pa

from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.csv_format import CsvFormat, is_utf8
from bedrock_pipeline.sources.csv_lines import CsvLines, QuoteOpenError, RowTooLongError
from bedrock_pipeline.sources.errors import InputError
from bedrock_pipeline.sources.formats import packed_as
from bedrock_pipeline.sources.source import InputFile, in_blocks
from bedrock_pipeline.sources.typed import Line, given_types, to_columns

# Prompts can be long; the standard library's limit is 128 KiB.
csv.field_size_limit(1 << 30)

_SAMPLE = 1 << 18
_NOTES = 20
#: Rows of one encoding more than of another, by which it is decided.
_ENOUGH = 100
#: What stands for bytes that cannot be decoded, so that only their row is rejected.
_BROKEN_BYTES = "\udc80"
_BROKEN = re.compile(_BROKEN_BYTES)
#: The error handler that writes it; `surrogateescape` does not do so in every encoding.
_MARKED = "bedrock_pipeline.marked"
#: Rows whose numbers show the decimal separator.
_NUMBERS = 1000
_WITH_POINT = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")
_WITH_COMMA = re.compile(r"[+-]?\d[\d.]*,\d+([eE][+-]?\d+)?")
#: Digits whose thousands are set apart by points, with a decimal comma.
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?")


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _BROKEN_BYTES, error.end


codecs.register_error(_MARKED, _marked)


class CsvReader:
    """CSV with a header line; every column is text unless `column_types` says otherwise.

    A row with another number of fields, or that cannot be decoded, is rejected.
    """

    def __init__(
        self,
        files: Sequence[InputFile],
        column_types: dict[str, str],
        form: CsvFormat,
        *,
        missing_as_null: bool = False,
    ) -> None:
        self._types = given_types(column_types)
        self._missing_as_null = missing_as_null
        self._notes: list[str] = []
        self._files = []
        for number, file in enumerate(files):
            sample = _sample(file)
            if not sample.strip(b"\xef\xbb\xbf \r\n"):
                self._notes.append(f"{file.name} is empty.")
            else:
                completed = partial(form.completed, sample, file.name, cut=len(sample) == _SAMPLE)
                found, notes = completed()
                if found.encoding is None:
                    found, notes = completed(_encoding_by_rows(file, found))
                if found.decimal is None:
                    decimal, shown = self._decimal(file, found)
                    found, notes = found.model_copy(update={"decimal": decimal}), [*notes, *shown]
                self._files.append((number, file, found))
                self._notes += notes
        if not self._files:
            raise InputError(f"{files[0].name} is empty.", "A CSV file must begin with a header line.")

    def _decimal(self, file: InputFile, form: CsvFormat) -> tuple[Literal[".", ","], list[str]]:
        """The decimal separator of a file with semicolons, by the first numbers of its columns of floats; and a note."""
        names = [name for name, kind in self._types.items() if kind == pa.float64()]
        seen: Counter[str | None] = Counter()
        if names:
            with _Rows(file, form) as rows:
                for row in islice(rows, _NUMBERS):
                    texts = [] if isinstance(row, str) else [row.get(name, "").strip() for name in names]
                    seen.update(map(_shown_by, texts))
        if not seen["."] + seen[","]:
            return ",", []
        decimal: Literal[".", ","] = "." if seen["."] > seen[","] else ","
        word = "point" if decimal == "." else "comma"
        return decimal, [f"Numbers are read with a decimal {word}, as the beginning of {file.name} shows."]

    def columns(self, needed: Sequence[str]) -> list[str]:  # noqa: ARG002  # a FileReader
        """The names in the first file's header, and with missing columns as nulls in those of all."""
        files = self._files if self._missing_as_null else self._files[:1]
        names: dict[str, None] = {}
        for _, file, form in files:
            with _Rows(file, form) as rows:
                names |= dict.fromkeys(rows.header)
        return list(names)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch, list[Rejection]]]:
        """Row by row, in batches of one type."""
        for number, file, form in self._files:
            with _Rows(file, form) as rows:
                missing = [name for name in columns if name not in rows.header]
                if missing and not self._missing_as_null:
                    raise InputError(
                        f"{file.name} has no column {missing[0]!r}; its columns are {', '.join(rows.header)}.",
                        "All files must have the same columns, or set missing_columns to null.",
                    )
                types = {name: self._types.get(name, pa.string()) for name in columns}
                lines = (_converted(row, types, form) for row in rows)
                for block in in_blocks((line, _size(line)) for line in lines):
                    yield (number, *to_columns(block, types, self._types))

    def notes(self) -> list[str]:
        """What was found in the beginning of the files; of many files the first few."""
        return self._notes[:_NOTES]


class _Rows:
    """The rows of a file: its fields by column, or why a row has none."""

    def __init__(self, file: InputFile, form: CsvFormat) -> None:
        self._file, self._form = file, form
        self._stream = file.open()
        self._text = io.TextIOWrapper(self._stream, form.encoding, _MARKED, newline="")
        self._encoding = "UTF-8" if (form.encoding or "").startswith("utf-8") else form.encoding
        self._lines = CsvLines(self._text, form)
        self._reader = csv.reader(
            self._lines,
            delimiter=form.delimiter or ",",
            quotechar=form.quote,
            escapechar=form.escape,
            doublequote=form.escape is None,
            strict=True,
        )
        self.header = self._header()

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> Iterator[dict[str, str] | str]:
        for fields in self.fields():
            if isinstance(fields, str):
                yield fields
            elif len(fields) != len(self.header):
                yield f"row has {len(fields)} fields, the header {len(self.header)}"
            elif self._is_broken(fields):
                yield f"row is not {self._encoding}"
            else:
                yield dict(zip(self.header, fields, strict=True))

    def fields(self) -> Iterator[list[str] | str]:
        """The fields of each row behind the header, or why a row has none."""
        while True:
            began = self._lines.number
            self._lines.begin_row()
            try:
                fields = next(self._reader, None)
            except RowTooLongError as error:
                yield str(error)
                continue
            except QuoteOpenError as error:
                raise self._open_quote(began) from error
            except csv.Error as error:
                # A quote that stays open, or swallows further lines, ends the reading.
                if "unexpected end" in str(error) or self._lines.number > began + 1:
                    raise self._open_quote(began) from error
                yield "row has text after a closing quote"
                continue
            if fields is None:
                return
            if fields:
                yield fields

    def _open_quote(self, began: int) -> InputError:
        return InputError(
            f"{self._file.name} has a quote in line {began + 1} that is not closed there: what follows, to line "
            f"{self._lines.number}, may be one field or many rows.",
            "Close it or double it; if quotes are escaped otherwise, give `escape` (`csv`).",
        )

    def _each(self) -> Iterator[list[str]]:
        self._lines.begin_row()
        for row in self._reader:
            yield row
            self._lines.begin_row()

    def _header(self) -> list[str]:
        if self._form.header:
            return list(self._form.header)
        try:
            found = next(filter(None, self._each()), None)
        except (csv.Error, RowTooLongError, QuoteOpenError) as error:
            raise InputError(
                f"The header of {self._file.name} cannot be read with the delimiter {self._form.delimiter!r}: {error}.",
                "Give the delimiter and the quote (`csv`).",
            ) from error
        if not found:
            raise InputError(f"{self._file.name} has no header line.", "A CSV file must begin with one.")
        header = [name.strip() for name in found]
        if len(set(header)) < len(header):
            header = found
        if any(_BROKEN.search(name) for name in header):
            raise InputError(
                f"The header of {self._file.name} is not {self._encoding}.", "Give its encoding (`csv`)."
            )
        if len(counted := Counter(header)) < len(header):
            repeated = counted.most_common(1)[0][0]
            raise InputError(f"{self._file.name} has two columns named {repeated!r}.", "Rename one.")
        return header

    def _is_broken(self, fields: list[str]) -> bool:
        return any(not field.isascii() and _BROKEN.search(field) for field in fields)


def _encoding_by_rows(file: InputFile, form: CsvFormat) -> str:
    """The encoding that most rows have of those with other letters than ASCII. Each has one voice, however long it is."""
    voices = 0
    with _Rows(file, form.model_copy(update={"encoding": "latin-1"})) as rows:
        for fields in rows.fields():
            text = "".join(fields)
            if not text.isascii():
                voices += 1 if is_utf8(text.encode("latin-1")) else -1
            if abs(voices) == _ENOUGH:
                break
    return "cp1252" if voices < 0 else "utf-8"


def _sample(file: InputFile) -> bytes:
    with file.open() as stream:
        sample = stream.read(_SAMPLE)
    if kind := packed_as(sample):
        raise InputError(
            f"{file.name} is not CSV: it begins as {kind} does.", "Name it by what it is, or decompress it."
        )
    return sample


def _size(row: "Line") -> int:
    return sum(len(value) for value in row.values() if isinstance(value, str)) if isinstance(row, dict) else 0


def _converted(row: dict[str, str] | str, types: dict[str, pa.DataType], form: CsvFormat) -> "Line":
    if isinstance(row, str):
        return row
    return {name: _value(row.get(name), kind, form) for name, kind in types.items()}


def _value(text: str | None, wanted: pa.DataType, form: CsvFormat) -> Any:
    """A number or boolean if the column has that type and the text can be parsed; else the text, which will not fit."""
    if text is None or (text == "" and (form.empty == "null" or not pa.types.is_string(wanted))):
        return None
    if pa.types.is_string(wanted) or "_" in text:  # only Python writes numbers so
        return text
    try:
        if wanted == pa.int64():
            return int(text)
        if wanted == pa.float64():
            number = float(_with_point(text) if form.decimal == "," else text)
            return text if math.isinf(number) and any(map(str.isdigit, text)) else number
        return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        return text


def _shown_by(text: str) -> Literal[".", ","] | None:
    """The decimal separator of a number that can be read in one way only: a point and three digits may set thousands apart."""
    if _WITH_COMMA.fullmatch(text):
        return ","
    return "." if _WITH_POINT.fullmatch(text) and not _GROUPED.fullmatch(text) else None


def _with_point(text: str) -> str:
    """A number with a decimal comma as Python writes it.

    Raises:
        ValueError: it has a point that does not set thousands apart.
    """
    if "." in text and not _GROUPED.fullmatch(text.strip()):
        raise ValueError
    return text.replace(".", "").replace(",", ".")
