"""Columns of every type travel through DuckDB's types, and come back as they were."""

import pyarrow as pa
import pytest

from bedrock_pipeline.prepare.snapshot.portable import from_portable, portable_type, to_portable
from bedrock_pipeline_tests.publish.any_column import SIMPLE, Kind, lists, maps, structs

# Arrow makes no lists of dictionaries, and cuts no lists of views.
_KINDS = [one for one in SIMPLE if not pa.types.is_dictionary(one.type) and "view" not in str(one.type)]


def _nested(one: Kind) -> list[Kind]:
    return [
        one,
        lists(one),
        maps(one),
        structs(one, "a", "A"),
        lists(structs(one, "a", "A")),
        maps(lists(one)),
        lists(maps(one)),
        structs(maps(one), "x"),
    ]


@pytest.mark.parametrize("simple", _KINDS, ids=lambda one: str(one.type))
def test_what_comes_back_is_what_went_in(simple: Kind) -> None:
    for kind in _nested(simple):
        numbers = [row % len(kind.values) if row % 3 else None for row in range(9)]
        whole = kind.array(numbers)
        for column in (whole, whole.slice(2, 5), whole.slice(3, 0)):
            portable = to_portable(column)
            assert portable.type == portable_type(column.type)
            assert not _names(portable.type) - {"c0", "c1"}, "a name of the input is in none"
            back = from_portable(portable, column.type)
            back.validate(full=True)
            assert back.equals(column)


def _names(kind: pa.DataType) -> set[str]:
    fields = [kind.field(number) for number in range(kind.num_fields)]
    own = {field.name for field in fields} if pa.types.is_struct(kind) else set()
    return own.union(*(_names(field.type) for field in fields))
