"""Column types of files that name none (CSV, JSON): the narrowest that hold every row, or those that are given."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.records.cells import WHOLE, text_of
from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.json_text import json_of

#: The values of a row by column, or why it has none.
Line: TypeAlias = Mapping[str, Any] | str

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
}
_FITTING: dict[pa.DataType, tuple[type, ...]] = {
    pa.bool_(): (bool,),
    pa.int64(): (int,),
    pa.float64(): (int, float),
}
#: Kinds of values in the words of JSON.
_WORDS: dict[type, str] = {
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction",
    dict: "an object",
    list: "a list",
}
# Whole numbers up to here are the same as floats.
_EXACT = 2**53
_LARGEST = 2**63


def check_column_types(column_types: Mapping[str, str]) -> None:
    """Check that all types of `column_types` are known.

    Raises:
        ArgumentError: an unknown type is named.
    """
    if unknown := set(column_types.values()) - _TYPES.keys():
        raise ArgumentError(
            f"Unknown column type {sorted(unknown)[0]!r}.", f"Types are: {', '.join(_TYPES)}."
        )


def given_types(column_types: Mapping[str, str]) -> dict[str, pa.DataType]:
    """The Arrow types of columns by their names in `column_types`.

    Raises:
        ArgumentError: an unknown type is named.
    """
    check_column_types(column_types)
    return {name: _TYPES[kind] for name, kind in column_types.items()}


class Kinds:
    """The kinds of values that a column has."""

    def __init__(self) -> None:
        self._found: set[str] = set()

    def add(self, values: Iterable[Any]) -> bool:
        """Add values; whether one is of a kind that the column did not have."""
        values = list(values)
        kinds = {kind.__name__ for kind in set(map(type, values))} - {"NoneType"}
        if "int" in kinds:
            numbers = [value for value in values if type(value) is int]
            largest = max(max(numbers), -min(numbers))
            kinds |= {"inexact"} if largest > _EXACT else set()
            kinds |= {"beyond"} if largest >= _LARGEST else set()
        if kinds <= self._found:
            return False
        before = self.field("")
        self._found |= kinds
        after = self.field("")
        return not before.equals(after, check_metadata=True)

    def field(self, name: str) -> pa.Field:
        """The narrowest type: text if values differ otherwise than as numbers, or no number type holds all of them."""
        kinds = self._found
        if kinds == {"bool"}:
            return pa.field(name, pa.bool_())
        if kinds and kinds <= {"int", "inexact"}:
            return pa.field(name, pa.int64())
        if kinds == {"float"}:
            return pa.field(name, pa.float64())
        if kinds == {"int", "float"}:
            return pa.field(name, pa.float64()).with_metadata(WHOLE)
        return pa.field(name, pa.string())


def to_columns(
    rows: Sequence[Line],
    columns: Mapping[str, pa.DataType | pa.Field],
    given: Mapping[str, pa.DataType],
) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Rows in the types of the columns; a row with a value that does not fit is rejected, with its position among them.

    Only a given type can be one that a value does not fit. A value that is not text becomes JSON in a text column.
    """
    fitted: list[Mapping[str, Any]] = []
    rejected: list[Rejection] = []
    checked = {name: kind for name, kind in given.items() if name in columns and kind in _FITTING}
    for position, row in enumerate(rows):
        reason = row if isinstance(row, str) else _why_not(row, checked) if checked else ""
        if reason:
            rejected.append(Rejection(position, reason))
        elif not isinstance(row, str):
            fitted.append(row)
    fields = [kind if isinstance(kind, pa.Field) else pa.field(name, kind) for name, kind in columns.items()]
    arrays = [_array([row.get(field.name) for row in fitted], field.type) for field in fields]
    if not fields:  # a batch without columns has no rows
        return pa.RecordBatch.from_arrays([], schema=pa.schema([])), rejected
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), rejected


def _why_not(row: Mapping[str, Any], checked: Mapping[str, pa.DataType]) -> str:
    for name, kind in checked.items():
        value = row.get(name)
        if value is None:
            continue
        if type(value) not in _FITTING[kind]:
            return f"column {name!r} is {_WORDS.get(type(value), 'text')}, but column_types says {kind}"
        if kind == pa.int64() and not -_LARGEST <= value < _LARGEST:
            return f"column {name!r} has an integer beyond 64 bits, but column_types says {kind}"
    return ""


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else _as_text(value) for value in values]
    elif pa.types.is_floating(kind):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def _as_text(value: Any) -> str:
    """A number as it is written in a column of numbers; else JSON."""
    return text_of(value) if isinstance(value, float) else json_of(value)
