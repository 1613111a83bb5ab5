"""Values that certainly keep a JSON schema and have no decimal (`exact_numbers`), found much faster than by `jsonschema`.

What belongs here: the keywords that most schemas of responses have. A value that is not found to keep its schema is not
wrong: `jsonschema` decides about it, and is the only one that says what is wrong.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from bedrock_pipeline.models.exact_numbers import has_decimals

#: Whether a value certainly keeps a schema.
Certain: TypeAlias = Callable[[Any], bool]

#: Keywords that constrain nothing; without a format checker `format` is one of them.
_ANNOTATIONS: Final = frozenset(
    {"title", "description", "default", "examples", "readOnly", "deprecated", "format", "$comment"}
)
_KEYWORDS: Final = _ANNOTATIONS | {
    *("type", "enum", "anyOf", "properties", "required", "additionalProperties"),
    *("items", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"),
}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def certain(schema: Any) -> Certain:
    """A function that finds values that keep a schema; for a schema with other keywords it finds none."""
    if not isinstance(schema, Mapping) or not schema.keys() <= _KEYWORDS:
        return _never
    if "anyOf" in schema:
        options = [certain(one) for one in schema["anyOf"]]
        if schema.keys() - _ANNOTATIONS - {"anyOf"}:
            return _never
        return lambda value: any(keeps(value) for keeps in options)
    if "type" not in schema:
        return _never
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    of_kinds = [_of_type(kind, schema) for kind in kinds]
    if len(of_kinds) == 1:
        return of_kinds[0]
    return lambda value: any(keeps(value) for keeps in of_kinds)


def _never(_: Any) -> bool:
    return False


def _anything(value: Any) -> bool:
    return not has_decimals(value)


def _of_type(kind: str, schema: Mapping[str, Any]) -> Certain:
    """Values of one type. Keywords that are of another type do not concern them."""
    if kind == "string":
        return _string(schema)
    if "enum" in schema:
        return _never
    if kind == "object":
        return _object(schema)
    if kind == "array":
        return _array(schema)
    if kind not in _TYPES:
        return _never
    types = _TYPES[kind]
    least, most = schema.get("minimum"), schema.get("maximum")
    if kind in ("boolean", "null") or (least is None and most is None):
        return lambda value: type(value) in types
    low, high = float("-inf") if least is None else least, float("inf") if most is None else most
    return lambda value: type(value) in types and low <= value <= high


def _string(schema: Mapping[str, Any]) -> Certain:
    least, most = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
    if "enum" in schema:
        texts = frozenset(one for one in schema["enum"] if isinstance(one, str))
        return lambda value: type(value) is str and value in texts and least <= len(value) <= most
    if not least and most == float("inf"):
        return lambda value: type(value) is str
    return lambda value: type(value) is str and least <= len(value) <= most


def _array(schema: Mapping[str, Any]) -> Certain:
    least, most = schema.get("minItems", 0), schema.get("maxItems", float("inf"))
    keeps = certain(schema["items"]) if "items" in schema else _anything
    return lambda value: type(value) is list and least <= len(value) <= most and all(map(keeps, value))


def _object(schema: Mapping[str, Any]) -> Certain:
    if schema.get("additionalProperties", True) not in (True, False):
        return _never
    required = frozenset(schema.get("required", ()))
    members = {name: certain(one) for name, one in schema.get("properties", {}).items()}
    other = _anything if schema.get("additionalProperties", True) else _never

    def keeps(value: Any) -> bool:
        if type(value) is not dict or not required <= value.keys():
            return False
        for name, one in value.items():  # noqa: SIM110  # a generator would take half as long again
            if not members.get(name, other)(one):
                return False
        return True

    return keeps
