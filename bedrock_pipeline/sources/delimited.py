"""CSV files with a header line."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from bedrock_pipeline.sources.source import InputError, InputFile, RowBatch, in_blocks
from bedrock_pipeline.sources.typed import infer_schema, to_batch

# Prompts can be long; the standard library's limit is 128 KiB.
csv.field_size_limit(1 << 30)

#: A row's position, and its fields or why it has none.
_Row: TypeAlias = "tuple[int, dict[str, str] | str]"


@dataclass(frozen=True, slots=True)
class CsvSource:
    """CSV (RFC 4180, comma, header line); every column is text unless `column_types` says otherwise.

    A row with another number of fields, or that is not UTF-8, is rejected. An empty field is an empty text.
    """

    files: Sequence[InputFile]
    column_types: dict[str, str]

    def columns(self) -> list[str]:
        """The names in the first file's header."""
        with self.files[0].open() as stream:
            return _header(_reader(stream), self.files[0].name)

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """Row by row, in batches of one type."""
        schema = infer_schema(columns, [], self.column_types)
        for block in in_blocks(self._rows(columns)):
            yield to_batch(((position, _converted(row, schema)) for position, row in block), schema)

    def _rows(self, columns: Sequence[str]) -> Iterator[tuple[_Row, int]]:
        position = 0
        for file in self.files:
            with file.open() as stream:
                reader = _reader(stream)
                header = _header(reader, file.name)
                if missing := [name for name in columns if name not in header]:
                    raise InputError(
                        f"{file.name} has no column {missing[0]!r}.", "All files must have the same columns."
                    )
                for fields in reader:
                    if fields:
                        yield (position, _row(header, fields)), sum(map(len, fields))
                        position += 1


def _header(reader: Iterator[list[str]], name: str) -> list[str]:
    header = next(reader, None)
    if not header:
        raise InputError(f"{name} is empty.", "A CSV file must begin with a header line.")
    if repeated := [column for column in header if header.count(column) > 1]:
        raise InputError(f"{name} has two columns named {repeated[0]!r}.", "Rename one.")
    return header


def _reader(stream: Any) -> Iterator[list[str]]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    return csv.reader(text)


def _row(header: list[str], fields: list[str]) -> dict[str, str] | str:
    if len(fields) != len(header):
        return f"row has {len(fields)} fields, the header {len(header)}"
    if any(
        "\udc80" <= character <= "\udcff" for field in fields for character in field if character > "\ud7ff"
    ):
        return "row is not UTF-8"
    return dict(zip(header, fields, strict=True))


def _converted(row: dict[str, str] | str, schema: pa.Schema) -> dict[str, Any] | str:
    if isinstance(row, str):
        return row
    return {field.name: _value(row.get(field.name), field.type) for field in schema}


def _value(text: str | None, wanted: pa.DataType) -> Any:
    """A number or boolean if the column has that type and the text can be parsed; else the text, which will not fit."""
    if text is None or pa.types.is_string(wanted):
        return text
    if text == "":
        return None
    if "_" in text:  # only Python writes numbers so
        return text
    try:
        if wanted == pa.int64():
            return int(text)
        return float(text) if wanted == pa.float64() else {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        return text
