"""Parquet files written from small batches.

Batches are collected into row groups of a size that is quick to read, in bounded memory.
"""

from pathlib import Path
from typing import Literal, Self, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.concurrency import Behind

Compression: TypeAlias = Literal["lz4", "zstd"]

#: Approximate bytes of a row group before compression.
GROUP_BYTES = 16_000_000


class GroupedWriter:
    """Writes a parquet file, and compresses it in a thread of its own."""

    def __init__(self, path: Path, schema: pa.Schema, compression: Compression = "zstd") -> None:
        self.path = path
        # All record ids differ, so a dictionary would not help.
        others = [name for name in schema.names if name != "record_id"]
        self._writer = pq.ParquetWriter(path, schema, compression=compression, use_dictionary=others)
        self._behind = Behind(depth=1)
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        self._waiting.append(rows)
        self._bytes += rows.nbytes
        if self._bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._behind.finish()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _flush(self) -> None:
        if self._waiting:
            self._behind.do(self._writer.write_table, pa.Table.from_batches(self._waiting))
        self._waiting, self._bytes = [], 0
