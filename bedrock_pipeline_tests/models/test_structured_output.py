"""What structured output does not take: translated where that is safe, else an error that names the place and the way out.

Source: "JSON Schema limitations" in Anthropic's page of structured outputs, and what users of Bedrock report; the emulator has
its own reading of them (`emulator.models.structured.rejection`).
"""

from decimal import Decimal
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from bedrock_pipeline.emulator.models.structured import rejection
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema, bound, why_not_bound
from bedrock_pipeline.pipeline import Pipeline

HAIKU_45 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def pipeline(given: Any, **changes: Any) -> Pipeline:
    values = {"name": "p", "model_id": HAIKU_45, "prompt": "a", "answer_schema": given, **changes}
    return Pipeline.model_validate(values)


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Translated(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    price: Decimal
    network: IPv4Network
    code: str = Field(pattern=r"^[a-z]+\b$", min_length=3)
    number: int = Field(ge=1, le=5)


def test_what_has_another_form_is_sent_in_it_and_still_checked() -> None:
    structure = AnswerSchema(Translated)
    assert why_not_bound(structure.schema) is None
    sent = bound(structure.schema)
    assert rejection(sent) is None
    properties = sent["properties"]
    assert [one["properties"]["kind"]["const"] for one in properties["pet"]["anyOf"]] == ["cat", "dog"]
    assert properties["network"] == {"type": "string"}
    assert properties["code"] == {"type": "string"}
    assert structure.schema["properties"]["code"]["pattern"], "the answer is checked against it"
    assert pipeline(Translated).answer_format.by == "schema"  # type: ignore[union-attr]


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"type": "object"}, "is an object with keys of any name"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, "is an object with keys of any name"),
    ({**schema(b={}), "additionalProperties": {"type": "integer"}}, "has additionalProperties"),
    ({"type": "array", "prefixItems": [{"type": "integer"}]}, "has prefixItems"),
    ({"type": "array", "contains": {"type": "integer"}}, "has contains"),
    ({"not": {"type": "integer"}}, "has not"),
    ({**schema(b={}), "patternProperties": {"^x": {}}}, "has patternProperties"),
    ({"enum": [{"b": 1}]}, "has an enum of objects or arrays"),
]


@pytest.mark.parametrize(("one", "said"), UNSUPPORTED, ids=lambda one: str(one))
def test_what_has_no_other_form_is_an_error_that_names_the_place_and_the_way_out(
    one: dict[str, Any], said: str
) -> None:
    nested = schema(list={"type": "array", "items": schema(a=one)})
    with pytest.raises(ConfigurationError, match=rf"answer_schema\.list\.a {said}.*answer_by='tool'"):
        pipeline(nested, answer_by="schema")
    assert pipeline(nested).answer_format.by == "tool", "by itself it takes the way that works"  # type: ignore[union-attr]


_SCHEMAS = st.recursive(
    st.sampled_from([{"type": "string", "format": "date"}, {"type": "integer", "minimum": 3}, {"const": 1}]),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(lambda some: schema(**some))
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: {"oneOf": some})
        | inner.map(lambda one: {"type": "array", "items": one, "minItems": 2})
        | inner.map(lambda one: {"type": "array", "prefixItems": [one]})
        | inner.map(lambda one: {"type": "object", "additionalProperties": one})
        | inner.map(lambda one: {**schema(a=one), "additionalProperties": True})
    ),
    max_leaves=5,
)


@settings(max_examples=100)
@given(given=st.dictionaries(st.sampled_from("pq"), _SCHEMAS, min_size=1).map(lambda some: schema(**some)))
def test_every_schema_is_either_an_error_before_the_job_or_accepted(given: dict[str, Any]) -> None:
    assert (why_not_bound(given) is None) is (rejection(bound(given)) is None)


#: Names of fields that are keywords of JSON schema too.
_KEYWORDS = (
    "default",
    "enum",
    "const",
    "examples",
    "required",
    "title",
    "pattern",
    "uniqueItems",
    "$ref",
    "definitions",
)


@pytest.mark.parametrize("name", _KEYWORDS)
def test_a_field_may_have_the_name_of_a_keyword(name: str) -> None:
    fields: dict[str, Any] = {
        "price": (Decimal, Field(alias=name)),
        "tags": (set[int], Field(alias=f"{name}s")),
    }
    plain: dict[str, Any] = {"price": (Decimal, Field(alias="x")), "tags": (set[int], Field(alias="xs"))}
    found, expected = (AnswerSchema(create_model("Answer", **one)) for one in (fields, plain))
    assert list(found.schema["properties"].values()) == list(expected.schema["properties"].values())
    response = ModelResponse(text=orjson.dumps({name: "1.5", f"{name}s": [1, 1]}).decode())
    assert found.read(response)[0] == {name: "1.5", f"{name}s": [1]}


@pytest.mark.parametrize("key", ["x", "title", "discriminator", "definitions"])
def test_what_depends_on_a_member_is_checked_whatever_its_name(key: str) -> None:
    names = {key: {"type": "integer"}, "other": {"type": "integer"}}
    structure = AnswerSchema(schema(**names) | {"dependentRequired": {key: ["other"]}})
    with pytest.raises(AnswerInvalidError):
        structure.read(ModelResponse(text=orjson.dumps({key: 1}).decode()))


@pytest.mark.parametrize(
    ("beside", "accepted"),
    [
        ({"description": "what it is"}, True),
        ({"minimum": 5}, True),  # the same
        ({"maximum": 9}, True),
        ({"minimum": 0}, False),
        ({"type": "number"}, False),
    ],
)
def test_a_rule_beside_a_reference_does_not_replace_that_of_its_definition(
    beside: dict[str, Any], accepted: bool
) -> None:
    given = schema(n={"$ref": "#/$defs/N", **beside}) | {"$defs": {"N": {"type": "integer", "minimum": 5}}}
    if not accepted:
        with pytest.raises(
            ConfigurationError, match="beside a reference to '#/\\$defs/N', which has another"
        ):
            AnswerSchema(given)
        return
    with pytest.raises(AnswerInvalidError):
        AnswerSchema(given).read(ModelResponse(text='{"n": 1}'))
    assert AnswerSchema(given).read(ModelResponse(text='{"n": 7}'))[0] == {"n": 7}


def test_a_reference_may_name_the_schema_that_it_is_in() -> None:
    given = schema(n={"$ref": "https://example.com/answer#/$defs/N"})
    whole = given | {"$id": "https://example.com/answer", "$defs": {"N": {"type": "integer", "minimum": 5}}}
    with pytest.raises(AnswerInvalidError):
        AnswerSchema(whole).read(ModelResponse(text='{"n": 1}'))
    assert AnswerSchema(whole).read(ModelResponse(text='{"n": 7}'))[0] == {"n": 7}
    with pytest.raises(ConfigurationError, match="which is not in it"):
        AnswerSchema(whole | {"$id": "https://example.com/another"})
