"""`show`: the rows of published results as an export has them, selected by what they hold, whatever their columns are called."""

import subprocess
import sys
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


# As results in S3 are: each file is an object of Python.
_PROGRAM = """
import sys, time
import pyarrow as pa, pyarrow.dataset as pa_dataset, pyarrow.fs as pa_fs
from bedrock_pipeline.aws.arrow_files import _Reader
from bedrock_pipeline.publish.read_rows import read_rows

class File:
    def __init__(self, path): self._file = open(path, "rb")
    def __getattr__(self, name): return getattr(self._file, name)
    def read(self, size=-1):
        time.sleep(0.01)
        return self._file.read(size)

class Reader(_Reader):
    def open_input_file(self, path): return pa.PythonFile(File("/" + path), mode="r")
    def get_file_info(self, paths): return [pa_fs.FileInfo(path, pa_fs.FileType.File) for path in paths]

files = pa_fs.PyFileSystem(Reader(None))
results = pa_dataset.dataset(sys.argv[1:], filesystem=files, format="parquet")
print(sum(batch.num_rows for batch in read_rows(results, 3)))
"""


def test_a_program_that_wants_a_few_rows_ends(results: pa_dataset.Dataset) -> None:
    """Nothing goes on reading in threads while Python ends, which would abort the process."""
    paths = [path.lstrip("/") for path in results.files]
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *paths], check=False, capture_output=True, text=True, timeout=300
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")
