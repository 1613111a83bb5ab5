"""Dates and times as ISO 8601, also those that Arrow cannot write."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from bedrock_pipeline.records.cells import datetime_text, time_text

_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY: Final = 86_400
#: Arrow writes years of 16 bits only.
_SECONDS: Final = 900_000_000_000


def iso_texts(values: pa.Array) -> pa.Array:
    """The texts of dates, times or timestamps.

    A time of day has the offset of its zone. What is tens of thousands of years away, in a zone that this machine does not
    know, or had an offset with seconds (before zones were standardized), is in UTC.
    """
    small = pt.is_date32(values.type) or pt.is_time32(values.type)
    counts = values.cast(pa.int32() if small else pa.int64()).cast(pa.int64())
    lowest, highest = _bounds(values.type)
    is_far = pc.or_(pc.greater(counts, highest), pc.less(counts, lowest))
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


def _bounds(kind: pa.DataType) -> tuple[int, int]:
    """The lowest and highest count that Arrow writes, also as a local time."""
    if pt.is_date32(kind):
        return -_SECONDS // _DAY, _SECONDS // _DAY
    per_second = _PER_SECOND["ms" if pt.is_date64(kind) else kind.unit]
    if pt.is_time(kind):
        return 0, _DAY * per_second - 1
    highest = min(_SECONDS * per_second, 2**63 - 1 - _DAY * per_second)
    return -highest, highest


def _has_offset_of_seconds(times: pa.Array) -> pa.Array:
    """Where the local time is no whole number of minutes from UTC: ISO 8601 has no such offset."""
    away = pc.subtract(pc.local_timestamp(times).cast(pa.int64()), times.cast(pa.int64()))
    minute = 60 * _PER_SECOND[times.type.unit]
    rest = pc.subtract(away, pc.multiply(pc.divide(away, minute), minute))
    return pc.fill_null(pc.not_equal(rest, 0), False)  # noqa: FBT003  # its parameters have no names


def _far(count: int, kind: pa.DataType) -> str:
    if pt.is_time(kind):
        return time_text(count, kind)
    if pt.is_date(kind):
        return datetime_text(np.datetime64(count, "D" if pt.is_date32(kind) else "ms").astype("<M8[D]"))
    if count == -(2**63):  # no time at all to NumPy; one unit later is one
        return f"{count} {kind.unit}"
    return f"{datetime_text(np.datetime64(count, kind.unit))}{'Z' if kind.tz else ''}"
