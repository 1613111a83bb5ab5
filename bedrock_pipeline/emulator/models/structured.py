"""Answers that keep a JSON schema.

What belongs here: a value for a schema, decided by the text that was asked alone; and the checks and the breaking of
structured answers that are common to the families.
"""

import random
from collections.abc import Iterator
from typing import Any

import orjson

from bedrock_pipeline.emulator.models.reply import Body, digest

_DEPTH = 8
#: Rules that structured output cannot hold a model to.
_UNBOUND = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems", "uniqueItems"),
}
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def value_for(schema: Any, asked: str) -> Any:
    """A value that keeps the schema; regular expressions (`pattern`) and combinations by `allOf` are not minded."""
    # The seed is the text's: the same question gets the same answer.
    return _value(schema, schema, random.Random(digest(asked)), asked.split() or ["nothing"], 0)  # noqa: S311


def json_text(schema: Any, asked: str) -> str:
    """A value that keeps the schema, as JSON."""
    return orjson.dumps(value_for(schema, asked)).decode()


def refusal(schema: Any) -> str | None:
    """Why structured output does not take a schema; None where it does."""
    for node in _nodes(schema):
        if isinstance(node.get("properties"), dict) and node.get("additionalProperties") is not False:
            return "For 'object' type, 'additionalProperties' must be explicitly set to false"
        if isinstance(node.get("type"), str) and (extra := sorted(_UNBOUND & node.keys())):
            return f"For '{node['type']}' type, property '{extra[0]}' is not supported"
    return None


def spoil(body: Body) -> None:
    """Break the structured answers in a reply: a tool's input gets wrong types, JSON in a text is cut off."""
    message = body.get("output", {}).get("message", {})
    for block in [*body.get("content", ()), *message.get("content", ())]:
        use = block.get("toolUse", block)
        if "input" in use:
            use["input"] = {name: [value] for name, value in use["input"].items()}
        elif block.get("text", "").startswith("{"):
            block["text"] = block["text"][: len(block["text"]) // 2]


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, list):
        for one in schema:
            yield from _nodes(one)
    elif isinstance(schema, dict):
        yield schema
        for one in schema.values():
            yield from _nodes(one)


def _value(schema: Any, whole: Any, chance: random.Random, words: list[str], depth: int) -> Any:
    if not isinstance(schema, dict):
        return " ".join(chance.sample(words, min(2, len(words))))
    if "$ref" in schema:
        target: Any = whole
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _value(target, whole, chance, words, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return chance.choice(schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _value(chance.choice(schema[choice]), whole, chance, words, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = chance.choice(kind)
    if kind == "object":
        return _object(schema, whole, chance, words, depth)
    if kind == "array":
        count = chance.randint(
            schema.get("minItems", 1), schema.get("maxItems", schema.get("minItems", 1) + 2)
        )
        return [_value(schema.get("items"), whole, chance, words, depth + 1) for _ in range(count)]
    return _scalar(kind, schema, chance, words)


def _object(
    schema: dict[str, Any], whole: Any, chance: random.Random, words: list[str], depth: int
) -> dict[str, Any]:
    """All that is required, and half of what is not; nothing of that in the depth, so that there is an end."""
    required = set(schema.get("required", ()))
    return {
        name: _value(one, whole, chance, words, depth + 1)
        for name, one in schema.get("properties", {}).items()
        if name in required or (depth < _DEPTH and chance.random() < 0.5)
    }


def _scalar(kind: str, schema: dict[str, Any], chance: random.Random, words: list[str]) -> Any:
    if kind == "boolean":
        return chance.random() < 0.5
    if kind == "null":
        return None
    if kind in ("integer", "number"):
        return _number(kind, schema, chance)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = " ".join(chance.sample(words, min(chance.randint(3, 12), len(words))))
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    text += "." * max(0, low - len(text))
    return text[:high] if high is not None else text


def _number(kind: str, schema: dict[str, Any], chance: random.Random) -> int | float:
    low = schema.get("minimum", schema.get("exclusiveMinimum", schema.get("maximum", 1000) - 1000))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 1000))
    if kind == "integer":
        step = schema.get("multipleOf", 1)
        first, last = -(-low // step), high // step
        first += first * step == schema.get("exclusiveMinimum")
        last -= last * step == schema.get("exclusiveMaximum")
        return int(step * chance.randint(int(first), int(last)))
    return round(float(low + (high - low) * chance.uniform(0.01, 0.99)), 6)
