"""Columns in layouts that every step after reading takes: no views, no runs; what no file can hold is an error."""

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
    columns = [_as(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)]
    fields = [field.with_type(kind) for field, kind in zip(batch.schema, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_run_end_encoded(column.type):
        return _as(pc.run_end_decode(column), kind)
    if pa.types.is_dictionary(column.type) and column.type != kind:
        words = column.dictionary.cast(kind.value_type)
        return pa.DictionaryArray.from_arrays(column.indices, words)
    return column if column.type == kind else column.cast(kind)


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
