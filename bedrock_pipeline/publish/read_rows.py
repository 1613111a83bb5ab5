"""Some rows of published results: the first ones, some at random, those that failed, or those that meet a condition."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.aws.parquet_objects import damaged, read_each, reading
from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.publish.copy_parts import fitted
from bedrock_pipeline.publish.engine_types import in_duckdb, sql_names, sql_quoted

if TYPE_CHECKING:
    import pyarrow.dataset as pa_dataset

#: How DuckDB says that a condition names a column that is not there.
_UNKNOWN_COLUMN: Final = re.compile(r'Referenced column "(.+?)" not found')
#: How DuckDB says that not the condition is wrong, but what it reads.
_UNREADABLE: Final = "reading the Arrow source failed"
#: Rows of a batch: as a terminal shows them.
_BATCH_ROWS = 1024


def read_rows(
    results: "pa_dataset.Dataset",
    count: int | None,
    *,
    failed: bool = False,
    where: str | None = None,
    at_random: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Rows as they were published, with the names and types of their columns.

    Args:
        results: a published dataset.
        count: how many rows at most; None: all of them.
        failed: only those of records that failed.
        where: a condition in DuckDB's SQL, with the names of `sql_names`.
        at_random: any rows rather than the first ones; they come in the order of the results.

    Raises:
        ArgumentError: DuckDB rejects the condition.
        ObjectDamagedError: a file is not what was written.
    """
    if where is None and not at_random:
        every = chain.from_iterable(
            _rows_of(fragment, results.schema) for fragment in results.get_fragments()
        )
        rows = (batch.filter(pc.equal(batch["status"], "failed")) for batch in every) if failed else every
        yield from _first(rows, count)
        return
    yield from _at(results, sorted(_positions(results, count, failed, where, at_random)))


def _rows_of(fragment: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a file, read in this thread.

    Arrow's scanner reads ahead in threads of its own: where not all rows are wanted, they still hold the file, which is an
    object of Python, when Python ends, and the process aborts.
    """
    uri = f"s3://{fragment.path}"
    with fragment.filesystem.open_input_file(fragment.path) as stream:
        with reading(uri):
            file = pq.ParquetFile(stream, pre_buffer=False)
            batches = file.iter_batches(_BATCH_ROWS, use_threads=False)
        for batch in read_each(batches, uri):
            yield fitted(batch, schema)


def _first(batches: Iterator[pa.RecordBatch], count: int | None) -> Iterator[pa.RecordBatch]:
    if count is None:
        yield from batches
        return
    for batch in batches:
        yield batch.slice(0, count)
        count -= batch.num_rows
        if count <= 0:
            return


def _positions(
    results: "pa_dataset.Dataset", count: int | None, failed: bool, where: str | None, at_random: bool
) -> list[int]:
    """The numbers of the rows that DuckDB selects; it reads only the columns of the condition."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET enable_external_access = false")  # a condition reads these rows and nothing else
    names = sql_names(results.schema.names)
    position = "position"
    while position in {name.casefold() for name in names}:
        position += "_"
    try:
        rows = in_duckdb(results, connection).project(
            f"*, row_number() OVER () - 1 AS {sql_quoted(position)}"
        )
        if failed:
            rows = rows.filter(f"{sql_quoted(names[results.schema.get_field_index('status')])} = 'failed'")
        if where is not None:
            rows = rows.filter(f"({where})")
        rows = rows.project(sql_quoted(position))
        chosen = rows.order("random()") if at_random else rows
        with reading("A file of the results"):
            return [row for (row,) in (chosen if count is None else chosen.limit(count)).fetchall()]
    except duckdb.Error as error:
        if _UNREADABLE in str(error):
            raise damaged("A file of the results") from error
        twins = [
            f"{given!r} is {name!r}"
            for given, name in zip(results.schema.names, names, strict=True)
            if given != name
        ]
        alike = (
            f" (Names that differ by case alone are one name in SQL: here {', '.join(twins)}.)"
            if twins
            else ""
        )
        if (column := _UNKNOWN_COLUMN.search(str(error))) and where is not None:
            near = get_close_matches(column[1].casefold(), [name.casefold() for name in names], n=1)
            named = [name for name in names if name.casefold() in near]
            raise ArgumentError(
                f"The condition cannot be used: the results have no column {column[1]!r}.{alike}",
                f"Did you mean {named[0]!r}?" if named else f"They have: {', '.join(names)}.",
            ) from error
        raise ArgumentError(
            f"The condition cannot be used: {str(error).splitlines()[0]}{alike}",
            f"It is a condition in DuckDB's SQL, such as status = 'failed', over the columns {', '.join(names)}.",
        ) from error


def _at(results: "pa_dataset.Dataset", positions: list[int]) -> Iterator[pa.RecordBatch]:
    """The rows of these numbers, which ascend; files without any are not read."""
    first = done = 0
    for fragment in results.get_fragments():
        if done == len(positions):
            return
        if positions[done] >= first + (rows := fragment.count_rows()):
            first += rows
            continue
        for batch in _rows_of(fragment, results.schema):
            end = bisect_left(positions, first + batch.num_rows)
            if done < end:
                yield batch.take(pa.array([one - first for one in positions[done:end]], pa.int64()))
            first, done = first + batch.num_rows, end
