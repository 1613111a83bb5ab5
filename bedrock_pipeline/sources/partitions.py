"""Columns that folders name, as Hive and Spark write them: `year=2025/month=01/part-00000.parquet`."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

_NULL = "__HIVE_DEFAULT_PARTITION__"


def partition_columns(names: Sequence[str]) -> Mapping[str, pa.Array]:
    """The columns that the folders of files name, each with a value for every file.

    Whole numbers are `int64` where all values of the column are; everything else is text, also `01`.
    """
    given = [_values(name) for name in names]
    columns = dict.fromkeys(name for values in given for name in values)
    return {name: _typed([values.get(name) for values in given]) for name in columns}


def _values(path: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, separator, value = folder.partition("=")
        if separator and name:
            found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


def _typed(values: Sequence[str | None]) -> pa.Array:
    known = [value for value in values if value is not None]
    if known and all(_is_whole(value) for value in known):
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    return pa.array(values, pa.string())


def _is_whole(value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(value)) == value
