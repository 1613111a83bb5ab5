"""JSONL files: one object on each line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from bedrock_pipeline.sources.source import BATCH_ROWS, InputError, InputFile, RowBatch, in_blocks
from bedrock_pipeline.sources.typed import infer_schema, to_batch

_MARK = b"\xef\xbb\xbf"  # some programs write a byte order mark first
#: A line's position, and its object or why it has none.
_Line: TypeAlias = "tuple[int, dict[str, Any] | str]"


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """JSON lines; a line that is not a JSON object is rejected."""

    files: Sequence[InputFile]
    column_types: dict[str, str]

    def columns(self) -> list[str]:
        """The names in the first rows."""
        objects = (row for block in self._blocks() for _, row in block if isinstance(row, dict))
        first = islice(objects, BATCH_ROWS)
        names = list(dict.fromkeys(name for row in first for name in row))
        if not names:
            raise InputError(f"{self.files[0].name} holds no JSON object.", "Write one object on each line.")
        return names

    def batches(self, columns: Sequence[str]) -> Iterator[RowBatch]:
        """Line by line; types are inferred from the first rows."""
        schema: pa.Schema | None = None
        for block in self._blocks():
            rows = (row for _, row in block if isinstance(row, dict))
            schema = schema or infer_schema(columns, rows, self.column_types)
            yield to_batch(block, schema)

    def _blocks(self) -> Iterator[list[_Line]]:
        lines = enumerate(self._lines())
        return in_blocks(((position, _parsed(line)), len(line)) for position, line in lines)

    def _lines(self) -> Iterator[bytes]:
        for file in self.files:
            with file.open() as stream:
                first = stream.readline().removeprefix(_MARK)
                yield from (line for line in chain([first], stream) if line.strip())


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
