"""Columns that folders name, as Hive and Spark write them: `year=2025/month=01/part-00000.parquet`."""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

from bedrock_pipeline.sources.errors import InputError

_NULL = "__HIVE_DEFAULT_PARTITION__"


def partition_columns(names: Sequence[str]) -> Mapping[str, pa.Array]:
    """The columns that the folders of files name, each with a value for every file.

    Whole numbers are `int64` where all values of the column are; everything else is text, also `01`.

    Raises:
        InputError: a folder's name is not UTF-8.
    """
    given = [_values(name) for name in names]
    columns = dict.fromkeys(name for values in given for name in values)
    return {name: _typed([values.get(name) for values in given]) for name in columns}


def _values(path: str) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        name, separator, value = folder.partition("=")
        if not (separator and name):
            continue
        if not _is_text(folder):
            shown = path.encode("utf-8", "backslashreplace").decode()
            raise InputError(
                f"The name of a folder is not UTF-8, so that it names no column: {shown}.", "Rename it."
            )
        found[unquote(name)] = None if value == _NULL else unquote(value)
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the system gives other bytes as halves of surrogate pairs
        return False
    return True


def _typed(values: Sequence[str | None]) -> pa.Array:
    known = [value for value in values if value is not None]
    if known and all(_is_whole(value) for value in known):
        return pa.array([None if value is None else int(value) for value in values], pa.int64())
    return pa.array(values, pa.string())


def _is_whole(value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and str(int(value)) == value
