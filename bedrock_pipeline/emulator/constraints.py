"""Requests checked against the service model.

What belongs here: required members, types, patterns, bounds and enumerations, as botocore's model has them.
"""

import re
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.session import Session

from bedrock_pipeline.emulator.errors import invalid

_SESSION = Session()
_MODELS = {name: _SESSION.get_service_model(name) for name in ("bedrock", "bedrock-runtime")}


def check(operation: str, values: dict[str, Any], *, service: str = "bedrock") -> None:
    """Reject a request that breaks the service model.

    Raises:
        ServiceError: a ValidationException that names the member.
    """
    shape = _MODELS[service].operation_model(operation).input_shape
    if shape is not None:
        problems = list(_problems(shape, values, ""))
        if problems:
            many = "error" if len(problems) == 1 else "errors"
            raise invalid(f"{len(problems)} validation {many} detected: {'; '.join(problems)}")


def broken_members(values: dict[str, Any]) -> str | None:
    """What breaks the service model in members of a Converse request that are there; None where nothing does."""
    shape = _MODELS["bedrock-runtime"].operation_model("Converse").input_shape
    assert isinstance(shape, StructureShape)
    problems = (
        p
        for name, one in values.items()
        if one is not None
        for p in _problems(shape.members[name], one, name)
    )
    return next(iter(problems), None)


def unknown_member(
    operation: str, values: dict[str, Any], *, service: str, besides: tuple[str, ...] = ()
) -> tuple[str, str] | None:
    """A member that the service model does not have, at any depth.

    Args:
        operation: the operation's name.
        values: its request.
        service: the service model's name.
        besides: members at the top that the service model has, and that may not be there.

    Returns:
        The path to its structure, beginning with a slash where it is not the top, and its name.
    """
    shape = _MODELS[service].operation_model(operation).input_shape
    if shape is None:
        return None
    if extra := sorted(values.keys() & set(besides)):
        return "", extra[0]
    return _unknown(shape, values, "")


def _unknown(shape: Shape, value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(shape, StructureShape) and isinstance(value, dict) and shape.members:
        if extra := sorted(value.keys() - shape.members.keys()):
            return path, extra[0]
        inner = ((shape.members[name], one, f"{path}/{name}") for name, one in value.items())
    elif isinstance(shape, ListShape) and isinstance(value, list):
        inner = ((shape.member, one, f"{path}/{number}") for number, one in enumerate(value))
    else:
        return None
    return next((found for one in inner if (found := _unknown(*one))), None)


def _problems(shape: Shape, value: Any, path: str) -> "list[str]":
    if isinstance(shape, StructureShape):
        return _structure(shape, value, path)
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [_failed(path, "Member must be a list")]
        inner = [
            p for i, item in enumerate(value, 1) for p in _problems(shape.member, item, f"{path}.{i}.member")
        ]
        return _bounds(shape, len(value), path, "length") + inner
    if isinstance(shape, MapShape):
        return [] if isinstance(value, dict) else [_failed(path, "Member must be a map")]
    if isinstance(shape, StringShape):
        return _string(shape, value, path)
    if shape.type_name in ("integer", "long"):
        if not isinstance(value, int) or isinstance(value, bool):
            return [_failed(path, "Member must be a number")]
        return _bounds(shape, value, path, "value")
    return []


def _structure(shape: StructureShape, value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [_failed(path, "Member must be a structure")]
    problems = [
        _failed(_join(path, name), "Member must not be null", "null")
        for name in shape.required_members
        if value.get(name) is None
    ]
    for name, member in shape.members.items():
        if value.get(name) is not None:
            problems += _problems(member, value[name], _join(path, name))
    if (
        getattr(shape, "is_tagged_union", False)
        and sum(value.get(name) is not None for name in shape.members) != 1
    ):
        problems.append(_failed(path, "Exactly one member must be set"))
    return problems


def _string(shape: StringShape, value: Any, path: str) -> list[str]:
    if shape.type_name == "timestamp":
        return []
    if not isinstance(value, str):
        return [_failed(path, "Member must be a string")]
    problems = _bounds(shape, len(value), path, "length", value)
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(_python(pattern), value):
        problems.append(_failed(path, f"Member must satisfy regular expression pattern: {pattern}", value))
    if shape.enum and value not in shape.enum:
        problems.append(
            _failed(path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]", value)
        )
    return problems


def _bounds(shape: Shape, size: int, path: str, what: str, value: Any = None) -> list[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    word = "have length" if what == "length" else "have value"
    problems = []
    if low is not None and size < low:
        problems.append(_failed(path, f"Member must {word} greater than or equal to {low}", value))
    if high is not None and size > high:
        problems.append(_failed(path, f"Member must {word} less than or equal to {high}", value))
    return problems


def _failed(path: str, constraint: str, value: Any = None) -> str:
    shown = f"Value '{value}' at '{path}'" if value is not None else f"Value at '{path}'"
    return f"{shown} failed to satisfy constraint: {constraint}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _python(pattern: str) -> str:
    """The model's patterns are Java's; what Python writes differently is rewritten."""
    return pattern.replace(r"\p{L}", "^\\W\\d_").replace("\\p{Z}", r"\s").replace("\\p{N}", r"\d")
