"""The parquet file of a chunk's retryable records."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

_SCHEMA: Final = pa.schema([("position", pa.int64()), ("record_id", pa.string()), ("why", pa.string())])
_BLOCK = 10_000


class RetryWriter:
    """Writes a chunk's retryable records to a parquet file in bounded memory, and counts them by reason.

    Columns: `position` in the chunk's index, `record_id`, `why` (the error code).
    """

    def __init__(self, path: Path) -> None:
        self.by_reason: dict[str, int] = {}
        self._rows: list[tuple[int, str, str]] = []
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")

    def add(self, position: int, record_id: str, why: str) -> None:
        """Write one record."""
        self.by_reason[why] = self.by_reason.get(why, 0) + 1
        self._rows.append((position, record_id, why))
        if len(self._rows) >= _BLOCK:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [(), (), ()]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA))
        self._rows.clear()
