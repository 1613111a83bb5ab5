"""Files where people keep them and as other programs write them."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.sources import InputError, open_location
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, Bucket, jsonl, read

CASES = Path(__file__).parent / "cases"


def _bucket(folder: Path) -> Bucket:
    """The same files in S3."""
    return Bucket(
        {
            f"s3://b/{file.relative_to(folder)}": file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
    )


def _both(folder: Path, location: str, column: str) -> list[Any]:
    """The values of a column, which are the same locally and in S3."""
    here = [row[column] for row in read(open_location(str(folder / location), NOWHERE))[0]]
    there = [row[column] for row in read(open_location(f"s3://b/{location}", _bucket(folder)))[0]]
    assert here == there
    return here


@pytest.mark.parametrize(
    ("location", "ids"),
    [
        ("18-hidden/in", ["1"]),
        ("18-hidden/spark", ["1"]),
        ("18-hidden/mac", ["1"]),
        ("18-hidden/macp", ["1"]),
        ("18-hidden/hive", ["1", "2"]),
        ("18-hidden/hive/year=2025", ["1"]),
        ("21-endings/half", ["1", "2", "3"]),
        ("21-endings/tsv", ["1"]),
        ("21-endings/data_0001", ["1"]),
        ("21-endings/arr.json", ["1"]),
        ("21-endings/arr.jsonl", ["1"]),
        ("21-endings/pretty.jsonl", ["1"]),
        ("21-endings/upper.JSONL", ["1"]),
        ("h-empty/mixed", ["1"]),
        ("h-empty/mixedc", ["1"]),
        ("h-empty/mixedc2", ["1"]),
        ("h-empty/mixedj", ["1"]),
        ("m-glob/in/*.jsonl", ["in/a"]),
        ("m-glob/in/**/*.jsonl", ["in/a", "in/sub/b"]),
        ("m-glob/**/*.jsonl", ["in/a", "in/sub/b"]),
        ("m-glob/in/**", ["in/a", "in/sub/b"]),
        ("m-glob/in/_temporary/t.jsonl", ["in/_temporary/t"]),
        ("m-glob/in/_temporary/*", ["in/_temporary/t"]),
        ("m-glob/*/a.json?", ["in/a"]),
        ("m-glob/in/[!b].jsonl", ["in/a"]),
        ("a-folder/good", ["1", "2", "3"]),
        ("a-folder/types", [1, 2, 3]),
    ],
)
def test_what_is_read_is_the_same_locally_and_in_s3(location: str, ids: list[Any]) -> None:
    found = _both(CASES, location, "id")
    assert [str(one) for one in found] == [str(one) for one in ids]


def test_what_lies_beside_is_listed() -> None:
    source = open_location(str(CASES / "18-hidden/spark"), NOWHERE)
    assert [note.rpartition("spark/")[2] for note in source.notes()] == [
        ".part-00001.parquet.crc is not read: it begins with a dot.",
        "_SUCCESS is not read: it begins with an underscore.",
        "_temporary/0/part-00001.parquet is not read: it begins with an underscore.",
    ]


def test_files_of_no_known_format_are_skipped_beside_others_and_named_alone(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", {"a": 1})
    (tmp_path / "readme.md").write_text("# hello")
    (tmp_path / "notes").write_text("hello")
    source = open_location(str(tmp_path), NOWHERE)
    assert [note.rpartition("/")[2] for note in source.notes()] == [
        "notes is not read: it has no known format.",
        "readme.md is not read: it has the ending of no known format.",
    ]
    with pytest.raises(InputError, match=r"readme\.md has an unknown format"):
        open_location(str(tmp_path / "readme.md"), NOWHERE)


@pytest.mark.parametrize("where", ["here", "s3"])
@pytest.mark.parametrize(
    ("kind", "sign"), [("Delta", "_delta_log/0.json"), ("Iceberg", "metadata/v1.metadata.json")]
)
def test_a_folder_that_is_a_table_is_not_read_as_its_files(
    tmp_path: Path, kind: str, sign: str, where: str
) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "old.parquet")
    (tmp_path / sign).parent.mkdir()
    (tmp_path / sign).write_text("{}")
    location = str(tmp_path) if where == "here" else "s3://b/"
    with pytest.raises(InputError, match=f"a table of {kind}"):
        open_location(location, _bucket(tmp_path))
    assert read(open_location(str(tmp_path / "old.parquet"), NOWHERE))[0] == [{"": 0, "a": 1}]


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", None)],
)
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files_are_read(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes] | None, named: bool
) -> None:
    text = b"".join(b'{"id": %d, "text": "%s"}\n' % (number, b"x" * 50) for number in range(5000))
    data = pack(text) if pack else pa.compress(text, "zstd", asbytes=True)
    (tmp_path / (f"a.jsonl{ending}" if named else "part-00000")).write_bytes(data)
    rows, _ = read(open_location(str(tmp_path), NOWHERE))
    assert [row["id"] for row in rows] == list(range(5000))
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / f"a.jsonl{ending}").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        read(open_location(str(cut), NOWHERE))


def test_folders_that_are_named_like_files_are_read(tmp_path: Path) -> None:
    for day in ("day1.parquet", "day2.parquet"):
        (tmp_path / "in" / day).mkdir(parents=True)
        pq.write_table(pa.table({"day": [day]}), tmp_path / "in" / day / "part-00000-c000.snappy.parquet")
        (tmp_path / "in" / day / "_SUCCESS").touch()
    for location in ("in", "in/*.parquet", "in/day*.parquet/*"):
        assert _both(tmp_path, location, "day") == ["day1.parquet", "day2.parquet"]
    assert _both(tmp_path, "in/day2.parquet", "day") == ["day2.parquet"]


def test_folders_name_columns(tmp_path: Path) -> None:
    for path, text in (
        ("t/year=2025/month=01/a=b%2Fc/1.jsonl", "x"),
        ("t/year=2026/month=__HIVE_DEFAULT_PARTITION__/a=d/2.jsonl", "y"),
    ):
        (tmp_path / path).parent.mkdir(parents=True)
        jsonl(tmp_path / path, {"text": text, "a": 7} if text == "y" else {"text": text, "a": 6})
    rows, _ = read(open_location(str(tmp_path / "t"), NOWHERE), "year", "month", "a")
    assert rows == [
        {"": 0, "year": 2025, "month": "01", "a": 6},
        {"": 1, "year": 2026, "month": None, "a": 7},
    ]
    assert [row["year"] for row in read(open_location(str(tmp_path / "t"), NOWHERE), "year")[0]] == [
        2025,
        2026,
    ]


@pytest.mark.parametrize(
    "name", ["a [1].jsonl", "a*b.jsonl", "ü ß?.jsonl", "x=1&y#2%20.jsonl", "[0-9]/a.jsonl"]
)
def test_names_with_signs_of_a_pattern_can_be_given_as_they_are(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    jsonl(tmp_path / name, {"a": name})
    assert _both(tmp_path, name, "a") == [name]
    assert _both(tmp_path, name.rpartition("/")[0], "a") == [name]


def test_locations_may_have_schemes_and_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path / "a b.jsonl", {"a": 1})
    monkeypatch.setenv("HOME", str(tmp_path))
    for location in (
        f"file://{tmp_path}/a%20b.jsonl",
        f"file://localhost{tmp_path}/a%20b.jsonl",
        "~/a b.jsonl",
    ):
        assert read(open_location(location, NOWHERE))[0] == [{"": 0, "a": 1}]
    for location in ("s3a://b/a b.jsonl", "s3n://b/*"):
        assert read(open_location(location, _bucket(tmp_path)))[0] == [{"": 0, "a": 1}]


def test_symbolic_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    jsonl(tmp_path / "real" / "a.jsonl", {"a": 1})
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in")
    assert read(open_location(str(tmp_path / "in"), NOWHERE))[0] == [{"": 0, "a": 1}]
    assert read(open_location(str(tmp_path / "in" / "**" / "*.jsonl"), NOWHERE))[0] == [{"": 0, "a": 1}]


@pytest.mark.parametrize(
    ("folder", "column", "values"),
    [
        ("int_then_float", "qty", [1, 2, None]),
        ("int_then_frac", "qty", [1, 2.5, None]),
        ("ts", "id", ["1", "2"]),
    ],
)
def test_parquet_files_of_different_types_are_read_without_loss(
    folder: str, column: str, values: list[Any]
) -> None:
    assert [
        row[column] for row in read(open_location(str(CASES / "a-folder" / folder), NOWHERE))[0]
    ] == values


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (pa.array([None], pa.null()), pa.array(["x"]), pa.string()),
        (pa.array(["x"]), pa.array([None], pa.null()), pa.string()),
        (pa.array([1], pa.int8()), pa.array([2**40]), pa.int64()),
        (pa.array([1], pa.int64()), pa.array([2**64 - 1], pa.uint64()), pa.decimal128(20, 0)),
        (pa.array([2**60 + 1]), pa.array(["1.5"]).cast(pa.decimal128(5, 2)), pa.decimal128(21, 2)),
        (pa.array([1], pa.timestamp("ms")), pa.array([1], pa.timestamp("ns")), pa.timestamp("ns")),
        (
            pa.array([1], pa.timestamp("us", "UTC")),
            pa.array([1], pa.timestamp("ms", "UTC")),
            pa.timestamp("us", "UTC"),
        ),
        (pa.array(["x"]), pa.array(["y"]).dictionary_encode(), pa.string()),
        (pa.array([[1]]), pa.array([[0.5]]), pa.large_list(pa.float64())),
        (pa.array([{"a": 1}]), pa.array([{"b": "x"}]), pa.struct([("a", pa.int64()), ("b", pa.string())])),
    ],
    ids=str,
)
def test_types_are_widened(tmp_path: Path, first: pa.Array, second: pa.Array, wanted: pa.DataType) -> None:
    for number, column in enumerate((first, second)):
        pq.write_table(pa.table({"a": column}), tmp_path / f"{number}.parquet")
    source = open_location(str(tmp_path), NOWHERE)
    rows, _ = read(source)
    assert source.reader.schema().field("a").type == wanted  # type: ignore[attr-defined]
    expected = [
        row["a"]
        for row in pa.table({"a": pa.concat_arrays([first.cast(wanted), second.cast(wanted)])}).to_pylist()
    ]
    assert [row["a"] for row in rows] == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1]), pa.array(["x"])),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([0.5]), pa.array(["1.5"]).cast(pa.decimal128(5, 2))),
        (pa.array([0.5]), pa.array([2**53 + 1])),
    ],
    ids=str,
)
def test_types_that_no_type_holds_are_named_with_file_and_column(
    tmp_path: Path, first: pa.Array, second: pa.Array
) -> None:
    for number, column in enumerate((first, second)):
        pq.write_table(pa.table({"a": column}), tmp_path / f"{number}.parquet")
    with pytest.raises(InputError, match=r"Column 'a' is .*1\.parquet"):
        read(open_location(str(tmp_path), NOWHERE))


def test_a_column_that_some_files_lack_is_an_error_or_null_by_setting(tmp_path: Path) -> None:
    for number, table in enumerate(({"a": [1]}, {"a": [2], "b": ["x"]})):
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    location = str(tmp_path)
    with pytest.raises(InputError, match=r"1\.parquet|0\.parquet") as error:
        read(open_location([f"{location}/1.parquet", f"{location}/0.parquet"], NOWHERE), "a", "b")
    assert "'b'" in str(error.value)
    source = open_location(location, NOWHERE, missing_columns="null")
    assert source.columns(["b"]) == ["a", "b"]
    assert read(source, "a", "b")[0] == [{"": 0, "a": 1, "b": None}, {"": 1, "a": 2, "b": "x"}]
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "1.csv").write_text("a\n1\n")
    (tmp_path / "csv" / "2.csv").write_text("b,a\nx,2\n")
    source = open_location(f"{location}/csv", NOWHERE, missing_columns="null")
    assert read(source, "a", "b")[0] == [{"": 0, "a": "1", "b": None}, {"": 1, "a": "2", "b": "x"}]
