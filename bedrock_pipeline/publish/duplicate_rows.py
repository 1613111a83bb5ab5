"""Duplicates: records that another record, their canonical record, asks for already.

What belongs here: joining them with what became of their canonical records, over parquet files of any size. DuckDB does it, in
bounded memory, spilling to the work folder. Who follows whom is found in `duplicates.py`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_MEMORY = "256MB"
#: Of a batch.
ROWS = 4096
#: What a duplicate has cost: nothing.
_FREE = {"input_tokens": "0", "output_tokens": "0", "cost_usd": "0.0", "on_demand_cost_usd": "0.0"}


class DuplicateRows:
    """Rows of results for duplicates, from the rows of their canonical records.

    Only ids are joined; answers, which may be large, are read one row group at a time.

    Args:
        duplicates: parquet files with `record_id`, `canonical_id` and the carried columns.
        folder: the work folder, for what does not fit into memory.
    """

    def __init__(self, duplicates: Sequence[Path], folder: Path) -> None:
        import duckdb  # here: it costs a fifth of a second, and runs of most kinds do without

        self._files = [str(file) for file in duplicates]
        self._connection = duckdb.connect(
            str(folder / "duplicates.duckdb"),
            config={"memory_limit": _MEMORY, "temp_directory": str(folder / "spill"), "threads": 1},
        )

    def rows_for(self, part: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of those whose canonical records are in a part; tokens and cost are 0, and `answered_by` their canonical record.

        Args:
            part: parquet file of the results of what was asked.
            schema: of the results.
        """
        self._connection.execute(
            """CREATE OR REPLACE TABLE joined AS SELECT l.file_row_number AS canonical_row, f.*
               FROM read_parquet($files) f
               JOIN read_parquet($part, file_row_number = true) l ON l.record_id = f.canonical_id""",
            {"files": self._files, "part": str(part)},
        )
        with pq.ParquetFile(part) as file:
            first = 0
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                yield from self._of_group(file, group, first, count, schema)
                first += count

    def _of_group(
        self, file: pq.ParquetFile, group: int, first: int, count: int, schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        found = self._connection.sql(
            "SELECT * FROM joined WHERE canonical_row >= $first AND canonical_row < $end",
            params={"first": first, "end": first + count},
        )
        canonical: pa.Table | None = None
        for batch in found.to_arrow_reader(ROWS):
            canonical = file.read_row_group(group) if canonical is None else canonical
            rows = pc.subtract(batch["canonical_row"], first)
            yield from _joined(pa.Table.from_batches([batch]), canonical.take(rows), schema).to_batches()

    def close(self) -> None:
        """Let its files go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _joined(duplicates: pa.Table, canonical: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that are the duplicates' where they have a column of that name, and their canonical records' otherwise."""
    own = duplicates.rename_columns(
        [{"canonical_id": "answered_by"}.get(name, name) for name in duplicates.column_names]
    )
    free = pa.array([0] * len(own), pa.int64())
    columns = []
    for field in schema:
        source = own if field.name in own.column_names else canonical
        column = free if field.name in _FREE else source[field.name]
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema).combine_chunks()
