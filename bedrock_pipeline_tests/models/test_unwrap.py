"""Structured responses that are right but wrapped are read, and say so; what is plain, or means two things, stays as it is."""

import json
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.models import ModelResponse, family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema

SCHEMA = AnswerSchema(
    {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "items": {"type": "array", "items": {"type": "string"}},
            "inner": {
                "anyOf": [{"type": "object", "properties": {"list": {"type": "array"}}}, {"type": "null"}]
            },
            "note": {"type": "string"},
        },
        "required": ["n", "items"],
    }
)
PLAIN = {"n": 1, "items": ["a"]}
FULL = {"n": 1, "items": ["a"], "inner": None, "note": None}
JSON = json.dumps(PLAIN)
TICKS = "```"


def text(written: str) -> ModelResponse:
    return ModelResponse(written)


def used(value: Any) -> ModelResponse:
    return ModelResponse("", tool_use=({"name": "answer", "input": value},))


@pytest.mark.parametrize(
    ("response", "kinds"),
    [
        (text(JSON), None),
        (used(PLAIN), None),
        (text(f"{TICKS}json\n{JSON}\n{TICKS}"), "fence"),
        (text(f"{TICKS}\n{json.dumps(PLAIN, indent=2)}\n{TICKS}\n"), "fence"),
        (text(f"{TICKS}JSON {JSON}{TICKS}"), "fence"),
        (text(f"Here it is:\n\n{TICKS}json\n{JSON}\n{TICKS}\nAnything else?"), "fence"),
        (text(f"{TICKS}python\nprint(1)\n{TICKS}\nso\n{TICKS}json\n{JSON}\n{TICKS}"), "fence"),
        (text(f"{TICKS}json\n{JSON}"), "fence"),
        (text(json.dumps({"answer": PLAIN})), "wrapper"),
        (text(json.dumps({"Result": PLAIN})), "wrapper"),
        (used({"answer": PLAIN}), "wrapper"),
        (used({"parameters": JSON}), "wrapper,json-text"),
        (used(JSON), "json-text"),
        (text(json.dumps(JSON)), "json-text"),
        (used({"n": 1, "items": '["a"]'}), "json-text"),
        (
            text(f"{TICKS}json\n" + json.dumps({"result": {"n": 1, "items": '["a"]'}}) + f"\n{TICKS}"),
            "fence,wrapper,json-text",
        ),
    ],
    ids=repr,
)
def test_a_wrapped_answer_is_read_and_says_so(response: ModelResponse, kinds: str | None) -> None:
    assert SCHEMA.read(response) == (FULL, kinds)


def test_text_of_json_is_read_at_any_depth_and_only_where_there_is_no_text() -> None:
    answer = {"n": 1, "items": '["[1]"]', "inner": '{"list": "[2]"}', "note": "[3]"}
    values, kinds = SCHEMA.read(used(answer))
    assert values == {"n": 1, "items": ["[1]"], "inner": {"list": [2]}, "note": "[3]"}
    assert kinds == "json-text"


@pytest.mark.parametrize(
    "response",
    [
        text(f"{TICKS}json\n{JSON}\n{TICKS}\nor\n{TICKS}json\n{JSON}\n{TICKS}"),
        text(f"{TICKS}json\n{JSON[:-3]}\n{TICKS}"),
        text(f"The answer is {JSON}."),
        text(json.dumps({"answer": {"result": PLAIN}})),
        text(json.dumps({"example": PLAIN})),
        text(json.dumps({"answer": PLAIN, "result": PLAIN})),
        text(json.dumps([PLAIN])),
        used({"n": "1", "items": ["a"]}),
        used({"n": 1, "items": "a, b"}),
        text(""),
    ],
    ids=repr,
)
def test_what_may_mean_something_else_is_not_read(response: ModelResponse) -> None:
    with pytest.raises(AnswerInvalidError):
        SCHEMA.read(response)


@given(note=st.text() | st.sampled_from([TICKS, f"\n{TICKS}\n", f"{TICKS}json\n{{}}\n{TICKS}", JSON]))
def test_a_fence_ends_where_the_json_ends_whatever_its_texts_hold(note: str) -> None:
    answer = {**PLAIN, "note": note}
    for fenced in (
        f"{TICKS}json\n{json.dumps(answer)}\n{TICKS}",
        f"so:\n{TICKS}\n{json.dumps(answer)}\n{TICKS}\n",
    ):
        assert SCHEMA.read(text(fenced)) == ({**FULL, "note": note}, "fence")
    assert SCHEMA.read(text(json.dumps(answer))) == ({**FULL, "note": note}, None)


def test_the_results_have_a_column_for_it_and_cut_off_answers_have_no_values() -> None:
    def line(record_id: str, written: str, stop: str = "end_turn") -> bytes:
        usage = {"input_tokens": 1, "output_tokens": 1}
        output = {"content": [{"type": "text", "text": written}], "stop_reason": stop, "usage": usage}
        return orjson.dumps({"recordId": record_id, "modelOutput": output})

    fenced = f"{TICKS}json\n{JSON}\n{TICKS}"
    lines = [line("a", JSON), line("b", fenced), line("c", fenced, "max_tokens"), line("d", "no")]
    family = family_of("anthropic.claude-3-haiku-20240307-v1:0")
    metadata = ChunkMetadata(family, "m", "k", "arn", 1, ("missing", ""), columns=AnswerColumns(SCHEMA, ()))
    index = pa.table({"record_id": ["a", "b", "c", "d"]})
    found = rows(buffers_of(lines), index, metadata, TallyCounter(), None)
    by_id = {row["record_id"]: row for batch in found for row in batch.to_pylist()}
    assert {key: (row["n"], row["answer_unwrapped"], row["error_code"]) for key, row in by_id.items()} == {
        "a": (1, None, None),
        "b": (1, "fence", None),
        "c": (None, None, "cut-off"),
        "d": (None, None, "answer-invalid"),
    }
    assert by_id["b"]["output_text"] == fenced
