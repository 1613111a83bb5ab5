"""One row, however large or broken, costs itself: not the encoding, the place of the other rows, nor the memory."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_pipeline.sources import (
    CsvFormat,
    InputError,
    csv_lines,
    json_buffer,
    json_files,
    json_text,
    open_location,
)
from bedrock_pipeline.sources.csv_lines import CsvLines, RowTooLongError
from bedrock_pipeline_tests.sources.test_sources import read

NO_S3: Any = None  # every location here is local
LIMIT = 4000


@pytest.fixture
def _short() -> Iterator[None]:
    """Records of `LIMIT` at most, read in pieces of every size."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_lines, json_buffer, json_files):
            patch.setattr(module, "LONGEST_RECORD", LIMIT)
        patch.setattr(csv_lines, "_PIECE", 7)
        patch.setattr(json_buffer, "_CHUNK", 64)
        yield


def found(file: Path, content: bytes, **form: Any) -> tuple[list[str], dict[int, str]]:
    file.write_bytes(content)
    rows, rejected = read(open_location(str(file), NO_S3, csv=CsvFormat(**form)), "id")
    return [str(row["id"]) for row in rows], rejected


def _rows(text: str, encoding: str, count: int = 4) -> list[bytes]:
    return [f"{number},{text}\n".encode(encoding) for number in range(count)]


@pytest.mark.parametrize(
    ("encoding", "hostile", "rejected"),
    [
        ("utf-8", b"x,\xff\n", "row is not UTF-8"),
        ("utf-8", b'x,"' + b"\xff\n" * 5000 + b'"\n', "row is not UTF-8"),
        ("utf-8", b"x,a\x00" + b"\x00" * 300_000 + b"\n", None),
        ("utf-8", b"x,\xff" + b"a" * 300_000 + b"\n", "row is not UTF-8"),
        ("cp1252", "x,ü\n".encode(), None),
        ("cp1252", b'x,"' + "ü\n".encode() * 5000 + b'"\n', None),
        ("cp1252", b"x,\x81\n", "row is not cp1252"),
    ],
)
def test_a_row_does_not_decide_how_the_others_are_read(
    encoding: str, hostile: bytes, rejected: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"id,t\n" + hostile + b"".join(_rows("Grüße", encoding)))
    rows, found = read(open_location(str(file), NO_S3), "id", "t")
    assert [row["t"] for row in rows if row["id"] != "x"] == ["Grüße"] * 4
    assert found == ({0: rejected} if rejected else {})


@pytest.mark.parametrize(
    ("header", "encoding"), [("id,größe", "cp1252"), ("id,größe", "utf-8"), ("id,t", "utf-16-le")]
)
def test_a_header_decides_for_its_rows(header: str, encoding: str, tmp_path: Path) -> None:
    hostile = b"x,\xff\n" * 50 if encoding == "utf-8" else b""
    content = f"{header}\n".encode(encoding) + hostile + b"".join(_rows("Grüße", encoding))
    assert found(tmp_path / "a.csv", content)[0] == ["0", "1", "2", "3"]


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    ("hostile", "form"),
    [
        ("x," + "a" * LIMIT, {}),
        ("x," + "," * LIMIT, {}),
        ('x,"' + "a" * LIMIT + '"', {}),
        ('x,"' + '""' * LIMIT + '"', {}),
        ('x,"' + "a" * LIMIT + '\ny,forged\n"', {}),
        ('x,"' + "\ny,forged" * LIMIT + '"', {}),
        ('x,"' + "a" * LIMIT + '""\ny,forged\n"', {}),
        ('x,a"' + "a" * LIMIT, {}),
        ('"x","' + "a" * (LIMIT - 7) + '""",""",\ny,forged"', {}),
        ('x,"' + "a" * LIMIT + '\\"\ny,forged\n"', {"escape": "\\"}),
        ("x,a" + "a" * LIMIT + '\\,"', {"escape": "\\"}),
        ('x,"' + "a" * LIMIT + "\\\\\n" + '"', {"escape": "\\"}),
    ],
)  # fmt: skip
def test_a_giant_row_is_rejected_to_its_end_and_nothing_within_it_is_a_row(
    hostile: str, form: dict[str, Any], tmp_path: Path
) -> None:
    text = f"id,t\n0,a\n{hostile}\n1,b\n2,c\n"
    rows, rejected = found(tmp_path / "a.csv", text.encode(), **form)
    assert rows == ["0", "1", "2"]
    assert rejected == {1: f"row is longer than {LIMIT} characters"}


@settings(max_examples=300, deadline=None)
@given(
    fields=st.lists(st.text('a,"\n\r', max_size=12), min_size=2, max_size=4),
    piece=st.integers(1, 9),
    longest=st.integers(12, 30),
)
def test_a_row_that_is_passed_over_ends_where_csv_says(
    fields: list[str], piece: int, longest: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["id", "t"], fields, ["1", "b"]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_lines, "LONGEST_RECORD", longest)
        patch.setattr(csv_lines, "_PIECE", piece)
        rows, rejected = found(tmp_path_factory.mktemp("csv") / "a.csv", text.getvalue().encode())
    assert rows[-1] == "1"
    assert len(rows) + len(rejected) == 2


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("rest", ["1,b\n" * 3, "1,b\n" * LIMIT])
def test_a_quote_that_swallows_the_rest_of_a_file_is_named_by_its_line(rest: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv has a quote in line 3 that is not closed") as error:
        found(tmp_path / "a.csv", f'id,t\n0,a\nx,"open\n{rest}'.encode())
    assert "open\n" not in str(error.value)


def test_a_row_with_thousands_of_members_is_rejected_and_makes_no_columns(tmp_path: Path) -> None:
    wide = {str(number): number for number in range(6000)}
    for name, rows in (("a.jsonl", [wide, {"id": "0"}]), ("b.json", [[wide, {"id": "0"}]])):
        file = tmp_path / name
        file.write_text("\n".join(map(json.dumps, rows)))
        source = open_location(str(file), NO_S3)
        assert source.columns() == ["id"]
        assert "more than 5000 members" in read(source, "id")[1][0]


def test_rows_with_other_members_do_not_concern_columns_that_are_found(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    others = ({f"{row}-{n}": 1 for n in range(4500)} for row in range(5))
    file.write_text("\n".join(map(json.dumps, [{"id": "0"}, *others, {"id": "1"}])))
    source = open_location(str(file), NO_S3)
    assert "id" in source.columns(["id"])
    assert [row["id"] for row in read(source, "id")[0] if row["id"]] == ["0", "1"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.text('#a\n\r" ,;', max_size=8), min_size=2, max_size=2), min_size=1, max_size=8))
def test_a_comment_is_a_line_of_its_own_and_never_one_of_a_field(cells: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    text.write("# first\n\n# second\nid,text\n")
    for row in cells:
        text.write('# between, "rows\n')
        writer.writerow([f"x{row[0]}", row[1]])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.csv"
        file.write_bytes(text.getvalue().encode())
        source = open_location(str(file), NO_S3, csv=CsvFormat(comment="#", delimiter=","))
        rows, rejected = read(source, "id", "text")
    assert not rejected
    assert [[row["id"], row["text"]] for row in rows] == [[f"x{one}", other] for one, other in cells]


def test_rows_that_all_have_other_members_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps({f"{row}-{n}": 1 for n in range(4000)}) for row in range(6)))
    with pytest.raises(InputError, match="more than 20000 different members"):
        open_location(str(file), NO_S3).columns()


@pytest.mark.parametrize("name", [b"k=\xff", b"\xff=v", b"\xff"])
def test_a_folder_whose_name_is_not_utf_8_is_named_if_it_names_a_column(name: bytes, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"id": "0"}')
    if b"=" not in name:
        assert read(open_location(str(tmp_path), NO_S3), "id")[0]
        return
    with pytest.raises(InputError, match="not UTF-8") as error:
        read(open_location(str(tmp_path), NO_S3), "id")
    assert "udcff" in str(error.value)


BIG = "x" * LIMIT


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    "hostile",
    [
        {"id": "x", "t": BIG},
        {"id": "x", "t": '"}]{[\\' * LIMIT},
        {"id": "x", "t": [[]] * LIMIT},
        {"id": "x", "t": [{"a": '"\\'}] * LIMIT},
        {BIG: 1},
        BIG,
        [BIG],
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("kind", ["array", "lines"])
def test_a_giant_value_is_rejected_alone(hostile: Any, indent: int | None, kind: str, tmp_path: Path) -> None:
    objects: list[Any] = [{"id": "0"}, hostile, {"id": "1"}, {"id": "2"}]
    if kind == "array":
        text = json.dumps(objects, indent=indent)
    elif indent is None:
        text = "\n".join(json.dumps(one) for one in objects)
    elif isinstance(hostile, dict):
        text = "{\n" + "\n".join(json.dumps(one, indent=indent) for one in objects)[1:]
    else:
        return
    rows, rejected = found(tmp_path / "a.json", text.encode())
    assert rows == ["0", "1", "2"]
    [(place, reason)] = rejected.items()
    assert place == 1
    assert "longer than" in reason


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("text", ['[{"id": 1}, {"id": "' + BIG * 2, '[{"id": 1}, {"id": [' + "1," * LIMIT])
def test_a_giant_value_that_stays_open_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="after value 1"):
        found(tmp_path / "a.json", text.encode())


@pytest.fixture
def _few() -> Iterator[None]:
    """Records of 100 values at most."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_lines, json_text):
            patch.setattr(module, "MOST_VALUES", 100)
        yield


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("hostile", "is_many"),
    [
        ("[" + "{}," * 100 + "{}]", True),
        ("[" + '"a",' * 100 + "1]", True),
        ('{"a": {' + ",".join(f'"{n}": 1' for n in range(60)) + "}}", True),
        ('"' + ",:{[" * 100 + '"', False),
        ('["' + ',\\"' * 200 + '", "[[[["]', False),
        ('["' + ',\\"' * 200 + '", ' + "[" * 100 + "]" * 100 + "]", True),
        ("[" + "1," * 90 + "1]", False),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_of_too_many_values_is_rejected_alone(
    hostile: str, is_many: bool, name: str, tmp_path: Path
) -> None:
    lines = ['{"id": "0"}', f'{{"id": "x", "t": {hostile}}}', '{"id": "1"}']
    text = "\n".join(lines) if name == "a.jsonl" else f"[{','.join(lines)}]"
    rows, rejected = found(tmp_path / name, text.encode())
    assert rows == (["0", "1"] if is_many else ["0", "x", "1"])
    what = "line" if name == "a.jsonl" else "value"
    assert rejected == ({1: f"{what} has more than 100 values"} if is_many else {})


@pytest.mark.usefixtures("_few")
@pytest.mark.parametrize(
    ("hostile", "is_many"),
    [
        ("x" + "," * 110, True),
        ('"x"' + ',"a,"' * 110, True),
        ('x,"\n"' + ",a" * 210, True),
        ('x,"\n"' + ',"\n"' * 500, True),
        ('x,"' + "," * 500 + '"', False),
        ('x,"\n' + ",\n" * 500 + '"', False),
    ],
)  # fmt: skip
def test_a_row_of_too_many_fields_is_rejected_alone(hostile: str, is_many: bool, tmp_path: Path) -> None:
    rows, rejected = found(tmp_path / "a.csv", f"id,t\n0,a\n{hostile}\n1,b\n2,c\n".encode())
    assert rows == (["0", "1", "2"] if is_many else ["0", "x", "1", "2"])
    assert rejected == ({1: "row has more than 100 fields"} if is_many else {})


@pytest.mark.parametrize("longest", [1 << 26, 10_000])
@pytest.mark.parametrize("lines", ["\r", "\n", "\r\n", '""\r'])
def test_a_field_of_nothing_but_line_ends_is_read_in_pieces(
    lines: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_lines, "LONGEST_RECORD", longest)
    looks = 0
    line_of = csv_lines._Text._line

    def counted(*args: Any) -> str:
        nonlocal looks
        looks += 1
        return line_of(*args)

    monkeypatch.setattr(csv_lines._Text, "_line", counted)
    form = CsvFormat(delimiter=",")
    text = io.StringIO(f'x,"{lines * 100_000}"\n1,b\n', newline="")
    read_lines = CsvLines(text, form)
    pieces = 0
    try:
        for piece in read_lines:
            pieces += 1
            if piece == "1,b\n":
                break
    except RowTooLongError:
        assert longest == 10_000
        read_lines.begin_row()
        assert next(read_lines) == "1,b\n"
    if '"' not in lines or longest == 10_000:
        assert pieces + looks < 10_000
    assert read_lines.number == 100_002


@settings(max_examples=300, deadline=None)
@given(
    cells=st.lists(st.lists(st.text('a"\n\r,\\', max_size=30), min_size=2, max_size=2), max_size=6),
    escape=st.sampled_from([None, "\\"]),
    piece=st.integers(1, 9),
)
def test_fields_that_are_read_in_pieces_are_whole(
    cells: list[list[str]], escape: str | None, piece: int
) -> None:
    text = io.StringIO(newline="")
    csv.writer(
        text, quoting=csv.QUOTE_ALL, escapechar=escape, doublequote=escape is None, lineterminator="\r\n"
    ).writerows(cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_lines, "_QUOTED_PIECE", piece)
        patch.setattr(csv_lines, "_MANY_LINES", 1)
        lines = CsvLines(io.StringIO(text.getvalue(), newline=""), CsvFormat(delimiter=",", escape=escape))
        reader = csv.reader(lines, escapechar=escape, doublequote=escape is None, strict=True)
        read_cells = []
        lines.begin_row()
        for row in reader:
            read_cells.append(row)
            lines.begin_row()
    assert read_cells == cells


def test_a_string_that_stays_open_is_looked_at_once() -> None:
    """Each quote behind a backslash in it could be taken for the beginning of another that stays open."""
    text = b'{"a": "' + b'\\"' * 1000
    assert len(json_text._STRING.findall(text)) == 2
    with pytest.raises(json_text.NotJsonError):
        json_text.JsonText().value(text)
