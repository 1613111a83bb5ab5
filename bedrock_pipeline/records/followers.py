"""Followers: records that another record, their leader, asks for already.

What belongs here: joining them with what became of their leaders, over parquet files of any size. DuckDB does it, in
bounded memory, spilling to the work folder. Who follows whom is found in `duplicates.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa

_MEMORY = "256MB"
#: Of a batch.
ROWS = 4096
#: What a follower has cost: nothing.
_FREE = {"input_tokens": "0", "output_tokens": "0", "cost_usd": "0.0", "on_demand_cost_usd": "0.0"}


class FollowerRows:
    """Rows of results for followers, from the rows of their leaders.

    Args:
        followers: parquet files with `record_id`, `leader_id` and the carried columns.
        folder: the work folder, for what does not fit into memory.
    """

    def __init__(self, followers: Sequence[Path], folder: Path) -> None:
        self._files = [str(file) for file in followers]
        self._connection = duckdb.connect(
            str(folder / "followers.duckdb"),
            config={"memory_limit": _MEMORY, "temp_directory": str(folder / "spill"), "threads": 2},
        )
        self._connection.execute(
            "CREATE TABLE leader AS SELECT DISTINCT leader_id FROM read_parquet($files)",
            {"files": self._files},
        )
        self._begun = False

    def add(self, part: Path) -> None:
        """Look for leaders in a part of the results; the file is not needed afterwards."""
        verb = "INSERT INTO led BY NAME" if self._begun else "CREATE TABLE led AS"
        self._connection.execute(
            f"{verb} SELECT * FROM read_parquet($part) SEMI JOIN leader ON record_id = leader_id",  # noqa: S608  # one of two
            {"part": str(part)},
        )
        self._begun = True

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The followers' rows, in the order of their files; tokens and cost are 0, and `answered_by` their leader.

        Args:
            schema: of the results.
        """
        own = {name for (name, *_) in self._described()}
        columns = []
        for name in schema.names:
            quoted = '"' + name.replace('"', '""') + '"'
            source = f"f.{quoted}" if name in own else _FREE.get(name, f"l.{quoted}")
            columns.append(f"{'f.leader_id' if name == 'answered_by' else source} AS {quoted}")
        rows = self._connection.sql(
            f"""SELECT {", ".join(columns)}
                FROM read_parquet($files, filename = true, file_row_number = true) f
                JOIN led l ON l.record_id = f.leader_id ORDER BY f.filename, f.file_row_number""",  # noqa: S608  # quoted above
            params={"files": self._files},
        )
        for batch in rows.to_arrow_reader(ROWS):
            yield pa.Table.from_batches([batch]).cast(schema).combine_chunks().to_batches()[0]

    def close(self) -> None:
        """Let its files go."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _described(self) -> list[tuple[object, ...]]:
        return self._connection.execute(
            "DESCRIBE SELECT * EXCLUDE (leader_id) FROM read_parquet($files)", {"files": self._files}
        ).fetchall()


@contextmanager
def followers_of(followers: Sequence[Path], rejected: Path) -> Iterator[Iterator[tuple[int, str, str]]]:
    """Followers whose leader was rejected: number among the followers, record id and reason, as a stream.

    Args:
        followers: parquet files with `record_id` and `leader_id`.
        rejected: parquet file with `record_id` and `reason`.
    """
    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2}) as connection:
        rows = connection.execute(
            """SELECT n, f.record_id, r.reason FROM (
                   SELECT *, row_number() OVER (ORDER BY filename, file_row_number) - 1 AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)) f
               JOIN read_parquet($rejected) r ON r.record_id = f.leader_id ORDER BY n""",
            {"files": [str(file) for file in followers], "rejected": str(rejected)},
        )
        yield (row for block in iter(lambda: rows.fetchmany(ROWS), []) for row in block)
