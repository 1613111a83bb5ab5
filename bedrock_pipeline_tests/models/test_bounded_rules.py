"""Whatever a response has, checking it against its schema takes bounded time; and it finds what `jsonschema` finds."""

import re
from decimal import Decimal
from typing import Annotated, Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.answer_class import AnswerSchemaError
from bedrock_pipeline.models.bounded_rules import BoundedValidator
from bedrock_pipeline.models.exact_numbers import dumps
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema
from bedrock_pipeline_tests.models.test_certain_schema import VALUES

#: For Python's `re`, some thirty of these letters take minutes.
SLOW = "^(a+)+$"
MANY = 30_000


class Slow(BaseModel):
    a: Annotated[str, Field(pattern=SLOW)]


def schema(rule: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": rule}}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("structure", "value"),
    [
        (schema({"type": "string", "pattern": SLOW}), "a" * 1_000_000 + "!"),
        (Slow, "a" * 1_000_000 + "!"),
        (
            schema({"type": "object", "patternProperties": {SLOW: {}}, "additionalProperties": False}),
            {"a" * 1_000_000 + "!": 1},
        ),
        (schema({"anyOf": [{"type": "null"}, {"type": "string", "pattern": SLOW}]}), "a" * 1_000_000 + "!"),
        (
            schema({"type": "array", "uniqueItems": True}),
            [*range(MANY), *({"b": n} for n in range(MANY)), 1.0],
        ),
        (schema({"type": "array", "uniqueItems": True}), [[[]]] * MANY),
        (schema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}), [0] * MANY),
    ],
)
def test_a_hostile_response_is_invalid_in_bounded_time(structure: Any, value: Any) -> None:
    answer = ModelResponse(dumps({"a": value}).decode())
    with pytest.raises(AnswerInvalidError) as error:
        AnswerSchema(structure).read(answer)
    assert len(str(error.value)) < 200, "it does not quote the response"


def _nested(levels: int) -> Any:
    value: Any = {"end": 1}
    for _ in range(levels):
        value = {"a": value}
    return value


_CHILD = {"properties": {"a": {"$ref": "#/$defs/node"}}}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_a_recursive_schema_is_checked_in_bounded_time_however_deep_the_response_is(keyword: str) -> None:
    ends: list[dict[str, Any]] = [{"required": ["b"]}, {}] if keyword != "allOf" else [{}, {}]
    node = {keyword: [{"type": "object", **_CHILD, **end} for end in ends]}
    rules = {"$defs": {"node": node}, "$ref": "#/$defs/node"}
    for value, is_valid in ((_nested(25), True), ({"a": {"a": 1}}, False), ([], False)):
        assert BoundedValidator(rules).is_valid(value) is is_valid
    broken = BoundedValidator({"$defs": {"node": {"type": "object", **_CHILD}}, **_CHILD}).error(
        {"a": {"a": 1}}
    )
    assert broken is not None
    assert list(broken.absolute_path) == ["a", "a"]


class Python(BaseModel):
    model_config = ConfigDict(regex_engine="python-re")
    a: str = Field(pattern=SLOW)


class Compiled(BaseModel):
    a: str = Field(pattern=re.compile(SLOW))


class Within(BaseModel):
    many: list[Python]


@pytest.mark.parametrize(
    ("structure", "why"),
    [
        (schema({"type": "string", "pattern": "^(?!a)"}), "look-around"),
        (schema({"type": "string", "pattern": r"(a)\1"}), "backreferences"),
        (schema({"type": "object", "patternProperties": {"(?=a)": {}}}), "look-around"),
        (schema({"type": "object", "properties": {"pattern": {"items": {"pattern": "(?<=a)"}}}}), "look-around"),
        (schema({"anyOf": [{"type": "object", "unevaluatedProperties": False}]}), "unevaluatedProperties"),
        (schema({"type": "array", "items": {"$dynamicRef": "#a"}}), "dynamicRef"),
        (Python, "regex_engine"),
        (Within, "regex_engine"),
        (Compiled, "compiled"),
    ],
)  # fmt: skip
def test_what_no_bounded_time_suffices_for_is_an_error_of_the_definition(structure: Any, why: str) -> None:
    with pytest.raises(AnswerSchemaError, match=why):
        AnswerSchema(structure)


_RULES = st.fixed_dictionaries(
    {},
    optional={
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["a", "^b+$"]),
        "patternProperties": st.sampled_from([{"a": {"type": "integer"}}, {"^[bc]$": False}]),
        "additionalProperties": st.sampled_from([True, False, {"type": "string"}]),
        "properties": st.just({"a": {"type": ["string", "integer"]}}),
    },
)
_SCHEMAS = st.recursive(
    _RULES,
    lambda inner: (
        st.fixed_dictionaries({"items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=4,
)


@given(_SCHEMAS, st.lists(VALUES, min_size=1, max_size=6))
def test_it_finds_what_jsonschema_finds(rules: dict[str, Any], values: list[Any]) -> None:
    for value in values:
        assert BoundedValidator(rules).is_valid(value) is jsonschema.Draft202012Validator(rules).is_valid(
            value
        )


@pytest.mark.parametrize(
    ("step", "multiples", "others"),
    [
        (0.01, [19.99, 4.35, 0.07, 1.1, -0.01, 0, 3, 0.0, 1e3], [0.001, 19.999, 1e-3]),
        (0.1, [0.3, 0.7, 1.1, 5], [0.25, 0.05]),
        (7, [0, 7, -14, 21.0], [1, 7.5, True, "7"]),
        (2.5, [5, 7.5, 2**70 * 5], [6]),
        (0.01, [Decimal("12345678901234567.25")], [Decimal("12345678901234567.255")]),
        (0.01, [], [Decimal("1234567890.1234567e999999999"), float("inf"), float("nan")]),
    ],
)
def test_a_multiple_is_one_of_the_numbers_as_they_are_written(
    step: Any, multiples: list[Any], others: list[Any]
) -> None:
    validator = BoundedValidator({"multipleOf": step})
    assert [one for one in multiples if not validator.is_valid(one)] == []
    # Texts and booleans have no multiples.
    numbers = [one for one in others if not isinstance(one, bool | str)]
    assert [one for one in numbers if validator.is_valid(one)] == []
    assert all(validator.is_valid(one) for one in others if isinstance(one, bool | str))
