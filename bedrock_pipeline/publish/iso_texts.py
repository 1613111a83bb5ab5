"""Dates and times as ISO 8601, also those that Arrow cannot write."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY: Final = 86_400
#: Arrow writes years of 16 bits only.
_SECONDS: Final = 900_000_000_000


def iso_texts(values: pa.Array) -> pa.Array:
    """The texts of dates or timestamps.

    A time of day has the offset of its zone. What is tens of thousands of years away, in a zone that this machine does not
    know, or had an offset with seconds (before zones were standardized), is in UTC.
    """
    counts = values.cast(pa.int32() if pt.is_date32(values.type) else pa.int64()).cast(pa.int64())
    bound = _bound(values.type)
    is_far = pc.or_(pc.greater(counts, bound), pc.less(counts, -bound))
    near = pc.if_else(is_far, pa.scalar(None, values.type), values)
    try:
        texts = near.cast(pa.string())
        if pt.is_timestamp(values.type) and values.type.tz:
            is_far = pc.or_(is_far, _has_offset_of_seconds(near))
    except pa.ArrowException:  # an unknown zone
        near, is_far = pa.nulls(len(values), pa.string()), pc.is_valid(counts)
        texts = near
    if pt.is_timestamp(values.type):
        texts = pc.replace_substring(texts, " ", "T", max_replacements=1)
        texts = pc.replace_substring_regex(texts, r"([+-]\d\d)(\d\d)$", r"\1:\2") if values.type.tz else texts
    if not pc.any(is_far).as_py():
        return texts
    return pa.array(
        [
            _far(count, values.type) if far else text
            for count, far, text in zip(
                counts.to_pylist(), is_far.to_pylist(), texts.to_pylist(), strict=True
            )
        ],
        pa.string(),
    )


def _bound(kind: pa.DataType) -> int:
    """The largest count that Arrow writes, also as a local time."""
    if pt.is_date32(kind):
        return _SECONDS // _DAY
    per_second = _PER_SECOND["ms" if pt.is_date64(kind) else kind.unit]
    return min(_SECONDS * per_second, 2**63 - 1 - _DAY * per_second)


def _has_offset_of_seconds(times: pa.Array) -> pa.Array:
    """Where the local time is no whole number of minutes from UTC: ISO 8601 has no such offset."""
    away = pc.subtract(pc.local_timestamp(times).cast(pa.int64()), times.cast(pa.int64()))
    minute = 60 * _PER_SECOND[times.type.unit]
    rest = pc.subtract(away, pc.multiply(pc.divide(away, minute), minute))
    return pc.fill_null(pc.not_equal(rest, 0), False)  # noqa: FBT003  # its parameters have no names


def _far(count: int, kind: pa.DataType) -> str:
    if pt.is_date32(kind):
        return str(np.datetime64(count, "D"))
    if pt.is_date64(kind):
        return str(np.datetime64(count, "ms").astype("<M8[D]"))
    if count == -(2**63):  # no time at all to NumPy; one unit later is one
        return f"{count} {kind.unit}"
    text = str(np.datetime64(count, kind.unit))
    if text.startswith("-"):  # NumPy counts the sign as a digit of the year
        year, rest = text[1:].split("-", 1)
        text = f"-{year.zfill(4)}-{rest}"
    return f"{text}{'Z' if kind.tz else ''}"
