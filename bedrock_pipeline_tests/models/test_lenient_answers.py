"""Answers that a class of pydantic might take for something else: wrapped ones without required members, long numbers, several calls."""

import json
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, computed_field

from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter
from bedrock_pipeline.models import ModelResponse, family_of
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.exact_numbers import dumps, loads
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema

TICKS = "```"


class Inner(BaseModel):
    z: int | None = None


class Optional(BaseModel):
    x: int | None = None
    y: str | None = None
    inner: Inner | None = None
    many: list[Inner] = []


class Extra(Optional):
    model_config = ConfigDict(extra="allow")


class Own(BaseModel):
    answer: str | None = None
    n: int = 0


AS_JSON_SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": ["integer", "null"]}, "y": {"type": "string"}},
}


def text(value: Any) -> ModelResponse:
    return ModelResponse(value if isinstance(value, str) else json.dumps(value))


def used(*values: Any) -> ModelResponse:
    return ModelResponse("", tool_use=tuple({"name": "answer", "input": value} for value in values))


@pytest.mark.parametrize("schema", [Optional, Extra, AS_JSON_SCHEMA])
@pytest.mark.parametrize(
    ("response", "x", "kinds"),
    [
        (text({"x": 1}), 1, None),
        (text({"x": 1, "new": 2}), 1, None),
        (text({}), None, None),
        (text({"x": None}), None, None),
        (text({"answer": {"x": 1}}), 1, "wrapper"),
        (text({"answer": {}}), None, "wrapper"),
        (text({"answer": {"x": 1, "new": 2}}), 1, "wrapper"),
        (text({"answer": json.dumps({"x": 1})}), 1, "wrapper,json-text"),
        (text(f'{TICKS}json\n{{"result": {{"x": 1}}}}\n{TICKS}'), 1, "fence,wrapper"),
        (text(f'{TICKS}json\n{{"x": 1}}\n{TICKS}'), 1, "fence"),
        (used({"input": {"x": 1}}), 1, "wrapper"),
        (used({"parameters": json.dumps({"x": 1})}), 1, "wrapper,json-text"),
    ],
)
def test_an_answer_is_unwrapped_also_if_no_member_is_required(
    schema: Any, response: ModelResponse, x: int | None, kinds: str | None
) -> None:
    values, found = AnswerSchema(schema).read(response)
    assert (values["x"], found) == (x, kinds)


@pytest.mark.parametrize(
    ("schema", "response"),
    [
        *((schema, text({"new": 1})) for schema in (Optional, Extra, AS_JSON_SCHEMA)),
        (Optional, text({"new": {"x": 1}})),
        (Optional, used({"answer": {"result": {"x": 1}}})),
        (Optional, text({"x": 1, "inner": {"answer": {"z": 1}}})),
        (Optional, text({"many": [{"z": 1}, {"new": 1}]})),
        (Optional, text(f'{TICKS}\n{{"new": 1}}\n{TICKS}')),
    ],
)
def test_an_object_of_which_no_member_is_known_is_not_an_answer_of_nulls(
    schema: Any, response: ModelResponse
) -> None:
    with pytest.raises(AnswerInvalidError, match=r"no member of the schema|not JSON"):
        AnswerSchema(schema).read(response)


def test_a_member_that_is_called_like_a_wrapper_is_none() -> None:
    schema = AnswerSchema(Own)
    assert schema.read(text({"answer": "a"})) == ({"answer": "a", "n": 0}, None)
    assert schema.read(text({"response": {"answer": "a", "n": 2}})) == ({"answer": "a", "n": 2}, "wrapper")
    assert schema.read(text({"answer": {"answer": "a", "n": 2}})) == ({"answer": "a", "n": 2}, "wrapper")


def test_members_beside_alternatives_are_known_to_all_of_them() -> None:
    both = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "anyOf": [{"properties": {"b": {"type": "integer"}}, "required": ["b"]}, {"required": ["a"]}],
    }
    assert AnswerSchema(both).read(text({"a": 1, "b": 2})) == ({"a": 1}, None)
    assert AnswerSchema(both).read(text({"b": 2})) == ({"a": None}, None)


@pytest.mark.parametrize(
    ("response", "x"),
    [
        (used({"x": "no"}, {"x": 1}), 1),
        (used({"x": 1}, {"x": "no"}), 1),
        (used({"x": 1}, {"answer": {"x": 1}}), 1),
    ],
)
def test_of_several_calls_the_one_that_keeps_the_schema_is_the_answer(
    response: ModelResponse, x: int
) -> None:
    assert AnswerSchema(Optional).read(response)[0]["x"] == x


def test_several_calls_that_differ_or_break_the_schema_are_no_answer() -> None:
    with pytest.raises(AnswerInvalidError, match="2 tool calls keep the schema, and differ"):
        AnswerSchema(Optional).read(used({"x": 1}, {"x": "no"}, {"x": 2}))
    with pytest.raises(AnswerInvalidError, match="breaks the schema at properties/x"):
        AnswerSchema(Optional).read(used({"x": "no"}, {"y": 1}))


class Amount(BaseModel):
    amount: Decimal
    id: int = 0
    near: float = 0
    any: Any = None


@pytest.mark.parametrize("model", ["anthropic.claude-3-haiku-20240307-v1:0", "qwen.qwen3-32b-v1:0"])
@pytest.mark.parametrize("by_tool", [True, False])
@pytest.mark.parametrize(
    "written", ["12345678901234567.89", "0.1", "1e3", "-1234567890.123456789", "12345678901234567890", "1.50"]
)
def test_numbers_keep_their_digits_from_the_line_to_the_column(
    model: str, by_tool: bool, written: str
) -> None:
    answer = f'{{"amount":{written},"id":9007199254740993.0,"near":0.12345678901234567890,"any":0.1234567890123456789}}'
    if model.startswith("qwen"):
        call = f'{{"tool_calls":[{{"function":{{"name":"answer","arguments":{json.dumps(answer)}}}}}]}}'
        message = call if by_tool else f'{{"content":{json.dumps(answer)}}}'
        output = f'{{"choices":[{{"message":{message}}}]}}'
    else:
        block = (
            f'"type":"tool_use","name":"answer","input":{answer}'
            if by_tool
            else f'"type":"text","text":{json.dumps(answer)}'
        )
        output = f'{{"content":[{{{block}}}]}}'
    metadata = ChunkMetadata(
        family_of(model), "m", "k", "arn", 1, ("missing", ""), columns=AnswerColumns(AnswerSchema(Amount), ())
    )
    line = f'{{"recordId":"a","modelOutput":{output}}}'.encode()
    found = rows(buffers_of([line]), pa.table({"record_id": ["a"]}), metadata, TallyCounter(), None)
    [row] = [row for batch in found for row in batch.to_pylist()]
    assert (row["error_code"], row["amount"], row["id"]) == (None, Decimal(written), 9007199254740993)
    assert (row["near"], row["any"]) == (0.12345678901234567890, "0.12345678901234568")
    if by_tool and len(written) > 18:
        assert written in row["tool_use"]


@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
        lambda one: -300 < one.adjusted() < 300
    )
)
def test_a_number_is_written_as_it_was_read(number: Decimal) -> None:
    written = dumps(loads(f"[{number}]")).decode()
    assert json.loads(written, parse_float=Decimal, parse_int=Decimal) == [number]


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2}|e-3[0-9]{2})?", fullmatch=True)
)
@example("1e-400")
@example("1.2345678e-320")
def test_a_number_is_read_the_same_whatever_is_beside_it(number: str) -> None:
    """A line has the prompt beside the response, with long numbers or without."""
    alone, beside = loads(f"[{number}]"), loads(f'[{number},"1234567890123456"]')
    assert repr(alone[0]) == repr(beside[0])


def test_what_only_orjson_reads_stays_as_it_reads_it() -> None:
    assert loads("[" * 1000 + "1234567890.12345678" + "]" * 1000)
    with pytest.raises(orjson.JSONDecodeError):
        loads("1" * 5000)
    assert loads('{"a": 0.1, "b": 1e300, "c": 1234567890123456, "d": 0.5000000000000000000}') == {
        "a": 0.1,
        "b": 1e300,
        "c": 1234567890123456,
        "d": 0.5,
    }


class Items(BaseModel):
    tags: set[str]
    word: str = Field(default="é", pattern=r"^\p{L}+\z")
    plain: str = Field(default="a", pattern="^a+$")


def test_a_class_takes_what_pydantic_takes_and_not_what_it_does_not() -> None:
    schema = AnswerSchema(Items)
    values, _ = schema.read(text({"tags": ["a", "b", "a"], "word": "éa"}))
    assert sorted(values["tags"]) == ["a", "b"]
    for answer in ({"tags": [], "word": "1"}, {"tags": [], "plain": "b"}):
        with pytest.raises(AnswerInvalidError):
            schema.read(text(answer))
    with pytest.raises(AnswerInvalidError, match="uniqueItems"):
        AnswerSchema({"type": "object", "properties": {"tags": {"type": "array", "uniqueItems": True}}}).read(
            text({"tags": [1, 1]})
        )


class Named(BaseModel):
    pattern: str = "["
    uniqueItems: bool = True  # noqa: N815  # a name that JSON schema has too


def test_marks_are_not_requested() -> None:
    assert "x-" not in json.dumps(AnswerSchema(Amount).schema)


def test_members_may_be_called_like_keywords() -> None:
    assert AnswerSchema(Named).read(text({"pattern": "(", "uniqueItems": False}))[0] == {
        "pattern": "(",
        "uniqueItems": False,
    }


class Thirds(BaseModel):
    n: int

    @computed_field
    def third(self) -> Decimal:
        return Decimal(self.n) / 3

    @computed_field
    def maybe(self) -> Decimal | None:
        return Decimal(self.n) / 7


def test_a_decimal_with_more_places_than_its_column_is_rounded_if_that_is_as_exact_as_a_float() -> None:
    columns = AnswerColumns(AnswerSchema(Amount), ())
    (amount, *_), _ = columns.values(text('{"amount": 0.33333333333333333333}'))
    assert amount == Decimal("0.333333333333333333")
    with pytest.raises(AnswerInvalidError, match="amount is a decimal of more digits"):
        columns.values(text('{"amount": 0.00000000033333333333}'))


def test_a_computed_decimal_is_rounded_to_what_its_column_holds() -> None:
    (n, third, maybe), _ = AnswerColumns(AnswerSchema(Thirds), ()).values(text({"n": 2}))
    assert (n, third, maybe) == (2, Decimal("0.666666666666666667"), Decimal("0.285714285714285714"))
