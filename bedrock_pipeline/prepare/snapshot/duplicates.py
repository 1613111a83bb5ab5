"""Record ids, and requests, that occur more than once in a dataset.

DuckDB finds them over parquet files of any size in bounded memory, and spills to the work folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_MEMORY = "256MB"
_ROWS = 4096


class LaterOccurrences:
    """Rows whose record id, or whose request, occurred before, file by file."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", files: list[str]) -> None:
        self._connection = connection
        self._files = files

    def of(self, part: Path) -> dict[int, int]:
        """The later occurrences in one file: the row's number in it, and the number of the occurrence, from 2."""
        rows = self._connection.execute(
            "SELECT file_row_number, n FROM later WHERE filename = $part ORDER BY file_row_number",
            {"part": str(part)},
        )
        return dict(rows.fetchall())

    def find_duplicates(self, columns: Sequence[str], *, rejects_later: bool) -> None:
        """Find the rows with the same request as an earlier row, for `canonical_of`.

        Args:
            columns: two rows with the same values of these have the same request.
            rejects_later: whether rows whose record id occurred before are rejected, and so not canonical.
        """
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
        ours = "ANTI JOIN later USING (filename, file_row_number)" if rejects_later else ""
        files = {"files": self._files}
        # First by a hash, which is small; the partition separates rows that only share a hash.
        self._connection.execute(
            f"""CREATE TEMP TABLE same AS
                SELECT hash({names}) AS h FROM read_parquet($files) GROUP BY ALL HAVING count(*) > 1""",  # noqa: S608  # quoted above
            files,
        )
        self._connection.execute(
            f"""CREATE TEMP TABLE duplicate AS SELECT filename, file_row_number, canonical FROM (
                    SELECT filename, file_row_number, first_value(record_id) OVER same_request AS canonical,
                           row_number() OVER same_request AS n
                    FROM read_parquet($files, filename = true, file_row_number = true) {ours}
                    SEMI JOIN same ON hash({names}) = same.h
                    WINDOW same_request AS (PARTITION BY {names} ORDER BY filename, file_row_number))
                WHERE n > 1""",  # noqa: S608  # quoted above
            files,
        )

    def canonical_of(self, part: Path) -> dict[int, str]:
        """The duplicates of one file: the row's number in it, and the record id of the first row with the same request."""
        rows = self._connection.execute(
            "SELECT file_row_number, canonical FROM duplicate WHERE filename = $part ORDER BY file_row_number",
            {"part": str(part)},
        )
        return dict(rows.fetchall())


@contextmanager
def later_occurrences(parts: Sequence[Path], spill: Path) -> Iterator[LaterOccurrences]:
    """Find the rows whose record id occurred before.

    Args:
        parts: parquet files with a column `record_id`, whose names sort in their order.
        spill: folder for what does not fit into memory.
    """
    import duckdb  # here: it costs a fifth of a second, and runs of most kinds do without

    files = [str(part) for part in parts]
    with duckdb.connect(
        config={"memory_limit": _MEMORY, "temp_directory": str(spill), "threads": 2}
    ) as connection:
        # First by a hash, which is small; the partition separates ids that only share a hash.
        connection.execute(
            """CREATE TEMP TABLE repeated AS
               SELECT hash(record_id) AS h FROM read_parquet($files) GROUP BY ALL HAVING count(*) > 1""",
            {"files": files},
        )
        connection.execute(
            """CREATE TEMP TABLE later AS SELECT filename, file_row_number, n FROM (
                   SELECT filename, file_row_number,
                          row_number() OVER (PARTITION BY record_id ORDER BY filename, file_row_number) AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)
                   SEMI JOIN repeated ON hash(record_id) = repeated.h)
               WHERE n > 1""",
            {"files": files},
        )
        yield LaterOccurrences(connection, files)


@contextmanager
def duplicates_of(duplicates: Sequence[Path], rejected: Path) -> Iterator[Iterator[tuple[int, str, str]]]:
    """Duplicates whose canonical record was rejected: number among the duplicates, record id and reason, as a stream.

    Args:
        duplicates: parquet files with `record_id` and `canonical_id`.
        rejected: parquet file with `record_id` and `reason`.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2}) as connection:
        rows = connection.execute(
            """SELECT n, f.record_id, r.reason FROM (
                   SELECT *, row_number() OVER (ORDER BY filename, file_row_number) - 1 AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)) f
               JOIN read_parquet($rejected) r ON r.record_id = f.canonical_id ORDER BY n""",
            {"files": [str(file) for file in duplicates], "rejected": str(rejected)},
        )
        yield (row for block in iter(lambda: rows.fetchmany(_ROWS), []) for row in block)
