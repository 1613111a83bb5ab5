"""What structured output does not take: translated where that is safe, else an error that names the place and the way out.

Source: "JSON Schema limitations" in Anthropic's page of structured outputs, and what users of Bedrock report; the emulator has
its own reading of them (`emulator.models.structured.rejection`).
"""

from decimal import Decimal
from ipaddress import IPv4Network
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from bedrock_pipeline.emulator.models.structured import rejection
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.models.structured import AnswerSchema, bound, why_not_bound
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
