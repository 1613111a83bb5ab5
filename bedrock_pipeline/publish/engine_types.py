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
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset as pa_dataset


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


def _in_duckdb(kind: pa.DataType) -> pa.DataType:
    if pt.is_decimal256(kind):
        return pa.string()
    return pa.float32() if pt.is_float16(kind) else with_leaves(kind, _in_duckdb)


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
