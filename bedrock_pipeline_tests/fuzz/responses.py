"""Fuzzed: lines of output, by every family, and structured answers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import orjson
import pyarrow as pa
from pydantic import BaseModel, Field

from bedrock_pipeline.collect.join import FLOAT, lengths_of, rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.family import AnswerBy
from bedrock_pipeline.models.registry import FAMILIES
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.records.result_schema import RESERVED, result_schema
from bedrock_pipeline.system import inline

#: Ids of the records whose lines are good; nothing that is fuzzed may have them.
GOOD: Final = ("good-1", "good-2")
_USAGE: Final = {"input_tokens": 3, "output_tokens": 2}
_CHAT: Final = {
    "choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}
_NOVA: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "ok"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}
#: What a model of each family answers.
OUTPUTS: Final[dict[str, dict[str, Any]]] = {
    "claude": {"content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn", "usage": _USAGE},
    "titan-embed": {"embedding": [0.5, 1], "inputTextTokenCount": 3},
    "nova": _NOVA,
    "llama": {
        "generation": "ok",
        "stop_reason": "stop",
        "prompt_token_count": 3,
        "generation_token_count": 2,
    },
    "mistral": {"outputs": [{"text": "ok", "stop_reason": "stop"}]},
    "chat": _CHAT,
    "titan-embed-image": {"embedding": [0.5, 1], "inputTextTokenCount": 3, "message": None},
    "nova-embed": {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 1]}]},
    "cohere-embed-v4": {"embeddings": {"float": [[0.5, 1]]}, "response_type": "embeddings_by_type"},
    "cohere-embed": {"embeddings": [[0.5, 1]], "id": "x", "response_type": "embeddings_floats"},
    "raw": {"anything": [1]},
    "converse": _NOVA,
}


class Unit(Enum):
    """A closed set of values."""

    USD = "USD"
    EGGS = "eggs"


class Item(BaseModel):
    """A part of an answer."""

    name: str
    price: Decimal = Field(max_digits=8, decimal_places=2)
    unit: Unit | None = None


class Answer(BaseModel):
    """An answer with a member of each type that columns have."""

    n: int
    share: float = 0
    ok: bool = False
    day: date | None = None
    items: list[Item] = []
    notes: dict[str, Any] = {}


SCHEMA: Final = {
    "type": "object",
    "properties": {
        "n": {"type": ["integer", "null"]},
        "when": {"type": "string", "format": "date-time"},
        "size": {"enum": ["s", "m"]},
        "any": {},
        "inner": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        "list": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
    },
}


def _metadata(name: str, **changes: Any) -> ChunkMetadata:
    families = {family.name: family for family in (*FAMILIES, family_of("a.model", converse=True))}
    assert families.keys() == OUTPUTS.keys()
    plain = ChunkMetadata(families[name], "m", "d--00000", "arn", 1, ("missing", "no line"))
    return replace(plain, **changes)


_WAYS: Final[tuple[AnswerBy, ...]] = ("tool", "schema")
STRUCTURED: Final = [
    _metadata("claude", columns=AnswerColumns(AnswerSchema(one), RESERVED, by))
    for by in _WAYS
    for one in (Answer, SCHEMA)
]
EVERY: Final = [
    *map(_metadata, OUTPUTS),
    *(_metadata(name, keep_raw=True) for name in ("claude", "titan-embed")),
    *STRUCTURED,
]


def line_of(record_id: object, output: object) -> bytes:
    """A line of output."""
    return orjson.dumps({"modelInput": {}, "modelOutput": output, "recordId": record_id})


def answer_lines(data: bytes) -> None:
    """Lines between two good ones: these end as they would alone, with the kernel and without it."""
    if not data or any(one.encode() in data for one in GOOD):
        return
    metadata = EVERY[data[0] % len(EVERY)]
    good = _answer_text() if metadata.columns else OUTPUTS[metadata.family.name]
    _check_lines(metadata, good, data[1:])


def structured_answer(data: bytes) -> None:
    """A text, or the input of a tool, as the answer of a model with a schema."""
    if not data:
        return
    metadata = STRUCTURED[data[0] % len(STRUCTURED)]
    text = data[2:].decode(errors="replace")
    block: dict[str, Any] = {"type": "text", "text": text}
    if data[1:2] > b"\x7f":
        try:
            block = {"type": "tool_use", "name": "answer", "input": orjson.loads(text)}
        except orjson.JSONDecodeError:
            return
    try:
        line = line_of("r", {"content": [block], "stop_reason": "end_turn", "usage": _USAGE})
    except orjson.JSONEncodeError:  # nested too deeply for the one who writes the line here
        return
    if any(one.encode() in line for one in GOOD):
        return
    _check_lines(metadata, _answer_text(), line)


def _answer_text() -> dict[str, Any]:
    given = '{"n": 1, "when": "2026-01-01T00:00:00Z"}'
    return {"content": [{"type": "text", "text": given}], "stop_reason": "end_turn", "usage": _USAGE}


def _check_lines(metadata: ChunkMetadata, good: dict[str, Any], hostile: bytes) -> None:
    lines = [hostile, line_of(GOOD[0], good), line_of(GOOD[1], good)]
    joined = [_collected(metadata, lines, kernel=kernel, join=True) for kernel in ("on", "off")]
    assert joined[0].equals(joined[1]), "the kernel and the scalar rule differ"
    ended = {row["record_id"]: row["status"] for row in joined[0].to_pylist()}
    assert ended.keys() == {GOOD[0], "r", GOOD[1]}
    assert ended[GOOD[0]] == ended[GOOD[1]] == "succeeded", "a good record fails because of another line"
    each = [_collected(metadata, lines, kernel=kernel, join=False) for kernel in ("on", "off")]
    assert each[0].equals(each[1]), "the kernel and the scalar rule differ without an index"


def _collected(metadata: ChunkMetadata, lines: list[bytes], *, kernel: str, join: bool) -> pa.Table:
    index = pa.table({"record_id": [GOOD[0], "r", GOOD[1]]}) if join else None
    counter = TallyCounter()
    with _switched(kernel):
        lengths = lengths_of(buffers_of(lines), metadata)
        dimension = lengths.pop(FLOAT, None)
        metadata = replace(metadata, vectors={**metadata.vectors, **lengths})
        schema = result_schema(pa.schema([]), dimension, metadata.response_fields)
        found = list(rows(buffers_of(lines), index, metadata, counter, dimension, executor=inline))
    assert counter.tally().input_tokens < 2**63
    table = pa.Table.from_batches(found, schema)
    table.validate(full=True)
    return table


@contextmanager
def _switched(kernel: str) -> Iterator[None]:
    os.environ[SWITCH] = kernel
    try:
        yield
    finally:
        del os.environ[SWITCH]


def seeds_of_lines() -> Iterator[bytes]:
    """A line of each family, and some that are odd."""
    for number, metadata in enumerate(EVERY):
        yield bytes([number]) + line_of("r", OUTPUTS[metadata.family.name])
    error = {"recordId": "r", "error": {"errorCode": 400, "errorMessage": "no"}}
    yield b"\0" + orjson.dumps(error)
    yield b"\0" + line_of("r", {"error": {"type": "overloaded_error", "message": "no"}})
    tool = {"type": "tool_use", "name": "answer", "input": {"n": 1}}
    yield bytes([len(EVERY) - 1]) + line_of("r", {"content": [tool], "stop_reason": "tool_use"})


def seeds_of_answers() -> Iterator[bytes]:
    """Answers that keep the schema, and some that nearly do."""
    item = {"name": "a", "price": 1.25, "unit": "USD"}
    whole = {"n": 1, "share": 0.5, "ok": True, "day": "2026-01-01", "items": [item], "notes": {"a": [None]}}
    other = {
        "n": None,
        "when": "2026-01-01T00:00:00Z",
        "size": "s",
        "any": 1,
        "inner": {"x": 1.5},
        "list": [1],
    }
    for number, value in enumerate((whole, other, whole, other)):
        text = orjson.dumps(value)
        yield bytes([number, 0]) + text
        yield bytes([number, 255]) + text
        yield bytes([number, 0]) + b"Here it is:\n```json\n" + text + b"\n```\n"
    yield b"\0\0" + b'<think>{"n": 2}</think>{"n": 1, "share": 1e400, "notes": {"a": 123456789012345678901}}'
