"""Structured responses that are right but wrapped: other readings of a response whose plain reading breaks its schema.

What belongs here: the readings, in a fixed order. `AnswerSchema.read` takes the first that keeps the schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import orjson

from bedrock_pipeline.models.exact_numbers import loads, options
from bedrock_pipeline.models.family import Json

#: Code block in Markdown around the JSON; objects and arrays given as text of JSON; an object around the answer.
FENCE: Final = "fence"
JSON_TEXT: Final = "json-text"
WRAPPER: Final = "wrapper"
_MARK: Final = "```"
#: Names of the only member of an object around an answer.
_WRAPPERS: Final = frozenset(
    {"answer", "result", "response", "output", "data", "input", "arguments", "parameters"}
)
#: A value, and what was taken off to get it.
Reading: TypeAlias = tuple[Any, tuple[str, ...]]


def readings(given: Any, schema: Json) -> Iterator[Reading]:
    """Other values that a response may mean, the nearest first.

    Args:
        given: its value of JSON; or its text, if that is not JSON.
        schema: of an object, without references.
    """
    value: Any = given
    kinds: tuple[str, ...] = ()
    if isinstance(given, str):
        found = _fenced(given)
        if found is not None:
            value, kinds = found, (FENCE,)
            yield value, kinds
    yield from _as_json_text(value, kinds, schema)
    if isinstance(value, Mapping) and len(value) == 1:
        [(name, inner)] = value.items()
        if name.lower() in _WRAPPERS:
            yield inner, (*kinds, WRAPPER)
            yield from _as_json_text(inner, (*kinds, WRAPPER), schema)


def _as_json_text(value: Any, kinds: tuple[str, ...], schema: Json) -> Iterator[Reading]:
    read = _parsed(value, schema)
    if read is not value:
        yield read, (*kinds, JSON_TEXT)


def _fenced(text: str) -> Any:
    """The JSON of the only code block that is JSON; None if there is none, or more than one.

    A string of JSON has no raw line end, so that a mark at the beginning of a line is none of its own.
    """
    stripped = text.strip()
    if stripped.startswith(_MARK) and stripped.endswith(_MARK):
        inside = stripped.strip("`").lstrip()
        whole = _loads(inside[4:] if inside[:4].lower() == "json" else inside)
        if whole is not None:
            return whole
    blocks: list[list[str]] = []
    is_open = False
    for line in text.split("\n"):
        if line.lstrip().startswith(_MARK):
            is_open = not is_open
            if is_open:
                blocks.append([])
        elif is_open:
            blocks[-1].append(line)
    found = [value for block in blocks if (value := _loads("\n".join(block))) is not None]
    return found[0] if len(found) == 1 else None


def _parsed(value: Any, schema: Any) -> Any:
    """A value whose objects and arrays may be text of JSON where the schema has no text; the same object if none is."""
    if not isinstance(schema, Mapping):
        return value
    choices = options(schema)
    kinds = {kind for one in choices for kind in _kinds(one)}
    if isinstance(value, str):
        if "string" in kinds or not {"object", "array"} & kinds:
            return value
        read = _loads(value)
        return _parsed(read, schema) if isinstance(read, list | dict) else value
    if isinstance(value, list):
        items = next((one["items"] for one in choices if "items" in one), True)
        elements = [_parsed(one, items) for one in value]
        return value if all(new is old for new, old in zip(elements, value, strict=True)) else elements
    if isinstance(value, Mapping):
        members = {name: _parsed(one, _member(choices, name)) for name, one in value.items()}
        return value if all(members[name] is one for name, one in value.items()) else members
    return value


def _kinds(schema: Json) -> list[str]:
    kinds = schema.get("type", ())
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _member(choices: list[Json], name: str) -> Any:
    return next((one["properties"][name] for one in choices if name in one.get("properties", ())), True)


def _loads(text: str) -> Any:
    try:
        return loads(text)
    except orjson.JSONDecodeError:
        return None
