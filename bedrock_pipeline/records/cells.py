"""Cells of Arrow as Python values, and as text: for every type, and for values that Python's own types cannot hold."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

#: Metadata of a field of floats that were written as whole numbers where they are whole: `3`, not `3.0`.
WHOLE = {b"bedrock_pipeline.whole": b"1"}


#: Digits of a fraction of a second, by unit.
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DAY_S = 86_400
#: What NumPy takes for no time at all.
_NOT_A_TIME = -(2**63)
#: Floats from here on, or below, are written with an exponent, as JavaScript does.
_LARGE = 1e21
_SMALL = 1e-6
_JSON = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


class NoTextError(ValueError):
    """A cell has no text; the message goes on from the name of its column."""


def python_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column as Python values.

    A map with text as keys is a dict, a date beyond the year 9999 and a time of day from 24:00:00 on are text, and a fraction of less than 64 bits has the fewest
    digits that tell it apart: `0.1`, not `0.10000000149011612`. A whole number stays what it is: `123456792`.
    """
    times = pa.types.is_time(column.type)
    if not (has_odd_times(column) if times else _changes(column.type)):
        try:
            found: list[Any] = column.to_pylist()
            return found
        except (OverflowError, ValueError, KeyError, pa.ArrowException):
            pass  # a cell is not to be had that way
    return [python_value(cell) for cell in column]


def python_value(cell: pa.Scalar) -> Any:
    """One cell as a Python value, by the rule of `python_values`."""
    if not cell.is_valid:
        return None
    kind = cell.type
    if isinstance(kind, pa.BaseExtensionType):
        try:
            return cell.as_py()
        except (OverflowError, ValueError, pa.ArrowException):
            return python_value(cell.value)
    if pa.types.is_map(kind):
        return _object([(python_value(one[0]), python_value(one[1])) for one in cell.values])
    if pa.types.is_struct(kind):
        fields = [(kind.field(n).name, python_value(cell[n])) for n in range(kind.num_fields)]
        return _object(fields)
    if _is_list(kind):
        return [python_value(one) for one in cell.values]
    if pa.types.is_dictionary(kind):
        return python_value(cell.value)
    if pa.types.is_run_end_encoded(kind):
        return python_value(cell.value)
    if is_narrow(kind):
        return _narrow(cell.as_py(), np.float32 if pa.types.is_float32(kind) else np.float16)
    if pa.types.is_time(kind) and not _is_in_python(cell.value, kind):
        return time_text(cell.value, kind)
    try:
        return cell.as_py()
    except (OverflowError, ValueError, KeyError):
        return _far_away(cell)


def text_of(value: Any) -> str:
    """A value that is not null, as one writes it by hand.

    Numbers have no exponent unless they are very large or small, and no zeros that only fill a scale. Anything nested is JSON.

    Raises:
        NoTextError: it is, or has, binary data.
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
        raise NoTextError("is binary")
    return json_of(value) if isinstance(value, dict | list | tuple) else str(value)


def json_of(value: Any) -> str:
    """A nested value as JSON, its keys in their order; dates and the like are text.

    Raises:
        NoTextError: it contains binary data, or a number that JSON libraries do not hold.
    """
    try:
        return orjson.dumps(value, default=_in_json, option=_JSON).decode()
    except orjson.JSONEncodeError as error:
        binary = isinstance(error.__cause__, NoTextError)
        raise NoTextError("has binary data in it" if binary else "cannot be written as JSON") from None


def _float(value: float) -> str:
    if not math.isfinite(value) or (value and not _SMALL <= abs(value) < _LARGE):
        return str(value)
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
    return text_of(value)


def is_null(value: object) -> bool:
    """Whether a value is missing, as a null or as NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def whole(values: list[Any]) -> list[Any]:
    """Values of a field with `WHOLE`: floats that are whole numbers as integers."""
    return [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]


def is_whole(field: pa.Field) -> bool:
    """Whether a field has `WHOLE`."""
    return field.metadata is not None and WHOLE.items() <= field.metadata.items()


def has_odd_times(times: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column of times of day has one that Python has not: 24:00:00, or one with nanoseconds."""
    if exceeds_a_day(times):
        return True
    if times.type.unit != "ns":
        return False
    counts = times.cast(pa.int64())
    return bool(pc.any(pc.not_equal(pc.multiply(pc.divide(counts, 1000), 1000), counts)).as_py())


def exceeds_a_day(times: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column of times of day has one that is none, such as 24:00:00 of Postgres."""
    kind = times.type
    bounds = pc.min_max(times.cast(pa.int32() if pa.types.is_time32(kind) else pa.int64()))
    lowest, highest = bounds["min"].as_py(), bounds["max"].as_py()
    return lowest is not None and (lowest < 0 or highest >= _DAY_S * 10 ** _DIGITS[kind.unit])


def _is_in_python(count: int, kind: pa.DataType) -> bool:
    return 0 <= count < _DAY_S * 10 ** _DIGITS[kind.unit] and (kind.unit != "ns" or count % 1000 == 0)


def time_text(count: int, kind: pa.DataType) -> str:
    """A time of day in ISO 8601, also 24:00:00; with a fraction if it has one.

    Args:
        count: as Arrow stores it.
        kind: its type.
    """
    digits = _DIGITS[kind.unit]
    seconds, fraction = divmod(abs(count), 10**digits)
    text = f"{'-' * (count < 0)}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:0{digits}}" if fraction else text


def datetime_text(value: np.datetime64) -> str:
    """A point in time in ISO 8601, however far away; its year has four digits at least."""
    text = str(value)
    if not text.startswith("-"):
        return text
    year, dash, rest = text[1:].partition("-")  # NumPy counts the sign as a digit of the year
    return f"-{year.zfill(4)}{dash}{rest}"


def is_narrow(kind: pa.DataType) -> bool:
    """Whether a type is a float of less than 64 bits."""
    return bool(pa.types.is_float32(kind) or pa.types.is_float16(kind))


def _narrow(value: float, kind: type[np.floating[Any]]) -> float:
    return value if value.is_integer() and abs(value) < _LARGE else float(str(kind(value)))


def _changes(kind: pa.DataType) -> bool:
    """Whether Arrow's own conversion may lose something, or gives pairs where a dict is meant."""
    if pa.types.is_map(kind) or pa.types.is_time(kind) or is_narrow(kind):
        return True
    if (
        pa.types.is_struct(kind)
        and len({kind.field(n).name for n in range(kind.num_fields)}) < kind.num_fields
    ):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _changes(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _changes(kind.value_type)
    return any(_changes(kind.field(n).type) for n in range(kind.num_fields))


def has_binary(kind: pa.DataType) -> bool:
    """Whether a type is binary, or contains binary data."""
    if kind in (pa.binary(), pa.large_binary(), pa.binary_view()) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(has_binary(kind.field(number).type) for number in range(kind.num_fields))


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _object(pairs: list[tuple[Any, Any]]) -> Any:
    """A dict where the keys are texts that differ; else pairs, so that nothing is lost."""
    found = dict(pairs) if all(isinstance(key, str) for key, _ in pairs) else {}
    return found if len(found) == len(pairs) else [[key, value] for key, value in pairs]


def _far_away(cell: pa.Scalar) -> str:
    """A point in time, or a duration, that Python's types cannot hold."""
    kind = cell.type
    if cell.value == _NOT_A_TIME:
        return f"{cell.value} {getattr(kind, 'unit', 'ms')}"
    if pa.types.is_timestamp(kind):
        text = datetime_text(np.datetime64(cell.value, kind.unit)).replace("T", " ")
        return f"{text}+00:00" if kind.tz else text
    if pa.types.is_date(kind):
        unit: Any = "ms" if pa.types.is_date64(kind) else "D"
        return datetime_text(np.datetime64(cell.value, unit).astype("<M8[D]"))
    return f"{cell.value} {kind.unit}"  # a duration
