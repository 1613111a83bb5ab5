"""Followers: records that another record, their leader, asks for already.

What belongs here: joining them with what became of their leaders, over parquet files of any size. DuckDB does it, in
bounded memory, spilling to the work folder. Who follows whom is found in `duplicates.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_MEMORY = "256MB"
#: Of a batch.
ROWS = 4096
#: What a follower has cost: nothing.
_FREE = {"input_tokens": "0", "output_tokens": "0", "cost_usd": "0.0", "on_demand_cost_usd": "0.0"}


class FollowerRows:
    """Rows of results for followers, from the rows of their leaders.

    Only ids are joined; answers, which may be large, are read one row group at a time.

    Args:
        followers: parquet files with `record_id`, `leader_id` and the carried columns.
        folder: the work folder, for what does not fit into memory.
    """

    def __init__(self, followers: Sequence[Path], folder: Path) -> None:
        import duckdb  # here: it costs a fifth of a second, and runs of most kinds do without

        self._files = [str(file) for file in followers]
        self._connection = duckdb.connect(
            str(folder / "followers.duckdb"),
            config={"memory_limit": _MEMORY, "temp_directory": str(folder / "spill"), "threads": 1},
        )

    def led_by(self, part: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of those whose leaders are in a part; tokens and cost are 0, and `answered_by` their leader.

        Args:
            part: parquet file of the results of what was asked.
            schema: of the results.
        """
        self._connection.execute(
            """CREATE OR REPLACE TABLE led AS SELECT l.file_row_number AS leader_row, f.*
               FROM read_parquet($files) f
               JOIN read_parquet($part, file_row_number = true) l ON l.record_id = f.leader_id""",
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
            "SELECT * FROM led WHERE leader_row >= $first AND leader_row < $end",
            params={"first": first, "end": first + count},
        )
        leaders: pa.Table | None = None
        for batch in found.to_arrow_reader(ROWS):
            leaders = file.read_row_group(group) if leaders is None else leaders
            rows = pc.subtract(batch["leader_row"], first)
            yield from _led(pa.Table.from_batches([batch]), leaders.take(rows), schema).to_batches()

    def close(self) -> None:
        """Let its files go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _led(followers: pa.Table, leaders: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that are the followers' where they have a column of that name, and their leaders' otherwise."""
    own = followers.rename_columns(
        [{"leader_id": "answered_by"}.get(name, name) for name in followers.column_names]
    )
    free = pa.array([0] * len(own), pa.int64())
    columns = []
    for field in schema:
        source = own if field.name in own.column_names else leaders
        column = free if field.name in _FREE else source[field.name]
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema).combine_chunks()


@contextmanager
def followers_of(followers: Sequence[Path], rejected: Path) -> Iterator[Iterator[tuple[int, str, str]]]:
    """Followers whose leader was rejected: number among the followers, record id and reason, as a stream.

    Args:
        followers: parquet files with `record_id` and `leader_id`.
        rejected: parquet file with `record_id` and `reason`.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2}) as connection:
        rows = connection.execute(
            """SELECT n, f.record_id, r.reason FROM (
                   SELECT *, row_number() OVER (ORDER BY filename, file_row_number) - 1 AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)) f
               JOIN read_parquet($rejected) r ON r.record_id = f.leader_id ORDER BY n""",
            {"files": [str(file) for file in followers], "rejected": str(rejected)},
        )
        yield (row for block in iter(lambda: rows.fetchmany(ROWS), []) for row in block)
