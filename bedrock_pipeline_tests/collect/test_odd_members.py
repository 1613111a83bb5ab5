"""A member of any value, anywhere in an output, fails no other record, and gives one row however the line is read.

Families read more members than their ordinary outputs have. What is read many at a time is declared apart, so that an output
with one of these must not be taken for an ordinary one.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson
import pyarrow as pa
import pytest

from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.family import AnswerBy
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.records.result_schema import RESERVED

#: Names that families read.
NAMES: Final = (
    *("text", "type", "name", "input", "content", "usage", "error", "stop_reason", "toolUse", "reasoningContent"),
    *("choices", "message", "refusal", "tool_calls", "reasoning", "function", "arguments", "outputs", "generation"),
    *("embedding", "embeddings", "embeddingsByType", "modelOutput"),
)  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    *(None, "t", "", "answer", "tool_use", 1, True, [], {}),
    *(["t"], [[]], [{"type": []}], [{"text": "t"}], {"n": 2}, {"text": "t", "type": {}}),
)
SCHEMA: Final = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
_USE: Final = {"name": "answer", "input": {"n": 1}}


def converse(*blocks: Any) -> dict[str, Any]:
    return {"output": {"message": {"content": list(blocks)}}, "stopReason": "end_turn", "usage": {}}


def chat(message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}


#: A model, how its responses are structured, and an output.
OUTPUTS: Final[tuple[tuple[str, AnswerBy | None, dict[str, Any]], ...]] = (
    ("anthropic.claude-3-haiku-20240307-v1:0", None, {"content": [{"type": "text", "text": "t"}], "usage": {}}),
    ("anthropic.claude-3-haiku-20240307-v1:0", None, {"content": [{"type": "thinking", "thinking": "t"}]}),
    ("anthropic.claude-3-haiku-20240307-v1:0", "tool", {"content": [{"type": "tool_use", **_USE}], "stop_reason": "tool_use"}),
    ("anthropic.claude-3-haiku-20240307-v1:0", "schema", {"content": [{"type": "text", "text": '{"n":1}'}]}),
    ("amazon.nova-lite-v1:0", None, converse({"text": "t"})),
    ("amazon.nova-lite-v1:0", None, converse({"reasoningContent": {"reasoningText": {"text": "t"}}})),
    ("amazon.nova-lite-v1:0", "tool", converse({"toolUse": _USE})),
    ("amazon.nova-lite-v1:0", "schema", converse({"text": '{"n":1}'})),
    ("qwen.qwen3-32b-v1:0", None, chat({"content": "t"})),
    ("qwen.qwen3-32b-v1:0", "tool", chat({"tool_calls": [{"function": {"name": "answer", "arguments": '{"n":1}'}}]})),
    ("qwen.qwen3-32b-v1:0", "schema", chat({"content": '{"n":1}'})),
    ("meta.llama3-8b-instruct-v1:0", None, {"generation": "t", "stop_reason": "stop"}),
    ("mistral.mistral-7b-instruct-v0:2", None, {"outputs": [{"text": "t", "stop_reason": "stop"}]}),
    ("amazon.titan-embed-text-v2:0", None, {"embedding": [0.5, 1], "inputTextTokenCount": 3}),
    ("amazon.titan-embed-image-v1", None, {"embedding": [0.5, 1], "inputTextTokenCount": 3, "message": None}),
    ("cohere.embed-english-v3", None, {"embeddings": {"float": [[0.5, 1]]}, "response_type": "embeddings_by_type"}),
    ("amazon.nova-2-multimodal-embeddings-v1:0", None, {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 1]}]}),
)  # fmt: skip


def changed(value: Any, name: str, one: Any) -> Iterator[Any]:
    """A value with a member added or replaced, in each of its objects."""
    if isinstance(value, dict):
        yield {**value, name: one}
        for key, inner in value.items():
            yield from ({**value, key: other} for other in changed(inner, name, one))
    for number, inner in enumerate(value if isinstance(value, list) else ()):
        yield from ([*value[:number], other, *value[number + 1 :]] for other in changed(inner, name, one))


def collected(lines: list[bytes], metadata: ChunkMetadata) -> tuple[list[dict[str, Any]], TallyCounter]:
    """The rows of all records, and the counts."""
    counter = TallyCounter()
    index = pa.table({"record_id": [f"r{number}" for number in range(len(lines))]})
    dimension = 2 if metadata.family.embeds else None
    found = pa.Table.from_batches(list(rows(buffers_of(lines), index, metadata, counter, dimension)))
    return found.drop_columns(["raw_output"]).sort_by("record_id").to_pylist(), counter


@pytest.mark.parametrize(("model", "by", "output"), OUTPUTS)
def test_a_member_anywhere_gives_the_row_of_the_scalar_rule(
    model: str, by: AnswerBy | None, output: dict[str, Any]
) -> None:
    outputs = [output, *(other for name in NAMES for one in VALUES for other in changed(output, name, one))]
    lines = [
        orjson.dumps({"modelOutput": other, "recordId": f"r{number}"}) for number, other in enumerate(outputs)
    ]
    columns = AnswerColumns(AnswerSchema(SCHEMA), RESERVED, by) if by else None
    metadata = ChunkMetadata(
        family_of(model), "m", "d--00000", "arn", 1, ("missing", "no line"), columns=columns
    )
    wanted, counted = collected(lines, replace(metadata, keep_raw=True))
    found, counter = collected(lines, metadata)
    assert len(found) == len(wanted) == len(lines)
    for one, other in zip(found, wanted, strict=True):
        assert one == other, outputs[int(one["record_id"][1:])]
    assert (counter.answered, counter.final_by_code) == (counted.answered, counted.final_by_code)
