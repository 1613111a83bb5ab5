"""JSONL files: one object a line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa

from bedrock_pipeline.intake.source import BATCH_ROWS, InputError, InputFile, IntakeBatch
from bedrock_pipeline.intake.typed import infer_schema, to_batch
from bedrock_pipeline.records.rejections import Rejection


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """JSON lines; a line that is no JSON object is rejected, the others go on."""

    files: Sequence[InputFile]
    column_types: dict[str, str]

    def columns(self) -> list[str]:
        """The names that occur in the first rows."""
        first = islice((row for _, row in self._lines() if isinstance(row, dict)), BATCH_ROWS)
        names = list(dict.fromkeys(name for row in first for name in row))
        if not names:
            raise InputError(f"{self.files[0].name} holds no JSON object.", "One object a line is needed.")
        return names

    def batches(self, columns: Sequence[str]) -> Iterator[IntakeBatch]:
        """Line by line; types follow from the first rows."""
        schema: pa.Schema | None = None
        lines = self._lines()
        while block := list(islice(lines, BATCH_ROWS)):
            unreadable = [Rejection(position, row) for position, row in block if isinstance(row, str)]
            rows = [(position, row) for position, row in block if not isinstance(row, str)]
            schema = schema or infer_schema(columns, (row for _, row in rows), self.column_types)
            batch, positions, unfitting = to_batch(rows, schema)
            yield IntakeBatch(batch, positions, unreadable + unfitting)

    def _lines(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """Each line's position and object, or why it is none."""
        position = 0
        for file in self.files:
            with file.open() as stream:
                for line in stream:
                    if line.strip():
                        yield position, _parsed(line)
                        position += 1


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode()
        except UnicodeDecodeError:
            return "line is not UTF-8"
        return "line is not JSON"
    return value if isinstance(value, dict) else "line is not a JSON object"
