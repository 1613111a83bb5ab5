"""What is found to keep a schema keeps it by `jsonschema` too; and ordinary responses are found."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.models.certain_schema import certain

VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 2.0, 1.5, 2**70, "", "a", "bb", "ccc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
_COUNTS = st.integers(0, 3)
_TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
_SIMPLE = st.fixed_dictionaries(
    {"type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True)},
    optional={
        "enum": st.lists(st.sampled_from([None, 0, 1, False, "a", "bb"]), min_size=1, max_size=3),
        "minimum": _COUNTS,
        "maximum": _COUNTS,
        "minLength": _COUNTS,
        "maxLength": _COUNTS,
        "minItems": _COUNTS,
        "maxItems": _COUNTS,
        "title": st.just("t"),
        "format": st.just("date"),
        "pattern": st.just("^a"),
        "not": st.just({"type": "string"}),
    },
)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": members},
        optional={
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
        },
    )
    arrays = st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    choices = st.fixed_dictionaries(
        {"anyOf": st.lists(inner, min_size=1, max_size=2)}, optional={"type": _TYPES}
    )
    return objects | arrays | choices


SCHEMAS = st.recursive(_SIMPLE | st.booleans() | st.just({}), _larger, max_leaves=6)


@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=6))
def test_what_is_certain_is_valid(schema: Any, values: list[Any]) -> None:
    keeps, validator = certain(schema), jsonschema.Draft202012Validator(schema)
    for value in values:
        assert not keeps(value) or validator.is_valid(value)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"label": "good", "score": 0.5, "tags": ["a"], "note": None}, True),
        ({"label": "good", "score": 1, "tags": [], "inner": {"n": 3}}, True),
        ({"label": "other", "score": 0.5, "tags": []}, False),
        ({"label": "good", "score": True, "tags": []}, False),
        ({"label": "good", "score": 0.5, "tags": [1]}, False),
        ({"label": "good", "score": 0.5, "tags": [], "more": 1}, False),
        ({"label": "good", "score": 0.5}, False),
        ({"label": "good", "score": 0.5, "tags": [], "inner": {"n": 3, "m": 1}}, False),
    ],
)
def test_ordinary_responses_are_found(value: dict[str, Any], *, found: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "enum": ["good", "bad"], "description": "…"},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
            "tags": {"type": "array", "items": {"type": "string"}},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "inner": {
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "additionalProperties": False,
            },
        },
        "required": ["label", "score", "tags"],
        "additionalProperties": False,
    }
    assert certain(schema)(value) is found
