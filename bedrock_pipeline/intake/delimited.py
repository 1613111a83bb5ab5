"""CSV files with a header line."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from bedrock_pipeline.intake.source import BATCH_ROWS, InputError, InputFile, IntakeBatch
from bedrock_pipeline.intake.typed import infer_schema, to_batch
from bedrock_pipeline.records.rejections import Rejection

# Prompts can be long; the standard library's own bound is 128 KiB.
csv.field_size_limit(1 << 30)


@dataclass(frozen=True, slots=True)
class CsvSource:
    """CSV (RFC 4180, comma, header line); every column is text unless `column_types` says otherwise.

    A row with another number of fields, or that is not UTF-8, is rejected; the others go on. An empty field is
    an empty text.
    """

    files: Sequence[InputFile]
    column_types: dict[str, str]

    def columns(self) -> list[str]:
        """Names of the first file's header."""
        with self.files[0].open() as stream:
            header = next(_reader(stream), None)
        if not header:
            raise InputError(f"{self.files[0].name} is empty.", "A CSV file begins with a header line.")
        return header

    def batches(self, columns: Sequence[str]) -> Iterator[IntakeBatch]:
        """Row by row, in batches of one type."""
        schema = infer_schema(columns, [], self.column_types)
        lines = self._rows()
        while block := list(islice(lines, BATCH_ROWS)):
            unreadable = [Rejection(position, row) for position, row in block if isinstance(row, str)]
            rows = [
                (position, _converted(row, schema)) for position, row in block if not isinstance(row, str)
            ]
            batch, positions, unfitting = to_batch(rows, schema)
            yield IntakeBatch(batch, positions, unreadable + unfitting)

    def _rows(self) -> Iterator[tuple[int, dict[str, str] | str]]:
        position = 0
        for file in self.files:
            with file.open() as stream:
                reader = _reader(stream)
                header = next(reader, [])
                for fields in reader:
                    if fields:
                        yield position, _row(header, fields)
                        position += 1


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


def _converted(row: dict[str, str], schema: pa.Schema) -> dict[str, Any]:
    return {field.name: _value(row.get(field.name), field.type) for field in schema}


def _value(text: str | None, wanted: pa.DataType) -> Any:
    """A number or truth value where the column is one and the text reads so; else the text, which will not fit."""
    if text is None or pa.types.is_string(wanted):
        return text
    if text == "":
        return None
    try:
        if wanted == pa.int64():
            return int(text)
        return float(text) if wanted == pa.float64() else {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        return text
