"""Files of every format, good and ugly, as batches of rows."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bedrock_pipeline.errors import ArgumentError
from bedrock_pipeline.sources import ArrowSource, InputError, Source, open_location
from bedrock_pipeline.sources.errors import TypesChangedError


@dataclass(frozen=True)
class Listed:
    uri: str


@dataclass(frozen=True)
class Bucket:
    """Objects in memory: what sources need of a store."""

    objects: dict[str, bytes]

    def list(self, prefix_uri: str) -> Iterator[Listed]:
        return (Listed(uri) for uri in sorted(self.objects) if uri.startswith(prefix_uri))

    def random_access(self, uri: str) -> BinaryIO:
        return io.BytesIO(self.objects[uri])


NOWHERE = Bucket({})


def read(source: Source, *columns: str) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Rows with their positions, and the reasons of the rejected ones by position."""
    rows: list[dict[str, Any]] = []
    rejected: dict[int, str] = {}
    try:
        batches = list(source.batches(columns or source.columns()))
    except TypesChangedError:  # once
        batches = list(source.batches(columns or source.columns()))
    for batch in batches:
        assert len(batch.positions) == batch.rows.num_rows
        rows += [
            {"": position, **row}
            for position, row in zip(batch.positions, batch.rows.to_pylist(), strict=True)
        ]
        rejected |= {one.position: one.reason for one in batch.rejected}
    return rows, rejected


def jsonl(path: Path, *lines: object) -> Path:
    path.write_bytes(
        b"".join((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines)
    )
    return path


def test_bad_lines_are_rejected_by_position_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "a.jsonl",
        {"a": "x", "b": 1},
        b"{no json",
        b'{"a": "\xff"}',
        b"",
        [1],
        {"a": {"deep": [1]}, "b": None},
        {"a": "y", "b": "two"},
        {"b": 3},
    )
    rows, rejected = read(open_location(str(path), NOWHERE, {"b": "int64"}))
    assert rows == [
        {"": 0, "a": "x", "b": 1},
        {"": 4, "a": '{"deep":[1]}', "b": None},
        {"": 6, "a": None, "b": 3},
    ]
    assert rejected == {
        1: "line is not JSON",
        2: "line is not UTF-8",
        3: "line is not a JSON object",
        5: "column 'b' is text, but column_types says int64",
    }


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2], pa.int64()),
        ([1, 2.5], pa.float64()),
        ([True, None], pa.bool_()),
        ([1, True], pa.string()),
        (["a", 1], pa.string()),
        ([None], pa.string()),
        ([{"a": 1}], pa.string()),
    ],
)
def test_types_follow_from_the_first_rows(tmp_path: Path, values: list[object], wanted: pa.DataType) -> None:
    path = jsonl(tmp_path / "a.jsonl", *({"a": value} for value in values))
    [batch] = open_location(str(path), NOWHERE).batches(["a"])
    assert batch.rows.schema.field("a").type == wanted


@pytest.mark.parametrize(
    ("late", "wanted"),
    [
        ([None, 7], [None, 7]),
        (["late", 7], ["late", "7"]),
        ([2**63], [str(2**63)]),
        ([0.5], [0.5]),
        ([{"z": 1, "a": 10**30}], ['{"z":1,"a":1000000000000000000000000000000}']),
    ],
    ids=str,
)
def test_types_are_those_of_all_rows(tmp_path: Path, late: list[Any], wanted: list[Any]) -> None:
    jsonl(tmp_path / "1.jsonl", *({"a": n} for n in range(5000)))
    jsonl(tmp_path / "2.jsonl", *({"a": value} for value in late))
    rows, rejected = read(open_location(str(tmp_path), NOWHERE))
    first = str(4999) if isinstance(wanted[-1], str) else 4999
    assert [row["a"] for row in rows[4999:]] == [first, *wanted]
    assert (len(rows), rejected) == (5000 + len(late), {})


def test_a_column_of_late_rows_is_found(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", *[{"a": 1}] * 10_000, {"a": 1, "late": "x"})
    source = open_location(str(path), NOWHERE)
    assert source.columns() == ["a"]
    assert source.columns(["late"]) == ["a", "late"]
    rows, _ = read(source, "late")
    assert [rows[0]["late"], rows[-1]["late"]] == [None, "x"]


def test_integers_that_a_float_holds_only_nearly_are_kept_as_text(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"a": 0.5}, {"a": 2**60 + 1})
    rows, rejected = read(open_location(str(path), NOWHERE))
    assert ([row["a"] for row in rows], rejected) == (["0.5", str(2**60 + 1)], {})


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"a": "x"}')
    assert read(open_location(str(path), NOWHERE)) == ([{"": 0, "a": "x"}], {})


def test_csv_rows_with_another_number_of_fields_or_no_utf8_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,n,text\n1,5,"two\nlines, ""quoted"""\n2,6\n3,7,bad \xff\n4,x,a\n5,,\n6,1_0,a\n7,8,\xe2\x80\xa8\n'
    )
    rows, rejected = read(open_location(str(path), NOWHERE, {"n": "int64"}))
    assert rows == [
        {"": 0, "id": "1", "n": 5, "text": 'two\nlines, "quoted"'},
        {"": 4, "id": "5", "n": None, "text": ""},
        {"": 6, "id": "7", "n": 8, "text": "\u2028"},
    ]
    assert sorted(rejected) == [1, 2, 3, 5]
    assert rejected[1] == "row has 2 fields, the header 3"
    assert rejected[2] == "row is not UTF-8"


def test_csv_files_may_order_their_columns_differently_but_must_have_them(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n4,3\n")
    assert [row["a"] for row in read(open_location(str(tmp_path), NOWHERE))[0]] == ["1", "3"]
    (tmp_path / "3.csv").write_text("b,c\n4,3\n")
    with pytest.raises(InputError, match=r"3\.csv has no column 'a'"):
        read(open_location(str(tmp_path), NOWHERE))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "a,a\n1,2\n", "two columns named 'a'"),
        ("a.jsonl", "[1]\n", "no JSON object"),
        ("a.parquet", "PAR1 no parquet", "not a readable parquet file"),
        ("a.xlsx", "?", r"a\.xlsx has an unknown format"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_whole_is_a_clear_error(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        open_location(str(tmp_path / name), NOWHERE).columns()


def test_an_unknown_column_type_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"a": 1})
    with pytest.raises(ArgumentError, match=r"'int'.*string, int64"):
        read(open_location(str(path), NOWHERE, {"a": "int"}))


def test_parquet_is_read_in_its_order_and_types_must_agree(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(9000), "b": ["x"] * 9000}), tmp_path / "1.parquet")
    pq.write_table(
        pa.table({"b": ["y"], "a": pa.array([9000], pa.int32())}), tmp_path / "2.parquet", row_group_size=1
    )
    rows, rejected = read(open_location(str(tmp_path), NOWHERE), "a")
    assert rows == [{"": n, "a": n} for n in range(9001)]
    assert not rejected
    pq.write_table(pa.table({"a": ["text"], "b": ["y"]}), tmp_path / "3.parquet")
    with pytest.raises(
        InputError, match=r"Column 'a' is int64 in .*1\.parquet, but string in .*3\.parquet, and no type"
    ):
        read(open_location(str(tmp_path), NOWHERE), "a")


def test_large_cells_make_small_batches(tmp_path: Path) -> None:
    cells = ["x" * 1_000_000 + str(n) for n in range(100)]
    pq.write_table(pa.table({"a": cells}), tmp_path / "a.parquet", compression=None, use_dictionary=False)
    jsonl(tmp_path / "a.jsonl", *({"a": cell} for cell in cells))
    for name in ("a.parquet", "a.jsonl"):
        batches = list(open_location(str(tmp_path / name), NOWHERE).batches(["a"]))
        assert max(batch.rows.nbytes for batch in batches) < 50_000_000
        assert [cell for batch in batches for cell in batch.rows["a"].to_pylist()] == cells


def test_a_damaged_parquet_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [f"{n:09}" for n in range(20_000)]}), path, compression="zstd")
    data = bytearray(path.read_bytes())
    data[100:2000] = b"\xff" * 1900
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"a\.parquet"):
        read(open_location(str(path), NOWHERE))


def test_files_globs_and_folders_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        jsonl(tmp_path / name, {"a": name})
    (tmp_path / "_SUCCESS").touch()

    def found(*locations: str) -> list[str]:
        return [
            row["a"] for row in read(open_location([str(tmp_path / one) for one in locations], NOWHERE))[0]
        ]

    assert found("") == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]
    assert found("*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert found("**/c*") == ["deep/c.jsonl"]
    assert found("b.jsonl", "a.jsonl") == ["b.jsonl", "a.jsonl"]
    with pytest.raises(InputError, match=r"no input file at .*Did you mean .*/b\.jsonl\?"):
        found("bb.jsonl")
    with pytest.raises(InputError, match=r"no input file at .*Check the location"):
        found("nothing-like-it")
    (tmp_path / "d.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match=r"Did you mean .*/d\.csv\?"):
        found("d.jsonl")
    with pytest.raises(InputError, match="mixes formats"):
        found("")


def test_objects_in_s3_are_found_by_key_folder_and_glob() -> None:
    bucket = Bucket(
        {
            f"s3://b/{key}": b'{"a": "%s"}\n' % key.encode()
            for key in ("in/1.jsonl", "in/2.jsonl", "in2/3.jsonl")
        }
        | {"s3://b/in/_SUCCESS": b""}
    )

    def found(location: str) -> list[str]:
        return [row["a"] for row in read(open_location(location, bucket))[0]]

    assert found("s3://b/in/1.jsonl") == ["in/1.jsonl"]
    assert found("s3://b/in") == found("s3://b/in/") == ["in/1.jsonl", "in/2.jsonl"]
    assert found("s3://b/*/[23].jsonl") == ["in/2.jsonl", "in2/3.jsonl"]
    with pytest.raises(InputError, match="no input object at s3://b/none"):
        found("s3://b/none")


def test_arrow_data_is_cut_into_batches_and_numbered() -> None:
    table = pa.table({"a": range(10_000), "b": range(10_000)})
    source = ArrowSource(table.schema, lambda: iter(table.to_batches()))
    rows, _ = read(source, "b")
    assert rows == [{"": n, "b": n} for n in range(10_000)]
    assert max(batch.rows.num_rows for batch in source.batches(["b"])) <= 4096


def test_views_arrive_in_the_plain_layout() -> None:
    table = pa.table(
        {"t": pa.array(["a", None], pa.string_view()), "b": pa.array([b"x", b""], pa.binary_view())}
    )
    [batch] = ArrowSource(table.schema, lambda: iter(table.to_batches())).batches(["t", "b"])
    assert batch.rows.schema.types == [pa.string(), pa.binary()]
    assert batch.rows.to_pylist() == table.to_pylist()
