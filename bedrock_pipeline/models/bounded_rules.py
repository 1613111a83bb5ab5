"""A validator of JSON schemas whose time grows with the size of a response, whatever the response has.

`jsonschema` searches patterns with Python's `re`, which takes for ever with some texts; compares the items of an array pair
by pair; keeps an error for each item of an alternative that does not fit; and follows a reference once more for each
alternative on the way to it, which doubles the time with each level. What belongs here: these keywords once more, with the
regular expressions of pydantic, which never go back, and with references that are followed once for each value. And
`multipleOf`, which it decides with floats: of 0.01 neither 19.99 nor 4.35 would be a multiple.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from bedrock_pipeline.models.answer_class import AnswerSchemaError
from bedrock_pipeline.models.answer_rules import BY_NAME, DATA

#: Keywords whose check takes time that grows with the square of a response or faster, and what to use instead.
_UNBOUNDED: Final = {
    "unevaluatedItems": "items",
    "unevaluatedProperties": "additionalProperties",
    "$dynamicRef": "$ref",
}
#: The longest exponent of a number that has multiples: a decimal of some bytes may have one that fills the memory.
_FURTHEST: Final = 400
#: What references have found in the value that is checked, by the reference and the part of the value.
_FOUND: ContextVar[dict[tuple[int, int], ValidationError | None]] = ContextVar("_FOUND")


def require_bounded(schema: Any) -> None:
    """Require a schema that can be checked in bounded time.

    Raises:
        AnswerSchemaError: it has a pattern that looks around or refers back, or a keyword of `_UNBOUNDED`.
    """
    if isinstance(schema, list):
        for one in schema:
            require_bounded(one)
    if not isinstance(schema, Mapping):
        return
    if named := sorted(_UNBOUNDED.keys() & schema.keys()):
        raise AnswerSchemaError(
            f"answer_schema has {named[0]}, which takes too long to check for a large response.",
            f"Use {_UNBOUNDED[named[0]]}.",
        )
    for pattern in [schema.get("pattern", ""), *schema.get("patternProperties", ())]:
        if why_not := why_irregular(pattern):
            raise AnswerSchemaError(
                f"answer_schema has the pattern {pattern!r}, which is not checked in bounded time: {why_not}.",
                "Write it without looking around (?=, ?!, ?<) and without references to groups.",
            )
    for name, value in schema.items():
        if name not in DATA:
            require_bounded(list(value.values()) if name in BY_NAME else value)


def why_irregular(pattern: str) -> str | None:
    """Why a pattern is none that can be searched without ever going back; None if it can."""
    try:
        _compiled(pattern)
    except SchemaError as error:
        return " ".join(str(error).split())
    return None


class BoundedValidator:
    """A validator of a schema that `require_bounded` takes."""

    def __init__(self, schema: Any) -> None:
        self._validator: Validator = _VALIDATOR(schema)

    def is_valid(self, value: Any) -> bool:
        """Whether a value keeps the schema."""
        return self.error(value) is None

    def error(self, value: Any) -> ValidationError | None:
        """The first way in which a value breaks the schema. Its message can quote the value: show its path only."""
        found = _FOUND.set({})
        try:
            return next(self._validator.iter_errors(value), None)
        finally:
            _FOUND.reset(found)


@lru_cache(256)
def _compiled(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _is_found(pattern: str, text: str) -> bool:
    return _compiled(pattern).isinstance_python(text)


def _ref(validator: Any, ref: str, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    found, key = _FOUND.get(), (id(schema), id(value))
    if key not in found:
        error = next(_followed(validator, ref, value, schema), None)
        # A copy: what yields an error on writes its own path into it.
        found[key] = error and ValidationError.create_from(error)
    if error := found[key]:
        yield ValidationError.create_from(error)


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _is_found(pattern, value):
        yield ValidationError("pattern")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, _: Any
) -> Iterator[ValidationError]:
    for pattern, rule in patterns.items() if isinstance(value, dict) else ():
        for name, one in value.items():
            if _is_found(pattern, name):
                yield from validator.descend(one, rule, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, rule: Any, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, one in value.items() if isinstance(value, dict) else ():
        if name not in named and not any(_is_found(pattern, name) for pattern in patterns):
            yield from validator.descend(one, rule, path=name)


def _unique_items(_: Any, unique: bool, value: Any, __: Any) -> Iterator[ValidationError]:
    if unique and isinstance(value, list) and len({_same_text(one) for one in value}) < len(value):
        yield ValidationError("uniqueItems")


def _multiple_of(_: Any, step: Any, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return
    number = Decimal(str(value))  # as it is written
    if not number.is_finite() or abs(number.adjusted()) > _FURTHEST or Fraction(number) % Fraction(str(step)):
        yield ValidationError("multipleOf")


def _any_of(validator: Any, rules: list[Any], value: Any, _: Any) -> Iterator[ValidationError]:
    if not any(validator.evolve(schema=rule).is_valid(value) for rule in rules):
        yield ValidationError("anyOf")


def _one_of(validator: Any, rules: list[Any], value: Any, _: Any) -> Iterator[ValidationError]:
    if sum(validator.evolve(schema=rule).is_valid(value) for rule in rules) != 1:
        yield ValidationError("oneOf")


def _same_text(value: Any) -> str:
    """A text that two values have in common if JSON schema takes them for the same: 1 and 1.0, members in any order."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value


_followed: Callable[..., Iterator[ValidationError]] = jsonschema.Draft202012Validator.VALIDATORS["$ref"]
_extended: Callable[..., Any] = jsonschema.validators.extend
_VALIDATOR: Final = _extended(
    jsonschema.Draft202012Validator,
    {
        "$ref": _ref,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
        "uniqueItems": _unique_items,
        "multipleOf": _multiple_of,
        "anyOf": _any_of,
        "oneOf": _one_of,
    },
)
