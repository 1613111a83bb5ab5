"""Names of columns in tables: which ones cannot stand in one table. Pure."""

from collections.abc import Sequence
from typing import Literal

from bedrock_pipeline.records.result_schema import RESERVED, TABLE_COLUMNS


def table_names_problem(
    carried: Sequence[str], answers: Sequence[str], kind: Literal["delta", "iceberg"]
) -> str | None:
    """Why a table cannot have these columns of results beside those that every table has; None if it can.

    Engines that read tables take names that differ in case alone for one name. Iceberg's files have names as Avro writes
    them: letters, digits and underscores.
    """
    iceberg = kind == "iceberg"
    if iceberg and "" in (*carried, *answers):
        return "Iceberg has no column with an empty name; rename it"
    seen: dict[str, str] = {}
    for name in (*TABLE_COLUMNS, *sorted(RESERVED), *carried, *answers):
        written = (_avro(name) if iceberg else name).casefold()
        if written in seen:
            return f"the columns {seen[written]!r} and {name!r} would have one name in the table; rename one of them"
        seen[written] = name
    return None


def _avro(name: str) -> str:
    """A name as PyIceberg writes it into a file."""
    first, rest = name[0], name[1:]
    return (first if first.isalpha() or first == "_" else _escaped(first)) + "".join(
        one if one.isalnum() or one == "_" else _escaped(one) for one in rest
    )


def _escaped(one: str) -> str:
    return f"_{one}" if one.isdigit() else f"_x{ord(one):X}"
