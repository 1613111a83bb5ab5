"""Values of results as JSON and as cells of CSV: every Arrow type that parquet can hold has one.

| Arrow | JSON | CSV |
|---|---|---|
| null, boolean, integer, text | the same | the same; null is an empty cell, empty text is `""` |
| float | a number; NaN and infinities are null, since JSON has none | a number, the digits as in a prompt |
| decimal | a number with all its digits | likewise |
| date, time, timestamp | ISO 8601 | likewise |
| duration | ISO 8601, such as `PT1.5S` | likewise |
| binary | base64 | likewise |
| UUID | text | text |
| list | array | JSON |
| struct, map with text as keys | object | JSON |
| other map, or names that are repeated | array of `[key, value]` | JSON |
"""

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from bedrock_pipeline.publish.iso_texts import iso_texts
from bedrock_pipeline.records.cells import is_narrow, python_values

#: A spreadsheet takes a cell that begins with one of these for a formula, or with their full-width forms, also behind spaces;
#: and a cell may begin with what ends another for a program that reads no quotes.
_SPACES: Final = "\\x00-\\x20\\x7f-\u00a0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff"
FORMULA: Final = f"^[{_SPACES}]*[=+\\-@\uff1d\uff0b\uff0d\uff20\u2212]|^[\t\r\n]"
#: Units of a duration, as a power of ten of a second.
_UNITS: Final = {"s": 0, "ms": -3, "us": -6, "ns": -9}


def json_values(values: pa.Array) -> list[Any]:
    """Values that `orjson.dumps` accepts, one for each of the array."""
    values = _stored(values)
    kind = values.type
    if _plain(kind):
        return cast("list[Any]", values.to_pylist())
    if is_narrow(kind):
        return python_values(values)
    if pt.is_struct(kind):
        return _objects(values)
    if pt.is_map(kind):
        return _maps(values)
    if _is_list(kind):
        return _lists(values, json_values(values.flatten()))
    convert = _scalar(kind)
    if convert is None:
        return cast("list[Any]", _texts(values).to_pylist())
    return [None if value is None else convert(value) for value in _python(values)]


def csv_cells(values: pa.Array, *, escape_formulas: bool = False) -> pa.Array:
    """Cells that Arrow's CSV writer accepts.

    Args:
        values: a column.
        escape_formulas: begin text that a spreadsheet would take for a formula with an apostrophe.
    """
    values = _stored(values)
    kind = values.type
    if pt.is_null(kind) or pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
        return pa.array(python_values(values), pa.float64()) if is_narrow(kind) else values
    if pt.is_nested(kind):
        dumped = (None if value is None else orjson.dumps(value).decode() for value in json_values(values))
        return pa.array(dumped, pa.large_string())
    if pt.is_decimal(kind):
        return pa.array(
            [None if value is None else f"{value:f}" for value in values.to_pylist()], pa.string()
        )
    if _scalar(kind) is not None:
        return pa.array(json_values(values), pa.large_string())
    cells = _texts(values)
    if escape_formulas and _is_text(kind):
        cells = pc.if_else(
            pc.match_substring_regex(cells, FORMULA), pc.binary_join_element_wise("'", cells, ""), cells
        )
    return cells


def csv_type(kind: pa.DataType) -> pa.DataType:
    """The type of the cells of a column of this type."""
    return csv_cells(pa.array([], kind) if not isinstance(kind, pa.BaseExtensionType) else _empty(kind)).type


def _empty(kind: pa.BaseExtensionType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))


def _stored(values: pa.Array) -> pa.Array:
    """The same values without dictionary, runs or extension; a UUID becomes text."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pt.is_dictionary(values.type):
        return _stored(values.dictionary_decode())
    if pt.is_run_end_encoded(values.type):
        return _stored(pc.run_end_decode(values))
    if isinstance(values.type, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in values.to_pylist()], pa.string())
    if isinstance(values.type, pa.BaseExtensionType):
        return _stored(values.storage)
    return values


def _plain(kind: pa.DataType) -> bool:
    """Whether Python's values of this type are what JSON has."""
    if _is_list(kind):
        return _plain(kind.value_type)
    return (
        pt.is_null(kind)
        or pt.is_boolean(kind)
        or pt.is_integer(kind)
        or pt.is_float64(kind)
        or _is_text(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_list(kind: pa.DataType) -> bool:
    views = pt.is_list_view(kind) or pt.is_large_list_view(kind)
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or views)


def _lists(values: pa.Array, flat: list[Any]) -> list[Any]:
    """The lists, from the items of those that are not null."""
    start, lists = 0, []
    for size in pc.list_value_length(values).to_pylist():
        lists.append(None if size is None else flat[start : start + size])
        start += size or 0
    return lists


def _objects(values: pa.StructArray) -> list[Any]:
    names = [field.name for field in values.type]
    columns = [json_values(column) for column in values.flatten()]
    rows = zip(*columns, strict=True) if columns else iter([()] * len(values))
    valid = values.is_valid().to_pylist()
    return [
        _object(list(zip(names, row, strict=True))) if is_valid else None
        for row, is_valid in zip(rows, valid, strict=True)
    ]


def _maps(values: pa.MapArray) -> list[Any]:
    lists = values.cast(pa.list_(pa.struct([values.type.key_field, values.type.item_field])))
    entries = lists.flatten()
    keys, items = (json_values(entries.field(number)) for number in (0, 1))
    pairs = _lists(lists, [list(pair) for pair in zip(keys, items, strict=True)])
    if not _is_text(_stored(entries.field(0)).type):
        return pairs
    return [None if entry is None else _object(entry) for entry in pairs]


def _object(pairs: list[Any]) -> Any:
    """An object; pairs if a name is repeated, of which an object would lose one."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else [list(pair) for pair in pairs]


def _scalar(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """How a value that is neither plain nor text to Arrow is written."""
    if pt.is_decimal(kind):
        return _number
    if pt.is_duration(kind):
        return lambda count: f"PT{Decimal(count).scaleb(_UNITS[kind.unit]).normalize():f}S"
    if (
        pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_binary_view(kind)
        or pt.is_fixed_size_binary(kind)
    ):
        return lambda value: base64.b64encode(value).decode()
    return None


def _number(value: Decimal) -> orjson.Fragment:
    return orjson.Fragment(f"{value:f}")


def _python(values: pa.Array) -> list[Any]:
    counted = values.cast(pa.int64()) if pt.is_duration(values.type) else values
    return cast("list[Any]", counted.to_pylist())


def _texts(values: pa.Array) -> pa.Array:
    """Text as it is; dates and times in ISO 8601."""
    if pt.is_timestamp(values.type) or pt.is_date(values.type) or pt.is_time(values.type):
        return iso_texts(values)
    views = pt.is_string_view(values.type)  # which the writer of CSV does not take
    return values.cast(pa.large_string()) if views or not _is_text(values.type) else values
