"""Results in engines that have fewer types than Arrow, and names in one case.

| engine | type of Arrow | there |
|---|---|---|
| DuckDB | decimal of more than 38 digits | text |
| | float of 16 bits | float of 32 bits |
| Polars | decimal of more than 38 digits | text |
| | a time of day, in a column that has 24:00:00 | text |
| pandas | a date before the year 1 or beyond 9999, in a column that has one | text |
| | a time of day with nanoseconds, or 24:00:00, in a column that has one | text |

Text is as in an export: ISO 8601, all digits of a decimal. It is the whole column that becomes text, also in lists, structs
and maps.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from bedrock_pipeline.publish.plain_values import csv_cells
from bedrock_pipeline.records.cells import exceeds_a_day, has_odd_times
from bedrock_pipeline.sources.plain_layout import converted

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as pa_dataset

#: The days of the years 1 to 9999, from 1970 on.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
#: Rows that a lazy frame of Polars reads at once.
_BATCH_ROWS = 65_536


def sql_names(names: Sequence[str]) -> list[str]:
    """Names that differ in SQL: of those that differ by case alone, each gets a number, such as `A_1` and `a_2`."""
    alike = Counter(name.casefold() for name in names)
    used = {name for name, count in alike.items() if count == 1}
    found = []
    for name in names:
        number = 0
        new = name
        while alike[name.casefold()] > 1 and (number == 0 or new.casefold() in used):
            number += 1
            new = f"{name}_{number}"
        used.add(new.casefold())
        found.append(new)
    return found


def sql_quoted(name: str) -> str:
    """A name as SQL has it, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def in_duckdb(
    results: "pa_dataset.Dataset", connection: "duckdb.DuckDBPyConnection"
) -> "duckdb.DuckDBPyRelation":
    """Results as a relation with the columns of `sql_names`; it reads what is used, as often as it is used."""
    relation = connection.from_arrow(for_duckdb(results))
    names = sql_names(results.schema.names)
    if names == relation.columns:
        return relation
    pairs = zip(relation.columns, names, strict=True)
    return relation.project(", ".join(f"{sql_quoted(one)} AS {sql_quoted(name)}" for one, name in pairs))


def for_duckdb(dataset: "pa_dataset.Dataset") -> "pa_dataset.Dataset | pa_dataset.Scanner":
    """A dataset of types that DuckDB reads."""
    import pyarrow.dataset as pa_dataset

    kinds = [_in_duckdb(field.type) for field in dataset.schema]
    if kinds == dataset.schema.types:
        return dataset
    columns = {
        field.name: pa_dataset.field(field.name).cast(kind)
        for field, kind in zip(dataset.schema, kinds, strict=True)
    }
    return dataset.scanner(columns=columns)


def in_pandas(results: "pa_dataset.Dataset") -> Any:
    """Results as a frame of pandas, all in memory."""
    table = results.to_table()
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if lacking := {one.type for one in _leaves(column) if _is_not_in_pandas(one)}:
            table = table.set_column(place, field.name, _with_texts(column, lacking))
    return table.to_pandas()


def in_polars(results: "pa_dataset.Dataset") -> Any:
    """Results as a frame of Polars, all in memory."""
    import polars as pl  # the user's own: this package does not need it

    table = results.to_table()
    lacking = _lacking_in_polars(table.schema, lambda names: table.select(names).to_batches())
    for name, kinds in lacking.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, _with_texts(table.column(place), kinds))
    return pl.DataFrame(table)


def lazily_in_polars(results: "pa_dataset.Dataset") -> Any:
    """Results as a lazy frame of Polars; times of day are looked through first."""
    import polars as pl  # as above

    lacking = _lacking_in_polars(results.schema, lambda names: results.to_batches(columns=names))
    if not lacking:
        return pl.scan_pyarrow_dataset(results)
    from polars.io.plugins import register_io_source

    def frame(batch: pa.RecordBatch) -> Any:
        columns = [
            _with_texts(pa.chunked_array([batch[name]]), lacking[name]) if name in lacking else batch[name]
            for name in batch.schema.names
        ]
        return pl.DataFrame(pa.table(columns, names=batch.schema.names))

    def frames(
        with_columns: list[str] | None, predicate: Any, n_rows: int | None, batch_size: int | None
    ) -> Iterator[Any]:
        left = n_rows
        for batch in results.to_batches(columns=with_columns, batch_size=batch_size or _BATCH_ROWS):
            found = frame(batch if left is None else batch.slice(0, left))
            left = None if left is None else left - len(found)
            yield found if predicate is None else found.filter(predicate)
            if left == 0:
                return

    empty = pa.RecordBatch.from_arrays(
        [
            field.type.wrap_array(pa.array([], field.type.storage_type))
            if isinstance(field.type, pa.BaseExtensionType)
            else pa.array([], field.type)
            for field in results.schema
        ],
        schema=results.schema,
    )
    return register_io_source(frames, schema=frame(empty).schema)


def _in_duckdb(kind: pa.DataType) -> pa.DataType:
    if pt.is_decimal256(kind):
        return pa.string()
    return pa.float32() if pt.is_float16(kind) else with_leaves(kind, _in_duckdb)


def _lacking_in_polars(
    schema: pa.Schema, read: Callable[[list[str]], Iterable[pa.RecordBatch]]
) -> dict[str, set[pa.DataType]]:
    """The types that Polars lacks, by the columns that have them; it reads the columns with times of day."""
    lacking: dict[str, set[pa.DataType]] = {}
    timed = []
    for field in schema:
        kinds = list(_leaf_types(field.type))
        if wide := {kind for kind in kinds if pt.is_decimal256(kind)}:
            lacking[field.name] = wide
        if any(pt.is_time(kind) for kind in kinds):
            timed.append(field.name)
    for batch in read(timed) if timed else ():
        for name in timed:
            late = {one.type for one in _leaves(batch[name]) if pt.is_time(one.type) and exceeds_a_day(one)}
            if late:
                lacking.setdefault(name, set()).update(late)
    return lacking


def _is_not_in_pandas(leaf: pa.Array) -> bool:
    """Whether a column has a value that Python's dates or times do not have."""
    if pt.is_time(leaf.type):
        return has_odd_times(leaf)
    if pt.is_date(leaf.type):
        days = pc.min_max(leaf.cast(pa.date32()).cast(pa.int32()))
        lowest, highest = days["min"].as_py(), days["max"].as_py()
        return lowest is not None and (lowest < _FIRST_DAY or highest > _LAST_DAY)
    return False


def _with_texts(column: pa.ChunkedArray, lacking: set[pa.DataType]) -> pa.ChunkedArray:
    """A column whose values of some types are text, wherever they are nested."""

    def kind_of(kind: pa.DataType) -> pa.DataType:
        if kind in lacking:
            return pa.string()
        if pt.is_dictionary(kind):
            return pa.dictionary(kind.index_type, kind_of(kind.value_type), kind.ordered)
        return with_leaves(kind, kind_of)

    def text(leaf: pa.Array, kind: pa.DataType) -> pa.Array:
        return csv_cells(leaf).cast(kind) if leaf.type in lacking else leaf

    kind = kind_of(column.type)
    return pa.chunked_array([converted(chunk, kind, text) for chunk in column.chunks], kind)


def _leaves(column: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    """What is not nested in a column, and what is within that which is."""
    if isinstance(column, pa.ChunkedArray):
        for chunk in column.chunks:
            yield from _leaves(chunk)
    elif pt.is_dictionary(column.type):
        yield from _leaves(column.dictionary)
    elif pt.is_struct(column.type):
        for child in column.flatten():
            yield from _leaves(child)
    elif pt.is_map(column.type):
        yield from _leaves(column.keys)
        yield from _leaves(column.items)
    elif pt.is_nested(column.type):
        yield from _leaves(column.flatten())
    else:
        yield column


def _leaf_types(kind: pa.DataType) -> Iterator[pa.DataType]:
    inner = (
        [kind.value_type] if pt.is_dictionary(kind) else [kind.field(n).type for n in range(kind.num_fields)]
    )
    if not inner:
        yield kind
    for one in inner:
        yield from _leaf_types(one)


def with_leaves(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type whose inner types are replaced; one without inner types as it is."""
    if pt.is_struct(kind):
        return pa.struct([field.with_type(leaf(field.type)) for field in kind])
    if pt.is_map(kind):
        return pa.map_(leaf(kind.key_type), leaf(kind.item_type), kind.keys_sorted)
    for is_list, lists in (
        (pt.is_list, pa.list_),
        (pt.is_large_list, pa.large_list),
        (pt.is_fixed_size_list, lambda item: pa.list_(item, kind.list_size)),
    ):
        if is_list(kind):
            return lists(kind.value_field.with_type(leaf(kind.value_type)))
    return kind
