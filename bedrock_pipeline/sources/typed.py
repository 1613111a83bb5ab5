"""Column types of files that name none (CSV, JSONL).

They are inferred from the first rows, and later values must fit them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.source import InputError, RowBatch

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


class NotFittingError(ValueError):
    """A row has no values, or one that does not have its column's type."""


def infer_schema(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], given: Mapping[str, str]
) -> pa.Schema:
    """The narrowest types that hold the first rows; text if they differ.

    Raises:
        InputError: an unknown type is named.
    """
    if unknown := set(given.values()) - _TYPES.keys():
        raise InputError(f"Unknown column type {sorted(unknown)[0]!r}.", f"Types are: {', '.join(_TYPES)}.")
    rows = list(rows)
    return pa.schema(
        [
            (name, _TYPES[given[name]] if name in given else _narrowest(row.get(name) for row in rows))
            for name in columns
        ]
    )


def to_batch(rows: Iterable[tuple[int, Mapping[str, Any] | str]], schema: pa.Schema) -> RowBatch:
    """Rows, each with its position and its values or why it has none, in the schema's types.

    A value that is not text becomes JSON in a text column; a row with another value of a wrong type is rejected.
    """
    fitted, positions, rejected = [], [], []
    for position, row in rows:
        try:
            if isinstance(row, str):
                raise NotFittingError(row)
            fitted.append({field.name: _fitted(row.get(field.name), field) for field in schema})
            positions.append(position)
        except NotFittingError as error:
            rejected.append(Rejection(position, str(error)))
    return RowBatch(pa.RecordBatch.from_pylist(fitted, schema), positions, rejected)


def _narrowest(values: Iterable[Any]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    if kinds and kinds <= {int, float}:
        return pa.float64()
    return pa.string()


def _fitted(value: Any, field: pa.Field) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if pa.types.is_string(field.type):
        return value if isinstance(value, str) else orjson.dumps(value).decode()
    if type(value) not in _FITTING[field.type]:
        raise NotFittingError(
            f"column {field.name!r} is {field.type} in the first rows and {type(value).__name__} here (set column_types)"
        )
    if field.type == pa.int64() and not -(2**63) <= value < 2**63:
        raise NotFittingError(f"column {field.name!r} has an integer beyond 64 bits (set column_types)")
    return float(value) if field.type == pa.float64() else value
