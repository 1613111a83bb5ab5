"""Stricter forms of a response's schema, which a plain reading fits and a wrapped one does not.

Schemas are open to members that they do not name, so that every object keeps a schema without required members; also one
that has the answer as a member.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bedrock_pipeline.models.family import Json

#: Members of a schema whose keys are the user's names and whose values are schemas; and those whose values are data.
BY_NAME: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})
DATA: Final = frozenset({"enum", "const", "default", "examples", "required", "dependentRequired"})
#: Keywords by which other schemas say more about the same object, so that its own names are not all of them.
_COMBINED: Final = frozenset(
    {"allOf", "anyOf", "oneOf", "if", "dependentSchemas", "patternProperties", "unevaluatedProperties"}
)
#: Gives keywords for an object with members of these names.
_Rule = Callable[[list[str]], dict[str, Any]]


def closed(schema: Json) -> dict[str, Any]:
    """The schema with objects that have members of the given names only, as it is requested."""
    return _with_rule(_opened(schema), lambda _: {"additionalProperties": False})


def knowing(schema: Json) -> dict[str, Any]:
    """The schema with objects that are empty, or have at least one member of the given names."""
    return _with_rule(
        _opened(schema),
        lambda names: {"anyOf": [{"maxProperties": 0}, *({"required": [name]} for name in names)]},
    )


def without(schema: Any, keyword: str, leaves_out: Callable[[Any], bool]) -> Any:
    """The schema without a keyword where it has certain values; properties stay, whatever their names."""
    if isinstance(schema, list):
        return [without(one, keyword, leaves_out) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: value
        if name in DATA
        else {key: without(one, keyword, leaves_out) for key, one in value.items()}
        if name in BY_NAME
        else without(value, keyword, leaves_out)
        for name, value in schema.items()
        if name != keyword or not leaves_out(value)
    }


def _opened(schema: Json) -> Json:
    """Without the permission of any other member, which no column has."""
    return {
        name: value
        for name, value in schema.items()
        if not (name == "additionalProperties" and value is True)
    }


def _inner(schema: Any, rule: _Rule) -> Any:
    return _with_rule(schema, rule) if isinstance(schema, Mapping) else schema


def _with_rule(schema: Json, rule: _Rule) -> dict[str, Any]:
    """A schema with a rule added to its objects; not where their names are not known, or any other is permitted."""
    changed = dict(schema)
    named = "properties" in schema
    for name in ("items", "additionalProperties"):
        if name in schema:
            changed[name] = _inner(schema[name], rule)
    for name in ("prefixItems", *(() if named else ("anyOf",))):
        if name in schema:
            changed[name] = [_inner(one, rule) for one in schema[name]]
    if named:
        changed["properties"] = {name: _inner(one, rule) for name, one in schema["properties"].items()}
        if not schema.keys() & _COMBINED and schema.get("additionalProperties", False) is False:
            changed |= rule(list(schema["properties"]))
    return changed


def names_in(schema: Any) -> Iterator[str]:
    """The names of all properties in a schema."""
    members = schema.items() if isinstance(schema, Mapping) else ()
    for name, value in (one for one in members if one[0] not in DATA):
        if name == "properties":
            yield from value
        for one in value.values() if name in BY_NAME else value if isinstance(value, list) else (value,):
            yield from names_in(one)
