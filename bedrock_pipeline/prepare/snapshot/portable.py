"""Columns of any type in types that DuckDB stores as they are, and back.

DuckDB has no decimals beyond 38 digits and no extension types, cuts times to microseconds, and takes two fields of a struct
whose names differ by their case for the same.
"""

import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.prepare.snapshot.stored_columns import stored_names


def to_portable(column: pa.Array) -> pa.Array:
    """The column in types that survive DuckDB."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return to_portable(column.storage)
    if pa.types.is_dictionary(kind):
        return to_portable(column.dictionary_decode())
    if pa.types.is_null(kind):
        return column.cast(pa.int8())
    if pa.types.is_struct(kind):
        fields = [to_portable(one) for one in column.flatten()]
        return pa.StructArray.from_arrays(fields, _names(len(fields)), mask=column.is_null())
    if pa.types.is_map(kind):
        return to_portable(_entries(column))
    if pa.types.is_fixed_size_list(kind):
        return to_portable(column.cast(pa.list_(kind.value_field)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(
            _offsets(column), to_portable(column.flatten()), mask=column.is_null()
        )
    return _as_number(column) if _number(kind) else column.cast(_simple(kind))


def from_portable(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of this type from what `to_portable` made of it."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, from_portable(column, kind.storage_type))
    if pa.types.is_dictionary(kind):
        return from_portable(column, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_null(kind):
        return pa.nulls(len(column))
    if pa.types.is_struct(kind):
        children = [from_portable(one, kind.field(n).type) for n, one in enumerate(column.flatten())]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=column.is_null())
    if pa.types.is_map(kind):
        return _map(column, kind)
    if pa.types.is_fixed_size_list(kind):
        return from_portable(column, pa.list_(kind.value_field)).cast(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        large = pa.large_list(kind.value_field)
        values = from_portable(column.flatten(), kind.value_type)
        return pa.LargeListArray.from_arrays(
            _offsets(column), values, type=large, mask=column.is_null()
        ).cast(kind)
    return _from_number(column, kind) if _number(kind) else column.cast(kind)


def portable_type(kind: pa.DataType) -> pa.DataType:
    """The type that `to_portable` gives to columns of a type."""
    return to_portable(pa.nulls(0, kind)).type


def _number(kind: pa.DataType) -> pa.DataType | None:
    """The integers as which values of a temporal type, or narrow floats, are stored."""
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        return pa.int32()
    if pa.types.is_float16(kind):
        return pa.uint16()
    return pa.int64() if pa.types.is_temporal(kind) else None


def _as_number(column: pa.Array) -> pa.Array:
    return column.view(_number(column.type))


def _from_number(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column.cast(_number(kind)).view(kind)


def _simple(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_decimal256(kind):
        return pa.string()
    if types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    return pa.string() if types.is_string_view(kind) else kind


def _map(column: pa.Array, kind: pa.DataType) -> pa.Array:
    pairs = column.flatten()
    keys, items = pairs.flatten()
    offsets = _offsets(column).cast(pa.int32())
    return pa.MapArray.from_arrays(
        offsets,
        from_portable(keys, kind.key_type),
        from_portable(items, kind.item_type),
        type=kind,
        mask=column.is_null(),
    )


def _entries(column: pa.Array) -> pa.Array:
    """A map as a list of structs."""
    column = column.take(
        pa.array(range(len(column)), pa.int64())
    )  # from the first entry, and none under a null
    offsets = column.offsets.cast(pa.int64())
    fields = [column.type.key_field, column.type.item_field]
    pairs = pa.StructArray.from_arrays([column.keys, column.items], fields=fields)
    return pa.LargeListArray.from_arrays(offsets, pairs, mask=column.is_null())


def _offsets(column: pa.Array) -> pa.Array:
    """Where each list begins in `column.flatten()`, which has nothing of a null."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64())
    return pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])


def _names(count: int) -> list[str]:
    return list(stored_names([str(number) for number in range(count)]).values())
