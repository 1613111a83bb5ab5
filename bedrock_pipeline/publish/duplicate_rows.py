"""Rows of the results for duplicates: records whose request is that of another record, their canonical record.

What belongs here: joining duplicates with the rows of their canonical records, in parquet files of any size. DuckDB does
it in bounded memory and spills to the work folder. `prepare.snapshot.duplicates` finds the duplicates.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.prepare.snapshot.duplicates import numbered
from bedrock_pipeline.prepare.snapshot.portable import from_portable
from bedrock_pipeline.prepare.snapshot.stored_columns import CANONICAL, RECORD_ID, input_columns
from bedrock_pipeline.records.result_schema import COLUMNS

_MEMORY = "256MB"
#: Rows of a batch.
ROWS = 4096


class DuplicateRows:
    """Rows of results for duplicates, from the rows of their canonical records.

    Only ids are joined; answers, which may be large, are read one row group at a time.

    Args:
        duplicates: parquet files as a snapshot has them: record id, its canonical record's, and the carried columns.
        folder: the work folder, to which DuckDB spills.
    """

    def __init__(self, duplicates: Sequence[Path], folder: Path) -> None:
        import duckdb  # here: it costs a fifth of a second, and runs of most kinds do without

        self._files = duplicates
        schema = pq.read_schema(duplicates[0])
        self._carried = list(input_columns(schema))
        self._names = [RECORD_ID, CANONICAL, *(field.name for field in input_columns(schema).values())]
        self._types = [schema.field(name).type for name in self._names]
        self._connection = duckdb.connect(
            str(folder / "duplicates.duckdb"),
            config={"memory_limit": _MEMORY, "temp_directory": str(folder / "spill"), "threads": 1},
        )

    def rows_for(self, part: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of the duplicates whose canonical records are in a part.

        Args:
            part: parquet file of the results of the records that were sent.
            schema: of the results.
        """
        self._connection.register("duplicates", numbered(self._files, self._names))
        self._connection.register("part", numbered([part], [RECORD_ID]))
        self._connection.execute(
            """CREATE OR REPLACE TABLE joined AS SELECT part.n AS canonical_row, duplicates.*
               FROM duplicates JOIN part ON part.c0 = duplicates.c1"""
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
            columns = zip(batch.columns[2:], self._types, strict=True)
            record_id, answered_by, *values = (from_portable(column, kind) for column, kind in columns)
            own = {RECORD_ID: record_id, **dict(zip(self._carried, values, strict=True))}
            yield from _joined(own, answered_by, canonical.take(rows), schema).to_batches()

    def close(self) -> None:
        """Close DuckDB's files."""
        self._connection.close()


def _joined(
    own: Mapping[str, pa.Array], answered_by: pa.Array, canonical: pa.Table, schema: pa.Schema
) -> pa.Table:
    """Rows with the duplicates' own columns, and the columns of the results by the rule in `COLUMNS`."""
    zeros = pa.array([0] * len(answered_by), pa.int64())

    def column(field: pa.Field) -> pa.Array | pa.ChunkedArray:
        rule = COLUMNS[field.name].duplicate if field.name in COLUMNS else None
        if rule == "zero":
            return zeros.cast(field.type)
        if rule == "canonical id":
            return answered_by
        if rule is None and field.name in own:
            return own[field.name]
        if field.name not in canonical.column_names:  # a part without a response lacks columns of vectors
            return pa.nulls(len(answered_by), field.type)
        return canonical[field.name].cast(field.type)

    return pa.table([column(field) for field in schema], schema=schema).combine_chunks()
