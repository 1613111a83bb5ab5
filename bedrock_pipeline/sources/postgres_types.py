"""Columns of a Postgres query: the Arrow type of each type, and how its values in the binary protocol become Arrow's.

Exact throughout: times are whole microseconds on the wire, a decimal is read from its digits, and a type that Arrow has not
is its text, as Postgres itself writes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: The values of a column as they came, None for a null.
Values: TypeAlias = Sequence[bytes | None]

_DAYS_TO_2000, _US_TO_2000 = 10_957, 946_684_800_000_000  # Postgres counts from 2000, Arrow from 1970
_NUMERIC, _BYTEA = 1700, 17
_LARGEST_PRECISION = 76
_HEADER = 12  # of an array: dimensions, flags, type of the elements
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A type of fixed width: on the wire, in Arrow, and what is added to its numbers."""

    wire: str
    arrow: pa.DataType
    moved_by: int = 0


_FIXED: Final[Mapping[int, _Fixed]] = {
    16: _Fixed("?", pa.bool_()),
    20: _Fixed(">i8", pa.int64()),
    21: _Fixed(">i2", pa.int16()),
    23: _Fixed(">i4", pa.int32()),
    26: _Fixed(">u4", pa.uint32()),  # oid
    700: _Fixed(">f4", pa.float32()),
    701: _Fixed(">f8", pa.float64()),
    1082: _Fixed(">i4", pa.date32(), _DAYS_TO_2000),
    1083: _Fixed(">i8", pa.time64("us")),
    1114: _Fixed(">i8", pa.timestamp("us"), _US_TO_2000),
    1184: _Fixed(">i8", pa.timestamp("us", "UTC"), _US_TO_2000),
}


@dataclass(frozen=True, slots=True)
class PostgresColumn:
    """A column of a query.

    Attributes:
        name: as the query names it.
        type: in Arrow.
        cast: what is appended to the column so that Postgres sends what `decode` reads.
        decode: from values to Arrow; what the Arrow type cannot hold (`infinity`, `NaN` in a decimal) is null.
        is_array: whether values are arrays, which may have more dimensions than the one that `decode` reads.
    """

    name: str
    type: pa.DataType
    cast: str
    decode: Callable[[Values], pa.Array]
    is_array: bool = False


def postgres_column(name: str, oid: int, modifier: int, element: int | None = None) -> PostgresColumn:
    """A column as a query's description gives it.

    Args:
        name: of the column.
        oid: of its type.
        modifier: of its type, such as the precision of a numeric; -1 for none.
        element: the type of an array's elements; None if it is no array.
    """
    if element is None:
        kind, cast, decode = _scalar(oid, modifier)
        return PostgresColumn(name, kind, cast, decode)
    kind, cast, decode = _scalar(element, modifier)
    return PostgresColumn(
        name,
        pa.list_(kind),
        f"{cast}[]" if cast else "",
        lambda values: _lists(values, decode, kind),
        is_array=True,
    )


def dimensions(value: bytes) -> int:
    """Of an array."""
    return int.from_bytes(value[:4], "big")


def _scalar(oid: int, modifier: int) -> tuple[pa.DataType, str, Callable[[Values], pa.Array]]:
    if fixed := _FIXED.get(oid):
        return fixed.arrow, "", lambda values: _numbers(values, fixed)
    if oid == _BYTEA:
        return pa.binary(), "", lambda values: pa.array(values, pa.binary())
    if oid == _NUMERIC and (decimal := _decimal(modifier)):
        return decimal, "::text", lambda values: _decimals(values, decimal)
    return pa.string(), "::text", _texts


def _decimal(modifier: int) -> pa.DataType | None:
    """The decimal of a numeric with precision and scale; None if it has none, or Arrow has no such decimal."""
    if modifier < 0:
        return None
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
    if not 0 <= scale <= precision <= _LARGEST_PRECISION:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _numbers(values: Values, kind: _Fixed) -> pa.Array:
    wire = np.dtype(kind.wire)
    blank = bytes(wire.itemsize)
    numbers = np.frombuffer(b"".join(blank if value is None else value for value in values), wire)
    nulls = np.fromiter((value is None for value in values), bool, len(values))
    numbers = numbers.astype(wire.newbyteorder("="))
    if kind.moved_by:
        limits = np.iinfo(numbers.dtype)
        # The smallest and the largest number are the infinities; Arrow's range ends a little before Postgres's.
        nulls |= (numbers == limits.min) | (numbers > limits.max - kind.moved_by)
        numbers = np.where(nulls, 0, numbers) + numbers.dtype.type(kind.moved_by)
    if pa.types.is_temporal(kind.arrow):
        return pa.array(numbers, mask=nulls).cast(kind.arrow)
    return pa.array(numbers, kind.arrow, mask=nulls)


def _texts(values: Values) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string())


def _decimals(values: Values, kind: pa.DataType) -> pa.Array:
    texts = _texts(values)
    finite = pc.invert(pc.is_in(texts, pa.array(_NOT_FINITE)))
    return pc.if_else(finite, texts, None).cast(kind)


def _lists(values: Values, decode: Callable[[Values], pa.Array], kind: pa.DataType) -> pa.Array:
    offsets: list[int] = [0]
    elements: list[bytes | None] = []
    for value in values:
        if value is not None:
            elements.extend(_elements(value))
        offsets.append(len(elements))
    nulls = pa.array([value is None for value in values], pa.bool_())
    items = decode(elements) if elements else pa.array([], kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, mask=nulls)


def _elements(value: bytes) -> Iterator[bytes | None]:
    """The elements of an array of at most one dimension."""
    place = _HEADER + 8 * dimensions(value)
    while place < len(value):
        length = int.from_bytes(value[place : place + 4], "big", signed=True)
        place += 4
        if length < 0:
            yield None
        else:
            yield value[place : place + length]
            place += length
