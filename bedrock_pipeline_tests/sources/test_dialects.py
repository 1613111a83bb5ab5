"""CSV and JSON as spreadsheets, databases and scripts write them."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_pipeline.records.cells import is_whole
from bedrock_pipeline.sources import CsvFormat, InputError, open_location
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, read


@pytest.mark.parametrize(
    ("header", "encoding", "wide"),
    [
        ("id,tex\0t", "utf-8", False),
        ("id,\0text", "utf-8", False),
        ("id\0,größe", "utf-8", False),
        ("id,text", "utf-16-le", True),
        ("id,text", "utf-16-be", True),
        ("text", "utf-16-le", True),
        ("\u0438\u043c\u044f,\u0442\u0435\u043a\u0441\u0442", "utf-16-le", True),
    ],
)
def test_a_zero_in_a_header_alone_does_not_make_it_utf_16(header: str, encoding: str, wide: bool) -> None:
    form, notes = CsvFormat().completed(f"{header}\n1,a\n".encode(encoding), "a.csv")
    assert form.encoding == encoding
    assert bool(notes) == wide


def test_a_type_of_a_column_that_is_not_there_is_reported(tmp_path: Path) -> None:
    types = {"txet": "int64", "year": "int64", "n": "int64"}
    for name, text in (("a.csv", "n\n1\n"), ("a.jsonl", '{"n": 1}\n')):
        folder = tmp_path / name.partition(".")[2] / "year=2025"
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
        source = open_location(str(folder.parent), NOWHERE, types)
        assert [(row["n"], row["year"]) for row in read(source)[0]] == [(1, 2025)]
        assert source.notes() == ["The type of column 'txet' has no effect: there is no such column."]


def _csv(
    tmp_path: Path, data: bytes | str, name: str = "a.csv", **form: Any
) -> tuple[list[dict[str, Any]], Any, Any]:
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    types = form.pop("types", None)
    source = open_location(str(path), NOWHERE, types, csv=CsvFormat(**form))
    rows, rejected = read(source)
    return [{name: value for name, value in row.items() if name} for row in rows], rejected, source.notes()


_EXPECTED = [{"id": "1", "text": "Grüße"}, {"id": "2", "text": 'a "b"'}]


@pytest.mark.parametrize(
    ("data", "form", "said"),
    [
        ('id,text\n1,Grüße\n2,"a ""b"""\n', {}, []),
        ('\ufeffid,text\r\n1,Grüße\r\n2,"a ""b"""\r\n', {}, []),
        ('id;text\n1;Grüße\n2;"a ""b"""\n', {}, ["delimiter ';'"]),
        ('id|text\n1|Grüße\n2|"a ""b"""\n', {}, ["delimiter '|'"]),
        ('id\ttext\n1\tGrüße\n2\ta "b"\n', {}, ["delimiter '\\t'"]),
        ('sep=;\nid;text\n1;Grüße\n2;"a ""b"""\n', {}, ["delimiter ';'"]),
        ('sep=,\nid,text\n1,Grüße\n2,"a ""b"""\n', {}, []),
        ('# made by hand\nid,text\n# more\n1,Grüße\n2,"a ""b"""\n', {"comment": "#"}, []),
        ('id, text\n\n1,Grüße\n\n2,"a ""b"""\n\n', {}, []),
        ("id,text\n1,Grüße\n2,'a \"b\"'\n", {"quote": "'"}, []),
        ('id,text\n1,Grüße\n2,"a \\"b\\""\n', {"escape": "\\"}, []),
        ('1,Grüße\n2,"a ""b"""\n', {"header": ("id", "text")}, []),
    ],
)
def test_a_dialect_is_given_or_found_and_reported(
    tmp_path: Path, data: str, form: dict[str, Any], said: list[str]
) -> None:
    rows, rejected, notes = _csv(tmp_path, data, **form)
    assert (rows, rejected) == (_EXPECTED, {})
    assert len(notes) == len(said)
    assert all(one in note for one, note in zip(said, notes, strict=True))


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", ["utf-16"]),
        ("utf-16-le", ["utf-16-le"]),
        ("cp1252", ["cp1252"]),
    ],
)
def test_the_encoding_is_found_and_reported(tmp_path: Path, encoding: str, said: list[str]) -> None:
    text = 'id,text\n1,Grüße\n2,"a ""b"""\n'
    rows, rejected, notes = _csv(tmp_path, text.encode(encoding))
    assert (rows, rejected) == (_EXPECTED, {})
    assert [one for one, note in zip(said, notes, strict=True) if one in note] == said
    assert _csv(tmp_path, text.encode("latin-1"), encoding="latin-1")[0] == _EXPECTED


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "lines",
    [
        ["id,t", "1,publié", "2,refusé", "3,ok", "4,évalué"],
        ["id,t", "1,café"],
        ["id,publié", "1,é"],
        ["t,id", "é,1", "à,2"],
    ],
)
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_letter_at_the_end_of_a_field_shows_the_encoding_too(
    tmp_path: Path, lines: list[str], end: str, closed: bool, encoding: str
) -> None:
    text = end.join(lines) + (end if closed else "")
    rows, rejected, _ = _csv(tmp_path, text.encode(encoding))
    header, *given = (line.split(",") for line in lines)
    assert (rows, rejected) == ([dict(zip(header, one, strict=True)) for one in given], {})


def test_a_tab_file_is_one_whatever_its_first_line_says(tmp_path: Path) -> None:
    assert _csv(tmp_path, "a,b\tc\n1,2\t3\n", "a.tsv")[0] == [{"a,b": "1,2", "c": "3"}]


@pytest.mark.parametrize("rest", ["", 'last,"quoted"\n', 'last,"quoted", twice\n'])
def test_a_quote_that_stays_open_is_an_error_that_names_its_line(tmp_path: Path, rest: str) -> None:
    rows = [f"r{number},text {number}\n" for number in range(5000)]
    rows[9] = 'r9,"the quote is open\n'
    with pytest.raises(InputError, match=r"a\.csv has a quote in line 11 that is not closed") as error:
        _csv(tmp_path, "id,text\n" + "".join(rows) + rest)
    assert "the quote is open" not in str(error.value)


def test_a_row_with_text_after_a_quote_or_of_another_length_is_rejected_alone(tmp_path: Path) -> None:
    rows, rejected, _ = _csv(tmp_path, 'id,text\n1,"a \\"b\\""\n2,ok\n3\n4,a,b\n5,"two\nlines"\n')
    assert rows == [{"id": "2", "text": "ok"}, {"id": "5", "text": "two\nlines"}]
    assert rejected == {
        0: "row has text after a closing quote",
        2: "row has 1 fields, the header 2",
        3: "row has 3 fields, the header 2",
    }


def test_empty_fields_are_text_or_null_by_setting_and_commas_are_decimal_with_semicolons(
    tmp_path: Path,
) -> None:
    data = 'id;text;price\n1;;1.234,5\n2;" ";0,5\n3;x;\n4;x;1.5.2\n'
    types = {"price": "float64"}
    rows, rejected, _ = _csv(tmp_path, data, types=types)
    assert [(row["text"], row["price"]) for row in rows] == [("", 1234.5), (" ", 0.5), ("x", None)]
    assert rejected == {3: "column 'price' is text, but column_types says double"}
    rows, _, _ = _csv(tmp_path, data, types=types, empty="null")
    assert [row["text"] for row in rows] == [None, " ", "x"]


@pytest.mark.parametrize(
    ("cells", "given", "values"),
    [
        (["12.5", "12.345", "0.125", "1e400"], None, [12.5, 12.345, 0.125, None]),
        (['"0.125"', "12.345"], None, [0.125, 12.345]),
        (["1234.567", "12.345"], None, [1234.567, 12.345]),
        (["12.5", "7.5", "12.345", "1,5"], None, [12.5, 7.5, 12.345, None]),
        (["12.345", "1.234.567", "-1.000,5", "7"], None, [12345, 1234567, -1000.5, 7]),
        (["12,5", "1,5", "7,5", "12.5", "12.345", "1.2345"], None, [12.5, 1.5, 7.5, None, 12345, None]),
        (["12,5", "0.125", "1,5"], None, [12.5, None, 1.5]),
        (["12.5", "12.345"], ",", [None, 12345]),
        (["12.345", "12,345"], ".", [12.345, None]),
        (["1,5e3", "nan", "inf", "1e999", "-1e999"], None, [1500, math.nan, math.inf, None, None]),
    ],
)
@pytest.mark.parametrize("text", ["a", "12.5", "1,5"])
def test_a_number_between_semicolons_is_read_in_one_way_or_rejects_its_row(
    tmp_path: Path, cells: list[str], given: str | None, values: list[float | None], text: str
) -> None:
    """Whatever a column of text has."""
    data = "id;text;price\n" + "".join(f"{number};{text};{cell}\n" for number, cell in enumerate(cells))
    rows, rejected, _ = _csv(tmp_path, data, types={"price": "float64"}, decimal=given)
    found = {int(row["id"]): row["price"] for row in rows}
    assert sorted([*found, *rejected]) == list(range(len(cells)))
    assert [found.get(number) for number in range(len(cells))] == pytest.approx(values, nan_ok=True)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8)] * 2),
        max_size=6,
    ),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_what_another_program_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    delimiter: str,
    encoding: str,
    ending: str,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writerows([("the id", "text"), *rows])
    data = text.getvalue().encode(encoding)
    found, rejected, _ = _csv(tmp_path_factory.mktemp("csv"), data)
    assert rejected == {}
    assert found == [{"the id": one, "text": other} for one, other in rows]


def _json(tmp_path: Path, text: str | bytes, name: str = "a.jsonl") -> tuple[list[Any], Any, Any]:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    source = open_location(str(path), NOWHERE)
    rows, rejected = read(source)
    return [row["a"] for row in rows], rejected, source.notes()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (
            ["100000000000000000001", "100000000000000000002"],
            ["100000000000000000001", "100000000000000000002"],
        ),
        (["9223372036854775808"], ["9223372036854775808"]),
        (["-9223372036854775809", "1"], ["-9223372036854775809", "1"]),
        (["1", "2.5", "9007199254740993"], ["1", "2.5", "9007199254740993"]),
        (["3", "2.5"], [3.0, 2.5]),
        (["NaN", "Infinity", "-Infinity", "1.5"], [None, None, None, 1.5]),
        (["1e400", "1"], ["1e400", "1"]),
        (['"\\ud800x"', '"\\ud83d\\ude00"'], ["\ufffdx", "\U0001f600"]),
        (['{"z": 1, "a": [12345678901234567890123, 1.0]}'], ['{"z":1,"a":[12345678901234567890123,1.0]}']),
        (['{"n": [1e400, -2E+999]}'], ['{"n":[1e400,-2E+999]}']),
        (
            ['{"n": 1e400, "m": 12345678901234567890123, "t": "1e400"}'],
            ['{"n":1e400,"m":12345678901234567890123,"t":"1e400"}'],
        ),
        (['{"reasoning": 1, "answer": 2}'], ['{"reasoning":1,"answer":2}']),
        (["true", "null", "false"], [True, None, False]),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["lines", "array", "pretty"])
def test_json_values_are_what_they_are(
    tmp_path: Path, values: list[str], wanted: list[Any], form: str
) -> None:
    objects = [f'{{"a": {value}}}' for value in values]
    text = {
        "lines": "\n".join(objects),
        "array": "[" + ",\n ".join(objects) + "]",
        "pretty": "\n".join(one.replace('{"a"', '{\n  "a"', 1) for one in objects),
    }[form]
    found, rejected, _ = _json(tmp_path, text, "a.json" if form == "pretty" else "a.jsonl")
    assert (found, rejected) == (wanted, {})


def test_numbers_of_mixed_columns_are_marked_so_that_whole_ones_print_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 3}\n{"a": 2.5}\n')
    [batch] = open_location(str(tmp_path), NOWHERE).batches(["a"])
    assert batch.rows.schema.field("a").type == pa.float64()
    assert is_whole(batch.rows.schema.field("a"))


def test_rules_for_what_is_not_json_are_reported_with_their_number(tmp_path: Path) -> None:
    *_, notes = _json(tmp_path, '{"a": NaN}\n{"a": [Infinity]}\n{"a": "\\udc00"}\n')
    assert notes == [
        "JSON: NaN or Infinity was read as null (2 times).",
        "JSON: half of a surrogate pair was replaced (1 times).",
    ]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": 2]', '[{"a": 1}', '[{"a": 1} {"a": 2}]', "[\n"])
def test_an_array_that_is_broken_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"a\.json"):
        _json(tmp_path, text, "a.json")


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=8,
    ),
    form=st.sampled_from(["lines", "array", "indented"]),
)
@example(values=[[], 3.940697294935774e16], form="lines")
def test_json_is_read_as_by_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], form: str
) -> None:
    objects = [{"a": value} for value in values]
    text = {
        "lines": "\n".join(map(json.dumps, objects)),
        "array": json.dumps(objects),
        "indented": json.dumps(objects, indent=1, ensure_ascii=False),
    }[form]
    found, rejected, _ = _json(tmp_path_factory.mktemp("json"), text, "a.json")
    assert rejected == {}
    for value, cell in zip(values, found, strict=True):
        # Where a column is text, a value that was none is JSON; a whole float is written without its fraction.
        read = float if isinstance(value, float) else json.loads
        assert cell == value or (isinstance(cell, str) and read(cell) == value)
