"""Structured responses as typed columns."""

from collections.abc import Collection
from typing import Any

import orjson
import pyarrow as pa

from bedrock_pipeline.models import ModelResponse
from bedrock_pipeline.models.family import Json
from bedrock_pipeline.models.structured import AnswerInvalidError, AnswerSchema, AnswerSchemaError

_SCALARS = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
#: Prefix for a property whose name another column has.
PREFIX = "answer_"


class AnswerColumns:
    """A schema's properties as columns, in their order.

    A string, also an enumerated one, becomes text; an integer int64; a number float64; a boolean bool; an array of
    one of these a list; everything else JSON text. An optional property that the response lacks is null. A property that
    has the name of another column, one of `taken`, is prefixed with `answer_`.

    Raises:
        AnswerSchemaError: the prefixed name is taken too.
    """

    def __init__(self, schema: AnswerSchema, taken: Collection[str]) -> None:
        self._schema = schema
        self._types: dict[str, pa.DataType | None] = {
            name: _type(one) for name, one in schema.schema["properties"].items()
        }
        names = [f"{PREFIX}{name}" if name in taken else name for name in self._types]
        for name in names:
            if name in taken or names.count(name) > 1:
                raise AnswerSchemaError(
                    f"The answer's column {name!r} would be there twice.", "Rename the property."
                )
        self.fields = tuple(
            pa.field(name, arrow or pa.string())
            for name, arrow in zip(names, self._types.values(), strict=True)
        )

    def values(self, answer: ModelResponse) -> tuple[Any, ...]:
        """A response's values, one for each column.

        Raises:
            AnswerInvalidError: it breaks the schema, or a value does not fit its column.
        """
        fields = self._schema.read(answer)
        return tuple(_fitted(fields.get(name), arrow, name) for name, arrow in self._types.items())


def _type(schema: Any) -> pa.DataType | None:
    """The type of a property; None for JSON text."""
    options = [one for one in _options(schema) if one.get("type") != "null"]
    types = {_SCALARS.get(one.get("type", "")) for one in options}
    if len(options) == 1 and options[0].get("type") == "array" and "prefixItems" not in options[0]:
        inner = _type(options[0].get("items", True))
        return pa.list_(inner) if inner is not None and not pa.types.is_list(inner) else None
    if types == {pa.int64(), pa.float64()}:
        return pa.float64()
    return types.pop() if len(types) == 1 else None


def _options(schema: Any) -> list[Json]:
    """A schema as alternatives of one type each; `{}` stands for anything."""
    if not isinstance(schema, dict) or "allOf" in schema:
        return [{}]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return [option for one in schema[choice] for option in _options(one)]
    kinds = schema.get("type")
    if kinds is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [...])
        kinds = list(dict.fromkeys(_NAMES.get(type(value), "") for value in values))
    return [{**schema, "type": kind} for kind in ([kinds] if isinstance(kinds, str) else kinds)]


def _fitted(value: Any, arrow: pa.DataType | None, name: str) -> Any:
    """A value as its column's type; a pydantic class may have changed it to another type than its schema has."""
    if value is None:
        return None
    try:
        if arrow is None:
            return orjson.dumps(value).decode()
        if pa.types.is_list(arrow):
            return [_fitted(one, arrow.value_type, name) for one in value]
        if arrow == pa.int64():
            if not -(2**63) <= value < 2**63:
                raise AnswerInvalidError(f"{name} is an integer beyond 64 bits")
            return int(value)
        if arrow == pa.float64():
            return float(value)
    except (TypeError, OverflowError):  # orjson's error for deep nesting is a TypeError
        raise AnswerInvalidError(f"{name} does not fit its column") from None
    if not isinstance(value, bool if arrow == pa.bool_() else str):
        raise AnswerInvalidError(f"{name} does not fit its column")
    return value
