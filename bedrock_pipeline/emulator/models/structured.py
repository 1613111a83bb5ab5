"""Answers that keep a JSON schema.

What belongs here: a value for a schema, decided by the prompt alone; and the checks and the breaking of
structured answers that are common to the families.
"""

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from bedrock_pipeline.emulator.models.reply import Body, digest

_DEPTH = 8
#: Rules that structured output cannot hold a model to.
_UNBOUND = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems", "uniqueItems"),
}
#: The formats of strings that structured output knows, each with a value.
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}
#: Members of a schema whose values are no schemas.
_VALUES = ("const", "enum", "default", "examples")
#: Members of a schema whose values are schemas by names of the schema's own.
_NAMED = ("properties", "patternProperties", "$defs", "definitions")


def value_for(schema: Any, prompt: str) -> Any:
    """A value that keeps the schema; regular expressions (`pattern`) and combinations by `allOf` are not minded."""
    # The seed is the text's: the same question gets the same answer.
    return _value(schema, schema, random.Random(digest(prompt)), prompt.split() or ["nothing"], 0)  # noqa: S311


def json_text(schema: Any, prompt: str) -> str:
    """A value that keeps the schema, as JSON."""
    return orjson.dumps(value_for(schema, prompt)).decode()


def invalid(schema: Any) -> str | None:
    """What is wrong with a JSON schema; None where it is one."""
    return _invalid(orjson.dumps(schema))


@lru_cache(maxsize=100)
def _invalid(encoded: bytes) -> str | None:
    # Here: most requests have no schema, and importing it takes a while.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schema = orjson.loads(encoded)
    try:
        Draft202012Validator.check_schema(schema)
        for node in _nodes(schema):
            if "$ref" in node:
                _target(node["$ref"], schema)
    except (SchemaError, LookupError, TypeError):
        return "JSON schema is invalid. It must match JSON Schema draft 2020-12"
    return None


def _target(reference: str, whole: Any) -> Any:
    """What a `$ref` points to."""
    target = whole
    for step in reference.removeprefix("#").strip("/").split("/"):
        target = target[step] if step else target
    return target


def rejection(schema: Any) -> str | None:
    """Why structured output does not take a schema; None where it does.

    Source: "JSON Schema limitations", Anthropic's page of structured outputs, and the messages that users report.
    """
    for node in _nodes(schema):
        if why := _object_rejected(node) or _keyword_rejected(node):
            return why
    return None


def _object_rejected(node: dict[str, Any]) -> str | None:
    if node.get("type") != "object" and "properties" not in node:
        return None
    others = node.get("additionalProperties")
    if others is None:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if others is not False:
        given = "true" if others is True else "object"
        return (
            f"For 'object' type, 'additionalProperties: {given}' is not supported. "
            "Please set 'additionalProperties' to false"
        )
    return None


def _keyword_rejected(node: dict[str, Any]) -> str | None:
    if "oneOf" in node:
        return "Schema type 'oneOf' is not supported"
    kind = node.get("type")
    if "prefixItems" in node:
        return "For 'array' type, property 'prefixItems' is not supported"
    if kind == "array" and node.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if isinstance(kind, str) and (extra := sorted(_UNBOUND & node.keys())):
        return f"For '{kind}' type, property '{extra[0]}' is not supported"
    if kind == "string" and node.get("format", "uuid") not in _FORMATS:
        return f"For 'string' type, format '{node['format']}' is not supported"
    return None


def spoil(body: Body) -> None:
    """Break the structured answers in a reply: a tool's input gets wrong types, JSON in a text is cut off."""
    message = body.get("output", {}).get("message", {})
    for block in [*body.get("content", ()), *message.get("content", ())]:
        use = block.get("toolUse") or block
        if use.get("input"):
            use["input"] = {name: [value] for name, value in use["input"].items()}
        elif (block.get("text") or "").startswith("{"):
            block["text"] = block["text"][: len(block["text"]) // 2]
    for choice in body.get("choices", ()):
        said = choice.get("message", {})
        for call in said.get("tool_calls") or ():
            call["function"]["arguments"] = call["function"]["arguments"][:-1]
        if (said.get("content") or "").startswith("{"):
            said["content"] = said["content"][: len(said["content"]) // 2]


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for one in schema:
            yield from _nodes(one)
    elif isinstance(schema, dict):
        yield schema
        for name, one in schema.items():
            if name in _NAMED and isinstance(one, dict):
                yield from _nodes(list(one.values()))
            elif name not in _VALUES:
                yield from _nodes(one)


def _value(schema: Any, whole: Any, rng: random.Random, words: list[str], depth: int) -> Any:
    if not isinstance(schema, dict):
        return " ".join(rng.sample(words, min(2, len(words))))
    if "$ref" in schema:
        return _value(_target(schema["$ref"], whole), whole, rng, words, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"] or [None])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _value(rng.choice(schema[choice]), whole, rng, words, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = rng.choice(kind)
    if kind == "object":
        return _object(schema, whole, rng, words, depth)
    if kind == "array":
        count = rng.randint(schema.get("minItems", 1), schema.get("maxItems", schema.get("minItems", 1) + 2))
        return [_value(schema.get("items"), whole, rng, words, depth + 1) for _ in range(count)]
    return _scalar(kind, schema, rng, words)


def _object(
    schema: dict[str, Any], whole: Any, rng: random.Random, words: list[str], depth: int
) -> dict[str, Any]:
    """All that is required, and half of what is not; nothing of that in the depth, so that there is an end."""
    required = set(schema.get("required", ()))
    return {
        name: _value(one, whole, rng, words, depth + 1)
        for name, one in schema.get("properties", {}).items()
        if name in required or (depth < _DEPTH and rng.random() < 0.5)
    }


def _scalar(kind: str, schema: dict[str, Any], rng: random.Random, words: list[str]) -> Any:
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    if kind in ("integer", "number"):
        return _number(kind, schema, rng)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = " ".join(rng.sample(words, min(rng.randint(3, 12), len(words))))
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    text += "." * max(0, low - len(text))
    return text[:high] if high is not None else text


def _number(kind: str, schema: dict[str, Any], rng: random.Random) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", schema.get("maximum", 1000) - 1000))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 1000))
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        first, last = -(-low // step), high // step
        first += first * step == schema.get("exclusiveMinimum")
        last -= last * step == schema.get("exclusiveMaximum")
        return int(step * rng.randint(int(first), int(last)))
    return round(float(low + (high - low) * rng.uniform(0.01, 0.99)), 6)
