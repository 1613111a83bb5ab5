"""The columns of results in a table that exists: which type each is written in, and which the table cannot take.

A value is never changed to fit: a column is written in the table's type only if that has every value of the results' type.
"""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.types as pt

from bedrock_pipeline.publish.table_types import ColumnMismatchError, table_type
from bedrock_pipeline.sources.widening import wider


def table_columns(
    results: pa.Schema, there: pa.Schema, *, promotes: bool = False, needed: Collection[str] = ()
) -> pa.Schema:
    """The columns of results as they are written into a table; those that have no value at all are left out.

    Args:
        results: the columns of the results.
        there: the columns of the table; empty if it is created.
        promotes: whether the table widens its own types, as Iceberg does.
        needed: columns of the table that are written, as nulls, although the results have no value for them.

    Raises:
        ColumnMismatchError: a type does not fit, a name is in the table or among the results in another case, or a column
            that needs values is not among the results.
    """
    by_fold = {field.name.casefold(): field for field in there}
    own: dict[str, str] = {}
    columns = []
    for field in results:
        if pt.is_null(field.type) or (_is_void(field.type) and field.name.casefold() not in by_fold):
            continue
        if (other := own.setdefault(field.name.casefold(), field.name)) != field.name:
            raise ColumnMismatchError(
                f"the columns {other!r} and {field.name!r} of the results differ in case alone"
            )
        found = by_fold.get(field.name.casefold())
        if found is not None and found.name != field.name:
            raise ColumnMismatchError(
                f"its column {found.name!r} and the column {field.name!r} of the results differ in case alone"
            )
        natural = table_type(field.type) or pa.string()
        kind = natural if found is None else _fitted(field.type, plain_type(found.type), promotes=promotes)
        if kind is None:
            raise ColumnMismatchError(
                f"its column {field.name!r} has the type {plain_type(there.field(field.name).type)}, and that of the "
                f"results has {natural}, whose values it cannot hold without a change"
            )
        if alike := _alike(kind, field.name):
            raise ColumnMismatchError("the fields {!r} and {!r} differ in case alone".format(*alike))
        columns.append(pa.field(field.name, kind, nullable=found is None or found.nullable))
    written = {field.name for field in columns}
    for field in there:
        if not field.nullable and field.name not in written:
            raise ColumnMismatchError(
                f"its column {field.name!r} needs values, and the results have no such column"
            )
    columns += [
        pa.field(field.name, plain_type(field.type))
        for field in there
        if field.name in needed and field.name not in written
    ]
    return pa.schema(columns)


def _is_void(kind: pa.DataType) -> bool:
    """Whether no value of a type says anything."""
    return bool(pt.is_null(kind) or (pt.is_struct(kind) and all(_is_void(field.type) for field in kind)))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """A type as readers of tables give it, in the layout in which results are written."""
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_list_view(kind):
        return _list(plain_type(kind.value_type), kind)
    if pt.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type), field.nullable) for field in kind])
    if pt.is_map(kind):
        return _map(plain_type(kind.key_type), plain_type(kind.item_type), kind)
    return kind


def _list(item: pa.DataType, like: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("item", item, like.value_field.nullable))


def _map(key: pa.DataType, item: pa.DataType, like: pa.DataType) -> pa.DataType:
    return pa.map_(key, pa.field("value", item, like.item_field.nullable))


def _fitted(kind: pa.DataType, there: pa.DataType, *, promotes: bool) -> pa.DataType | None:
    """The type in which values of a type are written into a column of a table; None: it cannot take them."""
    if pt.is_null(kind):
        return there
    if pt.is_dictionary(kind):
        return _fitted(kind.value_type, there, promotes=promotes)
    if pt.is_struct(kind) and pt.is_struct(there):
        return _struct(kind, there, promotes=promotes)
    if _is_list(kind) and pt.is_list(there):
        item = _fitted(kind.value_type, there.value_type, promotes=promotes)
        return None if item is None else _list(item, there)
    if pt.is_map(kind) and pt.is_map(there):
        # No table format widens the type of keys.
        key = _fitted(kind.key_type, there.key_type, promotes=False)
        item = _fitted(kind.item_type, there.item_type, promotes=promotes)
        return None if key is None or item is None else _map(key, item, there)
    natural = table_type(kind) or pa.string()
    if natural == there or _holds(there, natural):
        return there
    return natural if promotes and _promotes(there, natural) else None


def _struct(kind: pa.DataType, there: pa.DataType, *, promotes: bool) -> pa.DataType | None:
    given = {field.name: field.type for field in kind}
    fields = [
        (one.name, _fitted(given.pop(one.name, pa.null()), one.type, promotes=promotes), one.nullable)
        for one in there
    ]
    fields += [(name, table_type(one), True) for name, one in given.items() if not pt.is_null(one)]
    found = [pa.field(name, one, nullable) for name, one, nullable in fields if one is not None]
    return pa.struct(found) if len(found) == len(fields) else None


def _alike(kind: pa.DataType, name: str) -> tuple[str, str] | None:
    """Two fields of structs in a column whose names differ in case alone; None if there are none."""
    if pt.is_struct(kind):
        seen: dict[str, str] = {}
        for one in kind:
            path = f"{name}.{one.name}"
            if (other := seen.setdefault(path.casefold(), path)) != path:
                return other, path
            if found := _alike(one.type, path):
                return found
    if pt.is_map(kind):
        return _alike(kind.item_type, f"{name}.value")
    return _alike(kind.value_type, f"{name}.item") if pt.is_list(kind) else None


def _holds(there: pa.DataType, natural: pa.DataType) -> bool:
    """Whether every value of a type is one of another type too."""
    if pt.is_integer(natural) and natural.bit_width == 64 and pt.is_floating(there):
        return False
    both = wider(natural, there)
    return both is not None and plain_type(both) == there


def _promotes(there: pa.DataType, natural: pa.DataType) -> bool:
    """Whether Iceberg widens a column of a type to another type."""
    if pt.is_decimal(there) and pt.is_decimal(natural):
        return bool(there.scale == natural.scale and there.precision < natural.precision)
    return (there, natural) in ((pa.int32(), pa.int64()), (pa.float32(), pa.float64()))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind))
