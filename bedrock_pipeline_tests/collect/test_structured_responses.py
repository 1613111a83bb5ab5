"""Structured responses, read many at a time, give the rows that single lines give."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal, localcontext
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field, model_validator

from bedrock_pipeline.collect import line_reader
from bedrock_pipeline.collect.fast_parser import read_runs
from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.kernel import read as kernel_read
from bedrock_pipeline.kernel.library import SWITCH
from bedrock_pipeline.models import family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerSchema
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.result_schema import RESERVED
from bedrock_pipeline_tests.collect.test_fast_parser import MODELS, PRICE, UNION, needs_kernel

By = Literal["tool", "schema"]
WAYS: Final[tuple[tuple[str, By], ...]] = (
    ("claude", "tool"),
    ("nova", "tool"),
    ("claude", "schema"),
    ("nova", "schema"),
    ("chat", "schema"),
)


class Item(BaseModel):
    """A part of an answer."""

    name: str
    price: Decimal = Field(default=Decimal(1), max_digits=6, decimal_places=2)


class Answer(BaseModel):
    """Has columns of most types, and a rule of its own. `wire_id` is what the index calls a column, too."""

    n: int = Field(ge=0, le=99)
    share: float = 0
    day: date | None = None
    items: list[Item] = []
    wire_id: str = ""

    @model_validator(mode="after")
    def _not_thirteen(self) -> "Answer":
        if self.n == 13:
            raise ValueError
        return self


SCHEMA: Final = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0},
        "size": {"type": ["string", "null"], "enum": ["s", "m", None]},
        "when": {"type": "string", "format": "date-time"},
        "input_tokens": {"type": "number"},
        "inner": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
    },
    "required": ["n"],
}
NUMBERS: Final = st.one_of(
    st.integers(-1, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([13, 2**63, 2**64, 1e300, 0.1 + 0.2, "1", None, True]),
)
TEXTS: Final = st.one_of(
    st.text(max_size=6), st.sampled_from(["s", "2026-01-02", "2026-01-02T03:04:05Z", "\x00", None, 1])
)
INNER: Final = st.one_of(
    NUMBERS,
    TEXTS,
    st.dictionaries(st.sampled_from(["x", "name", "price", "y"]), st.one_of(NUMBERS, TEXTS), max_size=3),
)
#: Members of both schemas and others.
ANSWERS: Final = st.one_of(
    st.fixed_dictionaries({"n": st.integers(0, 20)}),
    st.fixed_dictionaries(
        {"n": NUMBERS},
        optional={
            "share": NUMBERS,
            "day": TEXTS,
            "items": st.lists(INNER, max_size=2),
            "wire_id": TEXTS,
            "size": TEXTS,
            "when": TEXTS,
            "input_tokens": NUMBERS,
            "inner": INNER,
            "other": INNER,
        },
    ),
    INNER,
)


def _written(value: Any) -> str:
    """JSON; a number of many digits has them all."""
    return json.dumps(value).replace("0.30000000000000004", "0.300000000000000044409")


@st.composite
def outputs(draw: st.DrawFn, name: str, by: By) -> dict[str, Any]:
    """An output, most often one as it was requested."""
    text = _written(draw(ANSWERS))
    if draw(st.integers(0, 9)) == 0:
        text = draw(st.sampled_from([f"```json\n{text}\n```", text[:-1], f" {text} ", ""]))
    is_tool = (by == "tool") != (draw(st.integers(0, 7)) == 0)
    use = {
        "name": draw(st.sampled_from(["answer"] * 5 + ["other", None])),
        "input": orjson.Fragment(text or "null"),
    }
    stop = draw(st.sampled_from(["tool_use", "end_turn", "stop", "max_tokens", "content_filtered", None]))
    read, wrote = draw(st.integers(0, 50)), draw(st.integers(0, 50))
    many = draw(st.sampled_from([1, 1, 1, 1, 2]))
    if name == "chat":
        return {
            "choices": [{"message": {"content": text}, "finish_reason": stop}],
            "usage": {"prompt_tokens": read, "completion_tokens": wrote},
        }
    if name == "nova":
        block = {**draw(st.sampled_from([{}, dict.fromkeys(UNION)]))}
        block |= {"toolUse": {**use, "toolUseId": "t"}} if is_tool else {"text": text}
        return {
            "output": {"message": {"role": "assistant", "content": [block] * many}},
            "stopReason": stop,
            "usage": {"inputTokens": read, "outputTokens": wrote},
        }
    block = {"type": "tool_use", "id": "t", **use} if is_tool else {"type": "text", "text": text}
    before = draw(st.sampled_from([[], [], [], [{"type": "text", "text": "Here it is."}]]))
    return {
        "content": [*before, *[block] * many],
        "stop_reason": stop,
        "usage": {"input_tokens": read, "output_tokens": wrote},
    }


@st.composite
def lines_of(draw: st.DrawFn, name: str, by: By) -> bytes:
    """A line of output."""
    record = draw(st.sampled_from(["r1", "r2", "r3", "no"]))
    return orjson.dumps({"modelOutput": draw(outputs(name, by)), "recordId": record}) + b"\n"


def metadata_of(name: str, by: By, schema: Any) -> ChunkMetadata:
    columns = AnswerColumns(AnswerSchema(schema), RESERVED, by)
    accepted = frozenset({Incomplete.CUT_OFF})
    return ChunkMetadata(
        *(family_of(MODELS[name]), "m", "d--00000", "arn", 1, ("missing", "no line")),
        accepted=accepted,
        columns=columns,
        price=PRICE,
    )


def collected(lines: list[bytes], metadata: ChunkMetadata) -> tuple[pa.Table, TallyCounter]:
    """All rows, and the counts."""
    counter = TallyCounter()
    index = pa.table({"record_id": ["r1", "r2", "r3", "missing"], "k": [1, 2, 3, 4]})
    found = pa.Table.from_batches(list(rows(buffers_of(lines), index, metadata, counter, None)))
    found.validate(full=True)
    return found.drop_columns(["raw_output"]), counter


@pytest.mark.parametrize(("name", "by"), WAYS)
@pytest.mark.parametrize("schema", [Answer, SCHEMA], ids=["class", "schema"])
@settings(max_examples=40)
@given(data=st.data())
def test_the_rows_are_those_of_the_scalar_rule(name: str, by: By, schema: Any, data: st.DataObject) -> None:
    lines = data.draw(st.lists(lines_of(name, by), min_size=1, max_size=8))
    metadata = metadata_of(name, by, schema)
    wanted, counted = collected(lines, replace(metadata, keep_raw=True))
    found, counter = collected(lines, metadata)
    assert found.to_pylist() == wanted.to_pylist()
    assert counter == counted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_reader, "BUFFER_BYTES", data.draw(st.integers(1, 1000)))
        patch.setattr(kernel_read, "MOST_LINES", data.draw(st.integers(1, 3)))
        assert collected(lines, metadata)[0].to_pylist() == wanted.to_pylist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "off")
        assert collected(lines, metadata)[0].to_pylist() == wanted.to_pylist()


_GIVEN: Final = {"n": 3, "when": "2026-01-02T03:04:05Z", "input_tokens": 1.5, "inner": {"x": 2}}
_TEXT: Final = orjson.dumps(_GIVEN).decode()
_USE: Final = {"name": "answer", "input": _GIVEN}


@needs_kernel
@pytest.mark.parametrize(
    ("name", "by", "output"),
    [
        ("claude", "tool", {"content": [{"type": "tool_use", "id": "t", **_USE}]}),
        ("nova", "tool", {"output": {"message": {"content": [{"toolUse": {**_USE, "toolUseId": "t"}}]}}}),
        (
            "nova",
            "tool",
            {"output": {"message": {"content": [{**dict.fromkeys(UNION), "toolUse": _USE}]}}},
        ),
        ("claude", "schema", {"content": [{"type": "text", "text": _TEXT}]}),
        ("nova", "schema", {"output": {"message": {"content": [{"text": _TEXT}]}}}),
        ("chat", "schema", {"choices": [{"message": {"content": _TEXT}}]}),
    ],
)
def test_ordinary_structured_responses_are_read_many_at_a_time(
    name: str, by: By, output: dict[str, Any]
) -> None:
    """Reading each by itself gives the same, slowly, so that no other test would notice."""
    metadata = metadata_of(name, by, SCHEMA)
    lines = [
        orjson.dumps({"modelOutput": output, "recordId": f"r{number}"}).replace(
            b'3,"when', b"%d,%b" % (number, b'"when')
        )
        + b"\n"
        for number in range(-1, 5)
    ]
    escaped = b'\\"n\\":3,\\"when'
    lines = [line.replace(escaped, b'\\"n\\":%d,\\"when' % number) for number, line in enumerate(lines, -1)]
    [(_, found)] = read_runs([memoryview(b"".join(lines))], metadata)
    assert found is not None
    assert found.values is not None
    assert found.lines.tolist() == [1, 2, 3, 4, 5], "the first breaks the schema, and so costs no other"
    assert found.values["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert found.values["answer_input_tokens"].to_pylist() == [1.5] * 5


def test_a_property_that_is_named_as_a_member_of_outputs_costs_nothing() -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
    use = {"type": "tool_use", "id": "t", "name": "answer", "input": {"text": "a"}}
    line = (
        orjson.dumps({"modelOutput": {"content": [use], "stop_reason": "tool_use"}, "recordId": "r"}) + b"\n"
    )
    [(_, found)] = read_runs([memoryview(line)], metadata_of("claude", "tool", schema))
    assert found is not None
    assert found.values is not None
    assert found.values.to_pylist() == [{"text": "a"}]


class Inverse(BaseModel):
    """Has a value that depends on the thread which computes it."""

    n: int

    @computed_field
    def inverse(self) -> str:
        """With the digits of the context."""
        return str(1 / Decimal(self.n))


@needs_kernel
def test_the_code_of_a_class_runs_in_the_thread_of_the_caller() -> None:
    """Other threads have neither its decimal context nor its context variables."""
    metadata = metadata_of("claude", "tool", Inverse)
    output = {"content": [{"type": "tool_use", "name": "answer", "input": {"n": 3}}]}
    line = orjson.dumps({"modelOutput": output, "recordId": "r1"})
    with localcontext(prec=40):
        [(_, found)] = read_runs([memoryview(line)], metadata)
    assert found is not None
    assert found.values is not None
    assert found.values["inverse"].to_pylist() == ["0." + "3" * 40]
