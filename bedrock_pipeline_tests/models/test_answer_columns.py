"""Structured responses: which schema can be requested, which column a property becomes, which response is invalid."""

import json
from datetime import date
from typing import Any

import jsonschema
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator

from bedrock_pipeline.collect.join import rows
from bedrock_pipeline.collect.line_reader import buffers_of
from bedrock_pipeline.collect.tally import ChunkMetadata, TallyCounter, manifest_discrepancies
from bedrock_pipeline.emulator.models.structured import rejection, value_for
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models import ModelResponse, family_of
from bedrock_pipeline.models.answer_class import AnswerSchemaError
from bedrock_pipeline.models.answer_columns import AnswerColumns
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema, bound
from bedrock_pipeline.pipeline import Pipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def schema(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def columns(given: Any, *taken: str) -> AnswerColumns:
    return AnswerColumns(AnswerSchema(given), taken)


def used(value: Any) -> ModelResponse:
    return ModelResponse("", stop_reason="tool_use", tool_use=({"name": "answer", "input": value},))


def test_of_many_texts_those_that_certainly_keep_the_schema_have_the_values_that_each_has_alone() -> None:
    given = columns(
        schema(
            "day", "n", day={"type": "string", "format": "date"}, n={"type": "integer"}, x={"type": "number"}
        )
    )
    texts = [
        '{"day": "2026-01-31", "n": 1}',
        '{"day": "no day", "n": 2}',  # keeps the schema, and does not fit its column
        '{"n": 9223372036854775808, "day": "2026-01-31"}',  # so does an integer beyond 64 bits
        '{"day": "2026-02-01", "n": 3, "x": 0.1}',
        '{"day": "2026-02-01", "n": 3, "x": 0.12345678901234567}',  # more digits than a float holds
        '{"n": 4}',
        "no JSON",
        '{"day": "2026-02-02", "n": -1, "x": null}',
        '{"day": "2026-02-03", "n": 5, "x": 2}',
    ]
    found = given.certain(pa.array(texts))
    assert found.places == [0, 3, 8]
    assert found.given == [json.loads(texts[place]) for place in found.places]
    alone = [given.values(used(json.loads(texts[place])))[0] for place in found.places]
    assert [*zip(*found.columns, strict=True)] == alone
    nothing = given.certain(pa.array(texts[5:7]))
    assert (nothing.places, nothing.given, nothing.columns) == ([], [], [[], [], []])


@pytest.mark.parametrize(
    ("one", "arrow", "value", "cell"),
    [
        ({"type": "string"}, pa.string(), "a", "a"),
        ({"type": "string"}, pa.string(), None, None),
        ({"enum": ["a", "b"]}, pa.string(), "b", "b"),
        ({"const": 3}, pa.int64(), 3, 3),
        ({"type": "integer"}, pa.int64(), 5.0, 5),
        ({"type": ["integer", "null"]}, pa.int64(), None, None),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, pa.float64(), 2, 2.0),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, pa.float64(), 2, 2.0),
        ({"type": "boolean"}, pa.bool_(), True, True),
        ({"type": "array", "items": {"type": "integer"}}, pa.list_(pa.int64()), [1, 2], [1, 2]),
        (
            {"type": "array", "items": {"type": ["string", "null"]}},
            pa.list_(pa.string()),
            ["a", None],
            ["a", None],
        ),
        ({"type": "array"}, pa.string(), [1, "a"], '[1,"a"]'),
        ({"type": "array", "items": {"type": "array"}}, pa.string(), [[1]], "[[1]]"),
        (
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
            pa.list_(pa.list_(pa.int64())),
            [[1]],
            [[1]],
        ),
        (
            schema(a={"type": "integer"}, b={}),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
            {"a": 1, "b": [2]},
            {"a": 1, "b": "[2]"},
        ),
        (
            {"oneOf": [schema(a={"type": "integer"}), schema(a={"type": "string"}, b={"type": "boolean"})]},
            pa.struct([("a", pa.string()), ("b", pa.bool_())]),
            {"a": 1},
            {"a": "1", "b": None},
        ),
        (
            {"type": "array", "items": schema(a={"type": "null"})},
            pa.list_(pa.struct([("a", pa.string())])),
            [],
            [],
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": {}},
            pa.string(),
            {"b": 1},
            '{"b":1}',
        ),
        (schema(a={}, A={}), pa.string(), {"a": 1}, '{"a":1}'),
        ({"anyOf": [schema(a={}), schema(A={})]}, pa.string(), {"A": 1}, '{"A":1}'),
        ({"type": "string", "format": "date"}, pa.date32(), "2026-11-26", date(2026, 11, 26)),
        ({"type": "object"}, pa.string(), {"b": 1}, '{"b":1}'),
        ({"type": ["string", "integer"]}, pa.string(), 1, "1"),
        ({"enum": ["a", 1]}, pa.string(), "a", '"a"'),
        (True, pa.string(), "a", '"a"'),
        ({}, pa.string(), {"b": [1]}, '{"b":[1]}'),
    ],
    ids=str,
)
def test_a_property_becomes_a_column(one: Any, arrow: pa.DataType, value: Any, cell: Any) -> None:
    made = columns(schema(field=one))
    assert made.fields == (pa.field("field", arrow),)
    answer = used({} if value is None else {"field": value})
    assert made.values(answer) == ((cell,), None)
    assert pa.array([cell], arrow).to_pylist() == [cell]


class Inner(BaseModel):
    word: str


class Outer(BaseModel):
    title: str
    inner: Inner
    again: list[Inner] = []
    even: int = 2

    @field_validator("even")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"odd: {value}")
        return value


def test_a_pydantic_model_is_asked_for_without_references_and_validates_itself() -> None:
    asked = AnswerSchema(Outer)
    assert asked.schema["properties"]["inner"]["properties"] == {"word": {"type": "string"}}
    assert "$" not in json.dumps(asked.schema)
    assert list(asked.schema["properties"]) == ["title", "inner", "again", "even"], "a property named title"
    fields, _ = asked.read(used({"title": "t", "inner": {"word": "w"}}))
    assert fields == {"title": "t", "inner": {"word": "w"}, "again": [], "even": 2}
    with pytest.raises(
        AnswerInvalidError, match=r"Outer does not take the answer: even: value_error$"
    ) as error:
        asked.read(used({"title": "t", "inner": {"word": "w"}, "even": 31}))
    assert "31" not in str(error.value)


class Even(BaseModel):
    value: int

    @field_validator("value")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError
        return value


class Keyed(BaseModel):
    counts: dict[str, list[Even]]


def test_a_message_names_the_property_and_no_key_that_the_model_chose() -> None:
    answer = used({"counts": {"secret": [{"value": 2}, {"value": 3}], "counts": [{"value": 5}]}})
    with pytest.raises(AnswerInvalidError) as error:
        AnswerSchema(Keyed).read(answer)
    said = "Keyed does not take the answer: counts.counts.value: value_error, counts.value: value_error"
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (used({"n": "secret"}), "breaks the schema at properties/n/type"),
        (used({}), "breaks the schema at required"),
        (used("secret"), "breaks the schema at type"),
        (used({"n": 2**63}), "n is an integer beyond 64 bits"),
        (ModelResponse("secret"), "is not JSON"),
        (ModelResponse(None), "is not JSON"),
        (ModelResponse('{"n": 1', stop_reason="max_tokens"), r"is not JSON \(stop reason: max_tokens\)"),
        (ModelResponse('{"n": "secret"}'), "breaks the schema"),
    ],
)
def test_an_answer_that_does_not_fit_says_which_rule_and_not_what_was_said(
    answer: ModelResponse, said: str
) -> None:
    with pytest.raises(AnswerInvalidError, match=said) as error:
        columns(schema("n", n={"type": "integer"})).values(answer)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "array"}, "not of an object with properties"),
        ({"type": "object"}, "not of an object with properties"),
        ({"type": "objekt", "properties": {"a": {}}}, "is not a JSON schema"),
        (schema(a={"$ref": "#/$defs/b"}), "refers to '#/\\$defs/b', which is not in it"),
        (schema(a={"$ref": "https://a.b/c"}), "which is not in it"),
        ({**schema(a={"$ref": "#/$defs/b"}), "$defs": {"b": schema(c={"$ref": "#/$defs/b"})}}, "itself"),
    ],
)
def test_a_schema_that_cannot_be_requested_is_an_error_where_it_is_written(given: Any, said: str) -> None:
    with pytest.raises(AnswerSchemaError, match=said):
        AnswerSchema(given)


def test_a_property_of_a_taken_name_is_prefixed() -> None:
    given = schema(status={"type": "string"}, n={"type": "integer"})
    assert [field.name for field in columns(given, "status", "x").fields] == ["answer_status", "n"]
    with pytest.raises(AnswerSchemaError, match="'answer_status' would be there twice"):
        columns(schema(status={}, answer_status={}), "status")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model_id": "meta.llama3-1-70b-instruct-v1:0"},
            "llama3-1-70b-instruct-v1:0 has no structured responses in jobs with request bodies of llama",
        ),
        ({"model_id": "amazon.nova-lite-v1:0", "answer_by": "schema"}, "structured response by schema"),
        ({"answer_by": "schema"}, "claude-3-haiku-20240307-v1:0 takes tool, not schema"),
        (
            {"invocation": "Converse"},
            "no structured responses .* of converse; leave out invocation='Converse'",
        ),
        ({"invocation": "Converse", "answer_by": "tool"}, "leave out invocation='Converse'"),
        (
            {"invocation": "Converse", "answer_schema": None, "parameters": {"toolConfig": {}}},
            "have no tools; leave out toolConfig",
        ),
        (
            {
                "model_id": "us.anthropic.claude-sonnet-4-20250514-v1:0",
                "parameters": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
            },
            "does not think when a tool is forced",
        ),
        ({"model_id": "amazon.titan-embed-text-v2:0"}, "cannot be read"),
        ({"model_id": "nobody.knows"}, "cannot be read"),
        ({"answer_schema": {"type": "string"}}, "not of an object"),
        ({"answer_schema": schema(a={}, answer_status={}, status={})}, "twice"),
        ({"prompt": None, "model_input": "body", "images": ["a"]}, "images: they need a prompt"),
        ({"model_id": "amazon.titan-embed-text-v2:0", "answer_schema": None, "system": "a"}, "system prompt"),
        ({"family": "gpt"}, "no model family 'gpt'"),
    ],
)
def test_a_pipeline_that_its_model_does_not_support_is_an_error_where_it_is_written(
    changes: dict[str, Any], said: str
) -> None:
    given = {"name": "p", "model_id": CLAUDE, "prompt": "{{ a }}", "answer_schema": schema(a={})}
    Pipeline.model_validate(given)
    with pytest.raises(ConfigurationError, match=said):
        Pipeline.model_validate({**given, **changes})


def test_a_dataset_that_sets_what_its_model_does_not_take_is_told_without_its_prompt() -> None:
    one = Pipeline.model_validate(
        {"name": "p", "model_id": CLAUDE, "prompt": "secret", "answer_schema": schema(a={})}
    )
    with pytest.raises(ConfigurationError, match=r"pipeline 'p'.*has no structured responses") as error:
        one.for_dataset({"model_id": "meta.llama3-1-70b-instruct-v1:0"})
    assert "secret" not in str(error.value)
    with pytest.raises(ConfigurationError, match=r"cannot set name.*It can set answer_by"):
        one.for_dataset({"name": "q"})


def test_invalid_answers_are_counted_with_their_tokens_and_a_valid_one_beats_them() -> None:
    def line(record_id: str, value: Any) -> bytes:
        content = [{"type": "tool_use", "id": "x", "name": "answer", "input": value}]
        output = {"content": content, "usage": {"input_tokens": 10, "output_tokens": 3}}
        return orjson.dumps({"recordId": record_id, "modelOutput": output})

    made = columns(schema("n", n={"type": "integer"}))
    metadata = ChunkMetadata(family_of(CLAUDE), "m", "k", "arn", 1, ("missing", ""), columns=made)
    counter = TallyCounter()
    lines = [line("a", {"n": 1}), line("b", {}), line("c", {}), line("c", {"n": 2})]
    batch = pa.Table.from_batches(
        rows(buffers_of(lines), pa.table({"record_id": ["a", "b", "c"]}), metadata, counter, None)
    )
    found = {row["record_id"]: row for row in batch.to_pylist()}
    assert {key: (row["n"], row["error_code"], row["input_tokens"]) for key, row in found.items()} == {
        "a": (1, None, 10),
        "b": (None, "answer-invalid", 10),
        "c": (2, None, 10),
    }
    assert (counter.answered, counter.final_errors, counter.unusable) == (2, 1, 1)
    assert manifest_discrepancies({"successRecordCount": 3}, counter) == []


_SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "minLength": 30, "maxLength": 40},
        {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
        {"type": "integer", "multipleOf": 7, "maximum": -10},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "boolean"},
        {"type": "string", "format": "date"},
        {"enum": ["x", "y"]},
        {"const": True},
        {"type": ["string", "null"]},
    ]
)
_SCHEMAS = st.recursive(
    _SCALARS,
    lambda inner: (
        inner.map(lambda one: {"type": "array", "items": one, "minItems": 2, "maxItems": 3})
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": some})
        | st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(
            lambda some: schema(*list(some)[:1], **some)
        )
    ),
    max_leaves=6,
)


@settings(max_examples=200)
@given(properties=st.dictionaries(st.sampled_from("pqrs"), _SCHEMAS, min_size=1), asked=st.text(max_size=20))
def test_what_the_emulator_answers_keeps_any_schema_and_fits_its_columns(
    properties: dict[str, Any], asked: str
) -> None:
    given = schema(*list(properties)[:2], **properties)
    value = value_for(given, asked)
    jsonschema.validate(value, given)
    assert rejection(bound(given)) is None, "structured output takes what is asked of it"
    assert value == value_for(given, asked)
    made = columns(given)
    cells, _ = made.values(used(orjson.loads(orjson.dumps(value))))
    for cell, field in zip(cells, made.fields, strict=True):
        pa.array([cell], field.type)
