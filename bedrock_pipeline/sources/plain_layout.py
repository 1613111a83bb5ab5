"""Columns in layouts that every step after reading takes: no views, no runs; what no file can hold is an error."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.sources.errors import InputError

_PLAIN = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch in plain layouts, with the same values.

    Raises:
        InputError: a column has a type that parquet does not have.
    """
    kinds = [_plain(field.type, field.name) for field in batch.schema]
    if kinds == batch.schema.types:
        return batch
    columns = [converted(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
    fields = [field.with_type(kind) for field, kind in zip(batch.schema, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column.cast(kind)


def converted(
    column: pa.Array, kind: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], pa.Array] = _cast
) -> pa.Array:
    """A column in a type of the same nesting.

    Args:
        column: of any type.
        kind: without views and runs.
        leaf: converts what is not nested.
    """
    if pa.types.is_run_end_encoded(column.type):
        return converted(pc.run_end_decode(column), kind, leaf)
    if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(kind):
        return converted(column.dictionary_decode(), kind, leaf)
    if pa.types.is_dictionary(column.type) and column.type != kind:
        words = leaf(column.dictionary, kind.value_type)
        return pa.DictionaryArray.from_arrays(column.indices, words)
    if column.type == kind:
        return column
    # Not by Arrow's own cast: it takes the offsets of views for those of lists.
    types = pa.types
    if types.is_struct(kind) and kind.num_fields:
        children = [
            converted(child, one.type, leaf) for child, one in zip(column.flatten(), kind, strict=True)
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=column.is_null())
    if types.is_fixed_size_list(kind):
        items = column.values.slice(column.offset * kind.list_size, len(column) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(
            converted(items, kind.value_type, leaf), type=kind, mask=column.is_null()
        )
    if types.is_map(kind):
        return map_of(column, kind, lambda part, one: converted(part, one, leaf))
    if types.is_list(kind) or types.is_large_list(kind):
        return lists_of(column, converted(column.flatten(), kind.value_type, leaf), kind)
    return leaf(column, kind)


def lists_of(column: pa.Array, items: pa.Array, kind: pa.DataType) -> pa.Array:
    """The lists of a column as lists of another type.

    Args:
        column: lists of any kind.
        items: of all that are not null, one after the other.
        kind: the wanted type.
    """
    large = pa.types.is_large_list(kind)
    offsets = _offsets(column, pa.int64() if large else pa.int32())
    lists = pa.LargeListArray if large else pa.ListArray
    return lists.from_arrays(offsets, items, type=kind, mask=column.is_null())


def map_of(
    column: pa.Array, kind: pa.DataType, part: Callable[[pa.Array, pa.DataType], pa.Array]
) -> pa.Array:
    """The maps of a column as maps of another type.

    Args:
        column: maps.
        kind: the wanted type.
        part: converts keys, and items.
    """
    entries = column.cast(pa.list_(pa.struct([column.type.key_field, column.type.item_field])))
    keys, items = entries.flatten().flatten()
    parts = part(keys, kind.key_type), part(items, kind.item_type)
    return pa.MapArray.from_arrays(_offsets(entries, pa.int32()), *parts, kind, mask=column.is_null())


def _offsets(lists: pa.Array, kind: pa.DataType) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    return pa.array(np.concatenate([[0], np.cumsum(lengths.to_numpy())]), kind)


def _plain(kind: pa.DataType, column: str) -> pa.DataType:
    types = pa.types
    if kind in _PLAIN:
        return _PLAIN[kind]
    if types.is_run_end_encoded(kind):
        return _plain(kind.value_type, column)
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain(kind.value_type, column), kind.ordered)
    if types.is_union(kind) or kind == pa.month_day_nano_interval() or kind == pa.struct([]):
        raise InputError(f"Column {column!r} has the type {kind}, which cannot be stored.", "Cast it.")
    if types.is_struct(kind):
        return pa.struct([field.with_type(_plain(field.type, column)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_plain(kind.key_type, column), _plain(kind.item_type, column), kind.keys_sorted)
    if types.is_list(kind) or types.is_list_view(kind):
        return pa.list_(_field(kind.value_field, column))
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(_field(kind.value_field, column))
    if types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field, column), kind.list_size)
    return kind


def _field(field: pa.Field, column: str) -> pa.Field:
    return field.with_type(_plain(field.type, column))
