"""The hash of a dataset's content.

It depends neither on batches and parts nor on the order of the columns: for every column three streams are hashed, of
its nulls, of the lengths of its values, and of the values, each in the order of the rows. Python touches a value only
if it is nested or of a rare type.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from bedrock_pipeline.records.cells import python_values


@dataclass(slots=True)
class _Streams:
    nulls: Any = field(default_factory=blake3)
    lengths: Any = field(default_factory=blake3)
    values: Any = field(default_factory=blake3)


class Fingerprint:
    """A hash to which rows are added; two contents of different purposes have different hashes."""

    def __init__(self, purpose: str = "") -> None:
        self._purpose = purpose
        self._columns: dict[tuple[str, str], _Streams] = {}

    def add(self, table: pa.Table) -> None:
        """Add rows, always with the same columns."""
        for name, column in zip(table.column_names, table.columns, strict=True):
            for chunk in column.chunks:
                self._add(name, chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk)

    def hexdigest(self) -> str:
        """32 hexadecimal characters over all rows so far."""
        whole = blake3(repr(self._purpose).encode())
        for name, streams in sorted(self._columns.items()):
            whole.update(repr(name).encode())
            for stream in (streams.nulls, streams.lengths, streams.values):
                whole.update(stream.digest())
        return whole.hexdigest()[:32]

    def _add(self, name: str, column: pa.Array) -> None:
        kind, values = _simple(column)
        streams = self._columns.setdefault((name, kind), _Streams())
        streams.nulls.update(_bytes(column.is_null().to_numpy(zero_copy_only=False)))
        if pa.types.is_large_binary(values.type):
            offsets = np.frombuffer(values.buffers()[1], np.int64, len(values) + 1, values.offset * 8)
            streams.lengths.update(_bytes(np.diff(offsets)))
            data = values.buffers()[2]
            streams.values.update(memoryview(data)[offsets[0] : offsets[-1]] if data else b"")
        else:
            streams.values.update(_bytes(np.ascontiguousarray(values.to_numpy(zero_copy_only=False))))


def _bytes(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return values.view(np.uint8)


def _simple(column: pa.Array) -> tuple[str, pa.Array]:
    """A column as numbers or bytes without nulls; and the name of its kind."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return "bool", pc.fill_null(column, False).cast(pa.uint8())  # noqa: FBT003  # Arrow's parameter
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind), pc.fill_null(column, 0)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text", pc.fill_null(column, "").cast(pa.large_binary())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return "binary", pc.fill_null(column, b"").cast(pa.large_binary())
    return str(kind), pa.array(_as_json(column), pa.large_binary())


def _as_json(column: pa.Array) -> Iterator[bytes]:
    for value in python_values(column):
        yield orjson.dumps(value, default=_as_text)


def _as_text(value: Any) -> str:
    return blake3(value).hexdigest() if isinstance(value, bytes) else str(value)
