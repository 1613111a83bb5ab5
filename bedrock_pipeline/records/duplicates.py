"""Record ids that occur more than once in a dataset.

What belongs here: finding them over parquet files of any size. DuckDB does it, in bounded memory, spilling to
the work folder.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb

_MEMORY = "256MB"


def later_occurrences(parts: Sequence[Path], spill: Path) -> dict[Path, dict[int, int]]:
    """Rows whose record id occurred before.

    Args:
        parts: parquet files with a column `record_id`, in order.
        spill: folder for what does not fit into memory.

    Returns:
        For each file that has such rows: the row's number in it, and the how-manieth occurrence it is (from 2).
    """
    files = [str(part) for part in parts]
    with duckdb.connect(
        config={"memory_limit": _MEMORY, "temp_directory": str(spill), "threads": 2}
    ) as connection:
        connection.execute(
            """CREATE TEMP TABLE doubled AS
               SELECT record_id FROM read_parquet($files) GROUP BY record_id HAVING count(*) > 1""",
            {"files": files},
        )
        rows = connection.execute(
            """SELECT filename, file_row_number, n FROM (
                   SELECT filename, file_row_number,
                          row_number() OVER (PARTITION BY record_id ORDER BY filename, file_row_number) AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)
                   SEMI JOIN doubled USING (record_id))
               WHERE n > 1""",
            {"files": files},
        ).fetchall()
    found: dict[Path, dict[int, int]] = {}
    for name, row, occurrence in rows:
        found.setdefault(Path(name), {})[row] = occurrence
    return found
