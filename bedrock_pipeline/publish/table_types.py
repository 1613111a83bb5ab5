"""Types of results in tables of Delta Lake and Iceberg, which have fewer than Arrow.

| Arrow | table |
|---|---|
| boolean, signed integer, float, text, binary, date | the same, in its plain layout |
| unsigned integer | the next larger signed one; of 64 bits `decimal(20, 0)` |
| decimal of up to 38 digits | the same |
| timestamp | microseconds, in UTC if it has a zone; parts of one are cut off |
| list, struct, map | the same, of these types |
| null | no column: what a table lacks is null |
| time, duration, larger decimal, UUID, and what contains one, or a null | text, as in CSV |
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from bedrock_pipeline.publish.plain_values import csv_cells
from bedrock_pipeline.sources.plain_layout import converted, lists_of, map_of
from bedrock_pipeline.sources.widening import widened

_SIGNED: Final = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


class ColumnMismatchError(Exception):
    """A table cannot take a column of the results. The message names columns and types, no values."""


def table_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of a schema from a batch of results, in their types in the table; null where the results lack one.

    Raises:
        ColumnMismatchError: a value does not fit, or is lacking where the table needs one.
    """
    columns = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        try:
            column = _as_table(batch.column(place) if place >= 0 else pa.nulls(len(batch)), field.type)
        except pa.ArrowInvalid:  # its words have the value
            raise ColumnMismatchError(
                f"a value of the column {field.name!r} is outside of what {field.type} holds"
            ) from None
        if lacking := _lacking(column, field, field.name):
            raise ColumnMismatchError(f"its column {lacking!r} needs values, and rows of the results lack it")
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def table_type(kind: pa.DataType) -> pa.DataType | None:
    """The type of a table for a type of results; None: text."""
    if pt.is_dictionary(kind):
        return table_type(kind.value_type)
    if kind in _SIGNED:
        return _SIGNED[kind]
    if kind == pa.uint64():
        return pa.decimal128(20, 0)
    if pt.is_boolean(kind) or pt.is_signed_integer(kind) or kind in (pa.float32(), pa.float64()):
        return kind
    if kind == pa.float16():
        return pa.float32()
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if (
        pt.is_binary(kind)
        or pt.is_large_binary(kind)
        or pt.is_binary_view(kind)
        or pt.is_fixed_size_binary(kind)
    ):
        return pa.binary()
    if pt.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if 0 <= kind.scale <= kind.precision <= 38 else None
    if pt.is_date(kind):
        return pa.date32()
    if pt.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    return _nested(kind)


def _nested(kind: pa.DataType) -> pa.DataType | None:
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        item = table_type(kind.value_type)
        return None if item is None else pa.list_(item)
    if pt.is_struct(kind):
        fields = [(field.name, table_type(field.type)) for field in kind]
        known = bool(fields) and all(one is not None for _, one in fields)
        return pa.struct([(name, one) for name, one in fields if one is not None]) if known else None
    if pt.is_map(kind):
        key, item = table_type(kind.key_type), table_type(kind.item_type)
        return None if key is None or item is None else pa.map_(key, item)
    return None


def _as_table(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    natural = table_type(column.type)
    if natural is not None:
        return widened(converted(column, natural, _leaf), kind)
    if pt.is_null(column.type):
        return pa.nulls(len(column), kind)
    # Something in it has no type of a table, or no value: each part becomes what it would be as a column.
    if pt.is_struct(column.type) and pt.is_struct(kind):
        given = dict(zip(column.type.names, column.flatten(), strict=True))
        parts = [_as_table(given.get(one.name, pa.nulls(len(column))), one.type) for one in kind]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=column.is_null())
    if pt.is_map(column.type) and pt.is_map(kind):
        return map_of(column, kind, _as_table)
    if pt.is_list(kind):
        return lists_of(column, _as_table(column.flatten(), kind.value_type), kind)
    return csv_cells(column, escape_formulas=False).cast(kind)


def _leaf(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if not (pt.is_timestamp(kind) and column.type.unit == "ns"):
        return column.cast(kind)  # the type of the table is as wide, or it is an error
    # Arrow cuts towards 1970, so that a moment before it would be later.
    moments = column.view(pa.int64()).fill_null(0).to_numpy()
    cut = pa.array(np.floor_divide(moments, 1000), mask=column.is_null().to_numpy(zero_copy_only=False))
    return cut.view(kind)


def _lacking(column: pa.Array, field: pa.Field, name: str) -> str | None:
    """The name of a column, or of a field in it, that needs values and lacks one; None if there is none."""
    if column.null_count and not field.nullable:
        return name
    kind = field.type
    if not pt.is_nested(kind):
        return None
    values = column.drop_null()
    if pt.is_struct(kind):
        inner = [
            (child, one, f"{name}.{one.name}") for child, one in zip(values.flatten(), kind, strict=True)
        ]
    elif pt.is_map(kind):
        entries = values.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))).flatten()
        inner = [(entries.field(1), kind.item_field, f"{name}.value")]
    else:
        inner = [(values.flatten(), kind.value_field, f"{name}.item")]
    return next((found for one in inner if (found := _lacking(*one))), None)
