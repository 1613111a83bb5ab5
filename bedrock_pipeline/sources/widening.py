"""The type that holds the values of two types without loss, as files of one table often have them."""

from collections.abc import Mapping

import pyarrow as pa

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.records.cells import is_narrow, python_values
from bedrock_pipeline.sources.plain_layout import lists_of, map_of

_UNITS = ("s", "ms", "us", "ns")
_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}


class NoCommonTypeError(InvalidInputError):
    """A column has types of which none holds the values of both."""


def common_schema(schemas: Mapping[str, pa.Schema]) -> pa.Schema:
    """The columns of all schemas, each of the narrowest type that holds the values of all.

    Args:
        schemas: by the names of what has them, for the message.

    Raises:
        NoCommonTypeError: there is no such type for a column.
    """
    found: dict[str, pa.Field] = {}
    first: dict[str, str] = {}
    for name, schema in schemas.items():
        for field in schema:
            known = found.get(field.name, field)
            kind = wider(known.type, field.type)
            if kind is None:
                raise NoCommonTypeError(
                    f"Column {field.name!r} is {known.type} in {first[field.name]} and {field.type} in {name}; no type "
                    "holds the values of both."
                )
            found[field.name] = known.with_type(kind)
            if not pa.types.is_null(field.type):
                first.setdefault(field.name, name)
    return pa.schema(list(found.values()))


def wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest type for values of both; None if there is none."""
    types = pa.types
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if types.is_dictionary(one) or types.is_dictionary(other):
        return wider(*(kind.value_type if types.is_dictionary(kind) else kind for kind in (one, other)))
    for family, widest in ((_is_text, pa.large_string()), (_is_binary, pa.large_binary())):
        if family(one) and family(other):
            return widest
    if _is_number(one) and _is_number(other):
        return _number(one, other)
    if types.is_timestamp(one) and types.is_timestamp(other) and one.tz == other.tz:
        return pa.timestamp(max(one.unit, other.unit, key=_UNITS.index), one.tz)
    if types.is_duration(one) and types.is_duration(other):
        return pa.duration(max(one.unit, other.unit, key=_UNITS.index))
    if types.is_time(one) and types.is_time(other):
        return pa.time64("ns") if pa.time64("ns") in (one, other) else pa.time64("us")
    if types.is_date(one) and types.is_date(other):
        return pa.date32()
    if _is_list(one) and _is_list(other):
        item = wider(one.value_type, other.value_type)
        return None if item is None else pa.large_list(item)
    if types.is_struct(one) and types.is_struct(other):
        return _struct(one, other)
    return None


def widened(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column in a wider type; floats of less than 64 bits keep their digits: `0.1`, not `0.10000000149011612`.

    Raises:
        pa.ArrowException: a value does not fit.
    """
    types = pa.types
    if is_narrow(column.type) and types.is_float64(kind):
        return pa.array(python_values(column), kind)
    if types.is_struct(kind) and types.is_struct(column.type):
        given = dict(zip(column.type.names, column.flatten(), strict=True))
        children = [
            widened(given[one.name], one.type) if one.name in given else pa.nulls(len(column), one.type)
            for one in kind
        ]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=column.is_null())
    if types.is_map(kind) and types.is_map(column.type) and column.type != kind:
        return map_of(column, kind, widened)
    if _is_list(kind) and _is_list(column.type) and column.type != kind:
        return lists_of(column, widened(column.flatten(), kind.value_type), kind)
    return column if column.type == kind else column.cast(kind)


def _number(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    types = pa.types
    if types.is_floating(one) and types.is_floating(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    if types.is_floating(one) or types.is_floating(other):
        # Whether each whole number is the same as a float is seen when it is read.
        return None if types.is_decimal(one) or types.is_decimal(other) else pa.float64()
    if types.is_integer(one) and types.is_integer(other):
        return _integer(one, other)
    digits = max(_whole_digits(one), _whole_digits(other))
    scale = max(getattr(one, "scale", 0), getattr(other, "scale", 0))
    if digits + scale > 76:
        return None
    return (
        pa.decimal128(digits + scale, scale) if digits + scale <= 38 else pa.decimal256(digits + scale, scale)
    )


def _integer(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    signed = [kind for kind in (one, other) if pa.types.is_signed_integer(kind)]
    width = max(one.bit_width, other.bit_width)
    if len(signed) == 1:
        unsigned = other if signed[0] == one else one
        width = max(signed[0].bit_width, 2 * unsigned.bit_width)
        if width > 64:
            return pa.decimal128(20, 0)
    kinds = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
    if not signed:
        kinds = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}
    return kinds[width]


def _whole_digits(kind: pa.DataType) -> int:
    if pa.types.is_decimal(kind):
        return int(kind.precision - kind.scale)
    return _DIGITS[int(kind.bit_width)] + int(kind == pa.uint64())


def _struct(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    fields = {field.name: field.type for field in one}
    for field in other:
        kind = wider(fields.get(field.name, pa.null()), field.type)
        if kind is None:
            return None
        fields[field.name] = kind
    return pa.struct(list(fields.items()))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_binary(kind: pa.DataType) -> bool:
    fixed = pa.types.is_fixed_size_binary(kind) and not pa.types.is_decimal(kind)
    return bool(fixed or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
