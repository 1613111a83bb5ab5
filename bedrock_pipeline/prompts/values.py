"""Values of columns in a prompt: read from Arrow, and written as one writes them by hand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

#: Numbers from here on are written with an exponent, as JavaScript does.
_LARGE: Final = 1e21
_SMALL: Final = 1e-6
#: Rows that are turned into Python's values at once.
_ROWS: Final = 64
_JSON: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


class NotPrintableError(ValueError):
    """A value cannot be written in a prompt; the message goes on from the name of its column."""


def printed(value: Any) -> str:
    """A value that is not null, as text.

    Numbers have no exponent unless they are very large or small, and no zeros that only fill a scale; lists and structs
    are JSON.

    Raises:
        NotPrintableError: it is, or has, binary data.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, bytes):
        raise NotPrintableError("is binary")
    if isinstance(value, dict | list):
        return json_of(value)
    return str(value)


def json_of(value: Any) -> str:
    """JSON of a list or struct, with the members in their order; dates and the like are text.

    Raises:
        NotPrintableError: it has binary data, or a number that JSON libraries do not hold.
    """
    try:
        return orjson.dumps(value, default=_in_json, option=_JSON).decode()
    except orjson.JSONEncodeError as error:
        reason = error.__cause__
        raise NotPrintableError(
            "has binary data in it" if isinstance(reason, NotPrintableError) else "cannot be written as JSON"
        ) from None


def is_null(value: object) -> bool:
    """Whether a value counts as null: so does a number that is none."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def field_of(value: Any, path: Sequence[str]) -> Any:
    """A field within a value: of a struct, or of an object in JSON text, which may lack it.

    Raises:
        NotPrintableError: the value has no fields, or not this one.
    """
    lenient = False
    for name in path:
        if value is None:
            return None
        if isinstance(value, str):
            value, lenient = _object(value), True
        if not isinstance(value, Mapping):
            raise NotPrintableError(f"has no field {name!r}")
        if name not in value and not lenient:
            raise NotPrintableError(f"has no field {name!r}")
        value = value.get(name)
    return value


def values_of(column: pa.Array) -> list[Any]:
    """The values of a column as Python's, with 32-bit floats as they were written and maps as dicts.

    What Python does not hold, such as a year beyond 9999, is text.
    """
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError):
        values = [_cell(cell) for cell in column]
    return [_exact(value, column.type) for value in values] if _differs(column.type) else values


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """The rows of a batch as plain dicts, a few of them in memory at a time."""
    for start in range(0, batch.num_rows, _ROWS):
        some = batch.slice(start, _ROWS)
        columns = [values_of(column) for column in some.columns]
        for row in zip(*columns, strict=True):
            yield dict(zip(some.schema.names, row, strict=True))


def _float(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value and not _SMALL <= abs(value) < _LARGE:
        return repr(value)
    return _decimal(Decimal(repr(value)))


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        return str(value)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _in_json(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(_decimal(value))
    return printed(value)


def _object(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _cell(cell: pa.Scalar) -> Any:
    try:
        return cell.as_py()
    except (OverflowError, ValueError):
        return str(cell.cast(pa.string()).as_py())


def _differs(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _differs(kind.value_type)
    if pa.types.is_nested(kind):
        return pa.types.is_map(kind) or any(_differs(kind.field(n).type) for n in range(kind.num_fields))
    return bool(pa.types.is_float32(kind) or pa.types.is_float16(kind))


def _exact(value: Any, kind: pa.DataType) -> Any:
    if value is None or not _differs(kind):
        return value
    if pa.types.is_dictionary(kind):
        return _exact(value, kind.value_type)
    if pa.types.is_float32(kind):
        return float(str(np.float32(value)))
    if pa.types.is_float16(kind):
        return float(str(np.float16(value)))
    if pa.types.is_map(kind):
        return {key: _exact(item, kind.item_type) for key, item in value}
    if pa.types.is_struct(kind):
        return {field.name: _exact(value[field.name], field.type) for field in kind}
    return [_exact(item, kind.value_type) for item in value]
