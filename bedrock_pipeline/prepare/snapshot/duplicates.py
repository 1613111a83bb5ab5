"""Record ids, and requests, that occur more than once in a dataset.

A 64-bit hash of each is held in memory up to a limit, and spilled to files of the work folder beyond it. For most inputs
this is enough: all differ. Where two hashes are equal, DuckDB finds the rows over the parquet files in bounded memory, and
spills to the work folder too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.kernel import hashes_of, library
from bedrock_pipeline.prepare.snapshot.column_rules import as_strings
from bedrock_pipeline.prepare.snapshot.portable import portable_type, to_portable
from bedrock_pipeline.prepare.snapshot.stored_columns import CANONICAL, RECORD_ID

if TYPE_CHECKING:
    import duckdb

_MEMORY = "256MB"
_ROWS = 4096

Hashes = npt.NDArray[np.uint64]

# Hashes held in memory: 4 MB.
_HELD = 500_000
# Files; each of a hundred million rows' is read at once with 13 MB.
_FILES = 64
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(columns: Sequence[pa.Array], rows: int | None = None) -> Hashes:
    """Hashes of rows from columns of one length: equal rows have equal hashes, within one process.

    Only text and whole numbers count, and a null as an empty text: different rows may have equal hashes.
    """
    hashes = np.zeros(len(columns[0]) if rows is None else rows, np.uint64)
    for column in columns:
        texts = as_strings(column)
        if texts is not None:
            hashes = hashes * _FACTOR + _text_hashes(pc.fill_null(texts, "") if texts.null_count else texts)
    return hashes


def _text_hashes(texts: pa.Array) -> Hashes:
    if kernel := library():
        return hashes_of(kernel, texts)
    return np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts)).view(np.uint64)


class SeenHashes:
    """The hashes of all rows; the spill files in the work folder are `<stem>-00` and so on."""

    def __init__(self, stem: Path) -> None:
        self._files = [stem.with_name(f"{stem.name}-{number:02}") for number in range(_FILES)]
        self._hashes: list[Hashes] = []
        self._held = 0
        self._spilled = False

    def add(self, hashes: Hashes) -> None:
        """Add the hashes of further rows."""
        self._hashes.append(hashes)
        self._held += len(hashes)
        if self._held > _HELD:
            self._spill()

    def all_differ(self) -> bool:
        """Whether no two hashes are equal, so that no two rows are."""
        if not self._spilled:
            return _differ(self._sorted())
        self._spill()
        return all(_differ(np.sort(np.fromfile(file, np.uint64))) for file in self._files)

    def _spill(self) -> None:
        """Move the held hashes into files, each of which has the hashes with the same first bits."""
        hashes = self._sorted()
        ends = np.searchsorted(hashes >> np.uint64(58), np.arange(_FILES), side="right")
        for file, some in zip(self._files, np.split(hashes, ends[:-1]), strict=True):
            with file.open("ab") as stream:
                some.tofile(stream)
        self._hashes, self._held, self._spilled = [], 0, True

    def _sorted(self) -> Hashes:
        return np.sort(np.concatenate([np.empty(0, np.uint64), *self._hashes]))


def _differ(hashes: Hashes) -> bool:
    return not np.any(hashes[1:] == hashes[:-1])


def write_keys(path: Path, ids: pa.ChunkedArray, texts: Sequence[pa.Array | pa.ChunkedArray]) -> None:
    """Write what tells rows apart, under generated names: a name of the input never reaches SQL.

    Args:
        path: the parquet file to write, a row for each row of a part.
        ids: record ids.
        texts: the text in the request for each of its columns; two rows with the same texts have the same request.
    """
    columns = [ids, *texts]
    names = ["id", *(f"k{number}" for number in range(len(texts)))]
    pq.write_table(
        pa.table([column.cast(pa.large_string()) for column in columns], names),
        path,
        compression="lz4",
    )


class LaterOccurrences:
    """Rows whose record id, or whose request, occurred before, by files of keys (`write_keys`)."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", files: list[str]) -> None:
        self._connection = connection
        self._files = files

    def of(self, keys: Path) -> dict[int, int]:
        """The later occurrences in one file: the row's number in it, and the number of the occurrence, from 2."""
        rows = self._connection.execute(
            "SELECT file_row_number, n FROM later WHERE filename = $keys ORDER BY file_row_number",
            {"keys": str(keys)},
        )
        return dict(rows.fetchall())

    def find_duplicates(self, columns: int, *, rejects_later: bool) -> None:
        """Find the rows with the same request as an earlier row, for `canonical_of`.

        Args:
            columns: number of the columns of the request.
            rejects_later: whether rows whose record id occurred before are rejected, and so not canonical.
        """
        names = ", ".join(f"k{number}" for number in range(columns))
        ours = "ANTI JOIN later USING (filename, file_row_number)" if rejects_later else ""
        files = {"files": self._files}
        # First by a hash, which is small; the partition separates rows that only share a hash.
        self._connection.execute(
            f"""CREATE TEMP TABLE same AS
                SELECT hash({names}) AS hashed FROM read_parquet($files) GROUP BY ALL HAVING count(*) > 1""",  # noqa: S608  # generated
            files,
        )
        self._connection.execute(
            f"""CREATE TEMP TABLE duplicate AS SELECT filename, file_row_number, canonical FROM (
                    SELECT filename, file_row_number, first_value(id) OVER same_request AS canonical,
                           row_number() OVER same_request AS n
                    FROM read_parquet($files, filename = true, file_row_number = true) {ours}
                    SEMI JOIN same ON hash({names}) = same.hashed
                    WINDOW same_request AS (PARTITION BY {names} ORDER BY filename, file_row_number))
                WHERE n > 1""",  # noqa: S608  # generated
            files,
        )

    def canonical_of(self, keys: Path) -> dict[int, str]:
        """The duplicates of one file: the row's number in it, and the record id of the first row with the same request."""
        rows = self._connection.execute(
            "SELECT file_row_number, canonical FROM duplicate WHERE filename = $keys ORDER BY file_row_number",
            {"keys": str(keys)},
        )
        return dict(rows.fetchall())


@contextmanager
def later_occurrences(keys: Sequence[Path], spill: Path) -> Iterator[LaterOccurrences]:
    """Find the rows whose record id occurred before in files of keys whose names sort in their order.

    What does not fit into memory goes to the folder `spill`.
    """
    import duckdb  # here: it costs a fifth of a second, and runs of most kinds do without

    files = [str(file) for file in keys]
    with duckdb.connect(
        config={"memory_limit": _MEMORY, "temp_directory": str(spill), "threads": 2}
    ) as connection:
        # First by a hash, which is small; the partition separates ids that only share a hash.
        connection.execute(
            """CREATE TEMP TABLE repeated AS
               SELECT hash(id) AS hashed FROM read_parquet($files) GROUP BY ALL HAVING count(*) > 1""",
            {"files": files},
        )
        connection.execute(
            """CREATE TEMP TABLE later AS SELECT filename, file_row_number, n FROM (
                   SELECT filename, file_row_number,
                          row_number() OVER (PARTITION BY id ORDER BY filename, file_row_number) AS n
                   FROM read_parquet($files, filename = true, file_row_number = true)
                   SEMI JOIN repeated ON hash(id) = repeated.hashed)
               WHERE n > 1""",
            {"files": files},
        )
        yield LaterOccurrences(connection, files)


@contextmanager
def duplicates_of(duplicates: Sequence[Path], rejected: Path) -> Iterator[Iterator[tuple[int, str, str]]]:
    """Duplicates whose canonical record was rejected: number among the duplicates, record id and reason, as a stream.

    Both have `record_id`; the files of duplicates `canonical`, that of rejected records `reason`.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2}) as connection:
        connection.register("duplicates", numbered(duplicates, [RECORD_ID, CANONICAL]))
        rows = connection.execute(
            """SELECT n, c0, reason FROM duplicates JOIN read_parquet($rejected) r ON r.record_id = c1 ORDER BY n""",
            {"rejected": str(rejected)},
        )
        yield (row for block in iter(lambda: rows.fetchmany(_ROWS), []) for row in block)


def numbered(files: Sequence[Path], columns: Sequence[str]) -> pa.RecordBatchReader:
    """Columns of parquet files as a stream for DuckDB: `n`, the row's number over all files, and `c0`, `c1`, ….

    A name never reaches SQL, where it may differ from another by its case alone. Types are those of `to_portable`.
    """
    schema = pq.read_schema(files[0])
    types = [portable_type(schema.field(name).type) for name in columns]
    names = [f"c{number}" for number in range(len(columns))]

    def batches() -> Iterator[pa.RecordBatch]:
        first = 0
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(_ROWS, columns=list(columns)):
                n = pa.array(range(first, first + batch.num_rows), pa.int64())
                first += batch.num_rows
                found = [to_portable(batch.column(name)) for name in columns]
                yield pa.RecordBatch.from_arrays([n, *found], names=["n", *names])

    fields = [("n", pa.int64()), *zip(names, types, strict=True)]
    return pa.RecordBatchReader.from_batches(pa.schema(fields), batches())
