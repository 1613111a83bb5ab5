"""`show`: the rows of published results as an export has them, selected by what they hold, whatever their columns are called."""

from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.publish.read_rows import read_rows

#: Columns whose names differ by case alone, or are what SQL engines would make of them; and types that DuckDB changes.
_ROWS, _FILES = 3000, 3
_TWINS = ("A", "a", "a_1", "position", "n", "STATUS_1", "Ü", "ü")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> pa_dataset.Dataset:
    """Rows `r0`, `r1`, … in three files; each seventh failed."""
    folder = tmp_path_factory.mktemp("results")
    for file in range(_FILES):
        numbers = range(file * _ROWS, (file + 1) * _ROWS)
        table = pa.table(
            {
                "record_id": [f"r{n}" for n in numbers],
                **{name: [n * 10 + place for n in numbers] for place, name in enumerate(_TWINS)},
                "took": pa.array(numbers, pa.duration("us")),
                "many": pa.array([[n] for n in numbers], pa.list_(pa.duration("s"))),
                "at": pa.array(numbers, pa.timestamp("us", "Europe/Berlin")),
                "status": ["succeeded" if n % 7 else "failed" for n in numbers],
            }
        )
        pq.write_table(table, folder / f"part-{file:05}.parquet", row_group_size=700)
    return pa_dataset.dataset(folder)


def _found(results: pa_dataset.Dataset, count: int = 10**6, **options: Any) -> pa.Table:
    return pa.Table.from_batches(list(read_rows(results, count, **options)), results.schema)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"count": 5}, range(5)),
        ({"count": 2500}, range(2500)),
        ({}, range(_ROWS * _FILES)),
        ({"failed": True, "count": 3}, [0, 7, 14]),
        ({"where": "n % 50000 = 40004"}, [4000]),
        ({"where": "n < 30 OR n > 80000", "count": 4}, [0, 1, 2, 8000]),
        ({"where": "n < 700", "failed": True}, range(0, 70, 7)),
        ({"where": "n > 60000", "failed": True, "count": 2}, [6006, 6013]),
        ({"where": "position = 43"}, [4]),
        ({"where": "A_2 = 40"}, [4]),
        ({"where": '"a_3" = 41'}, [4]),
        ({"where": "a_1 = 42"}, [4]),
        ({"where": "status_1 = 45"}, [4]),
        ({"where": "took = INTERVAL 4 MICROSECONDS"}, [4]),
        ({"where": "n < 0"}, []),
    ],
    ids=str,
)
def test_the_rows_that_are_meant_come_as_they_were_published(
    results: pa_dataset.Dataset, options: dict[str, Any], expected: Any
) -> None:
    found = _found(results, **options)
    assert found.equals(results.to_table().take(pa.array(expected, pa.int64())))


def test_rows_at_random_meet_the_condition_and_differ_from_draw_to_draw(results: pa_dataset.Dataset) -> None:
    draws = [
        _found(results, 20, where="n >= 5000", failed=True, at_random=True)["record_id"].to_pylist()
        for _ in range(3)
    ]
    for draw in draws:
        numbers = [int(one[1:]) for one in draw]
        assert len(set(numbers)) == 20
        assert all(number >= 500 and number % 7 == 0 for number in numbers)
    assert len({tuple(draw) for draw in draws}) > 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("a = 41", "'A' is 'A_2', 'a' is 'a_3'"),
        ('"ü" = 1', "'Ü' is 'Ü_1', 'ü' is 'ü_2'"),
        ("absent = 1", "no column 'absent'"),
        ("absent = 1", "They have: "),
        ("statuz = 1", "Did you mean "),
        ("n = ", "syntax error"),
        ("1 = (SELECT count(*) FROM read_text('/etc/passwd'))", "disabled"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(
    results: pa_dataset.Dataset, where: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match="The condition cannot be used") as raised:
        _found(results, where=where)
    assert message in str(raised.value)
