"""JSON texts in any sequence, and the positions of rows that are rejected, against a plain reading of the same bytes."""

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_pipeline.sources import InputError, json_buffer, open_location, source
from bedrock_pipeline.sources.json_text import JsonText
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, read

_SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=6)
_TEXTS = st.sampled_from(['}, {"a"', "]", '[{"a":1}]', '\\"', "{", '"', "\\", "é\u2028"]) | _SCALARS
_VALUES = st.recursive(
    _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
_ROWS = st.builds(lambda value: {"a": value}, _VALUES) | st.builds(
    lambda value: {"b": 1, "a": value}, _VALUES
)


def _plainly(text: str) -> list[Any]:
    """The values of JSON texts one after the other, of an array its elements, by the standard library alone."""
    found: list[Any] = []
    while text := text.strip(" \t\r\n"):
        value, end = json.JSONDecoder().raw_decode(text)
        found += value if isinstance(value, list) else [value]
        text = text[end:]
    return found


@settings(max_examples=400, deadline=None)
@given(
    values=st.lists(st.lists(_ROWS | _VALUES, max_size=5) | _ROWS, min_size=1, max_size=5),
    indent=st.sampled_from([None, 0, 2]),
    between=st.sampled_from(["", "\n", " \r\n\t"]),
    chunk=st.integers(1, 40),
    ascii_only=st.booleans(),
)
@example(values=[[{"a": 1}], [{"a": 2}]], indent=None, between="\n", chunk=100, ascii_only=True)
@example(values=[[{"a": 1}], {"a": 2}], indent=None, between="", chunk=100, ascii_only=True)
def test_every_value_of_a_sequence_is_found(
    values: list[Any], indent: int | None, between: str, chunk: int, ascii_only: bool
) -> None:
    text = between.join(json.dumps(value, indent=indent, ensure_ascii=ascii_only) for value in values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_buffer, "_CHUNK", chunk)
        found = list(JsonText().values(io.BytesIO(text.encode())))
    assert [value for value, _ in found] == _plainly(text)


@pytest.mark.parametrize(
    ("text", "ids", "rejected"),
    [
        ('[{"id":1}]\n[{"id":2}]\n', [1, 2], {}),
        ('[{"id":1}][{"id":2}]', [1, 2], {}),
        ('[{"id":1}, 5, {"id":2}]\n[3]', [1, 2], {1: "value", 3: "value"}),
        ('{"id":1}\n[{"id":2}]\n', [1], {1: "line"}),
        ('{\n"id":1\n}\n[{"id":2}]\n', [1, 2], {}),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_nothing_of_a_file_is_passed_over(
    tmp_path: Path, text: str, ids: list[int], rejected: dict[int, str], name: str
) -> None:
    (tmp_path / name).write_text(text)
    rows, found = read(open_location(str(tmp_path / name), NOWHERE))
    assert [row["id"] for row in rows] == ids
    assert found == {position: f"{what} is not a JSON object" for position, what in rejected.items()}


@pytest.mark.parametrize("text", ['[{"id":1}]\n{"id":2}\n', '[]\n[{"id":1}]\n[]\n{"id":2}'])
def test_an_array_before_objects_is_a_row_where_the_name_says_lines(tmp_path: Path, text: str) -> None:
    for name in ("a.json", "b.jsonl"):
        (tmp_path / name).write_text(text)
    rows, rejected = read(open_location(str(tmp_path / "a.json"), NOWHERE))
    assert ([row["id"] for row in rows], rejected) == ([1, 2], {})
    rows, rejected = read(open_location(str(tmp_path / "b.jsonl"), NOWHERE))
    assert [row["id"] for row in rows] == [2]
    assert {*rejected.values()} == {"line is not a JSON object"}


@pytest.mark.parametrize(
    ("first", "after"),
    [
        ("[", ""),
        ("{", ""),
        ("{", '"a":'),
        ('{"a": [', ""),
        ("[1, 2]", ""),
        ('[{"id": "forged"}, {"id": "forged"}]', ""),
        ("[" * 100_000, ""),
        ('{"id": "' + '\\"' * 300_000, ""),
        ("\ufeff[", ""),
        ("\0\0", ""),
        ("{\0", ""),
        ("ÿþ", ""),
        ("ÿþ[", ""),
        ("þÿ{", "["),
    ],
)
@pytest.mark.parametrize("good", [1, 2, 50])
@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.json", "a"])
def test_a_first_line_that_is_broken_is_a_row_that_is_rejected(
    tmp_path: Path, first: str, after: str, good: int, name: str
) -> None:
    if good == 1 and (after or name in ("a.json", "a")):
        return  # what two lines are is not certain
    rows = [json.dumps({"id": number}) for number in range(good)]
    data = "\n".join([first, *[after] * bool(after), *rows, "5"]).encode(
        "utf-8" if first[0] == "\ufeff" else "latin-1"
    )
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    if name in ("a.json", "a") and first[:2] in ("[1", "[{"):
        return  # any sequence of arrays and objects, as the name permits
    if name == "a" and first[:1] not in "[{":
        return  # of no format
    found, rejected = read(open_location(str(tmp_path / name), NOWHERE), "id")
    assert [row["id"] for row in found] == list(range(good))
    assert len(rejected) == 2 + bool(after)


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz", "a.json"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separators", [(",", ":"), (",\n", ":"), ("\n,", ": ")])
@pytest.mark.parametrize("indent", [None, 0, 2])
def test_one_json_text_is_one_whatever_its_name_says(
    tmp_path: Path, name: str, mark: str, separators: tuple[str, str], indent: int | None
) -> None:
    rows = [{"id": number, "more": [{}, {"a": []}]} for number in range(30)]
    data = (mark + json.dumps(rows, indent=indent, separators=separators)).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found, rejected = read(open_location(str(tmp_path / name), NOWHERE), "id")
    assert [row["id"] for row in found] == list(range(30))
    assert not rejected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"id":1}, {"id":2}\n', "ends within an array after value 2"),
        ('[{"id":1}]\n{"id":', "is not JSON after value 1"),
        ('[{"id":1}] nonsense', "is not JSON after value 1"),
        ('[{"id":1}], {"id":2}', "is not JSON after value 1"),
        ('[{"id":1},]', "is not JSON after value 1"),
        ('[,{"id":1}]', "is not JSON after value 0"),
        ('[{"id":1}]]', "is not JSON after value 1"),
        ('[{"id":"open}, {"id":2}]', "is not JSON after value 0"),
        ('[{"id":1]}', "is not JSON after value 0"),
        ('[{"id":1}, \xff]', "is not UTF-8 after value 1"),
    ],
)
def test_what_is_not_json_is_an_error_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"a.json .*{said}"):
        read(open_location(str(tmp_path / "a.json"), NOWHERE))


def test_a_line_that_is_too_long_is_rejected_alone_and_an_array_on_one_line_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bounded memory: neither is held as a whole."""
    monkeypatch.setattr("bedrock_pipeline.sources.json_files.LONGEST_RECORD", 100)
    monkeypatch.setattr("bedrock_pipeline.sources.json_files._PIECE", 7)
    good = [b'{"id": "%d"}\n' % number for number in range(4)]
    long = b'{"id": "%s"}\n' % (b"x" * 500)
    whole = b'{"id": "%s"}' % (b"y" * 90)  # with its end 101
    (tmp_path / "a.jsonl").write_bytes(b"".join([good[0], long, good[1], whole + b"\n", good[2], long[:-1]]))
    source = open_location(str(tmp_path / "a.jsonl"), NOWHERE)
    found, rejected = read(source, "id")
    assert [row["id"] for row in found] == ["0", "1", "2"]
    assert {*rejected.values()} == {"line is longer than 100 bytes"}
    assert list(rejected) == [1, 3, 5]
    (tmp_path / "b.json").write_bytes(b"[" + b",".join(one.strip() for one in good * 30) + b"]")
    assert len(read(open_location(str(tmp_path / "b.json"), NOWHERE), "id")[0]) == 120


def test_lines_that_are_nested_too_deeply_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(f'{{"a": {"[" * levels}{"]" * levels}}}\n' for levels in (200, 249, 250, 2000, 100_000))
        + json.dumps({"a": ["[" * 300]})
    )
    rows, rejected = read(open_location(str(tmp_path), NOWHERE))
    assert [row[""] for row in rows] == [0, 1, 5]
    assert rejected == dict.fromkeys([2, 3, 4], "line is nested more than 250 levels deep")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[" * 300 + b"]" * 300, "is nested more than 250 levels deep"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "is nested more than 250 levels deep"),
        (b'"\xff"', "is not UTF-8"),
        (b'"' + b"\xe9" * 70_000 + b'"', "is not UTF-8"),
        (b"[" + b"1," * 2_000_000 + b"1]", "has more than 1000000 values"),
    ],
    ids=["lists", "objects", "byte", "bytes", "values"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_element_of_an_array_is_rejected_as_a_line_is(
    tmp_path: Path, place: int, value: bytes, reason: str
) -> None:
    rows = [b'{"id": 1, "a": "x"}', b'{"id": 2, "a": "y"}']
    rows.insert(place, b'{"id": 3, "a": ' + value + b"}")
    (tmp_path / "a.json").write_bytes(b"[" + b", ".join(rows) + b"]")
    (tmp_path / "b.jsonl").write_bytes(b"\n".join(rows))
    for name, what in (("a.json", "value"), ("b.jsonl", "line")):
        found, rejected = read(open_location(str(tmp_path / name), NOWHERE), "id")
        assert [row["id"] for row in found] == [1, 2]
        assert rejected == {place: f"{what} {reason}"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_json_that_is_not_utf8_is_named(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n', encoding)
    with pytest.raises(InputError, match=r"a\.jsonl is not written in UTF-8"):
        read(open_location(str(tmp_path), NOWHERE))


@pytest.mark.parametrize("guesses", [True, False])
def test_an_array_on_one_line_is_read_in_linear_time(guesses: bool) -> None:
    rows = [{"id": number, "text": f"text {number}", "more": {"a": [1]}} for number in range(20_000)]
    data = json.dumps(rows).encode()
    scanned = 0
    end = json_buffer._end

    def counted(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
        nonlocal scanned
        found = end(pattern, text, start)
        scanned += found - start + 1
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_buffer, "_end", counted)
        patch.setattr(json_buffer, "_CHUNK", 1000)
        if not guesses:
            patch.setattr(json_buffer.JsonBuffer, "guess", lambda _: b"")
        assert [value for value, _ in JsonText().values(io.BytesIO(data))] == rows
    assert scanned < (0.2 if guesses else 2) * len(data)


@settings(max_examples=60, deadline=None)
@given(
    files=st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=3),
    form=st.sampled_from(["csv", "jsonl", "json"]),
    batch=st.integers(1, 5),
)
@example(files=[[True, True, True, False, True]], form="csv", batch=2)
def test_rows_and_rejected_rows_have_their_positions_whatever_the_batch(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[bool]], form: str, batch: int
) -> None:
    folder = tmp_path_factory.mktemp("positions")
    good, bad = {"csv": ("x,y", "x,y,z"), "jsonl": ('{"a": 1}', '{"a"'), "json": ('{"a": 1}', "5")}[form]
    head, separator, end = {"csv": ("a,b\n", "\n", ""), "jsonl": ("", "\n", ""), "json": ("[", ",", "]")}[
        form
    ]
    for number, rows in enumerate([[True], *files]):
        text = separator.join(good if is_good else bad for is_good in rows)
        (folder / f"{number}.{form}").write_text(head + text + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BATCH_ROWS", batch)
        rows_read, rejected = read(open_location(str(folder), NOWHERE), "a")
    expected = [True, *(is_good for rows in files for is_good in rows)]
    assert [row[""] for row in rows_read] == [place for place, is_good in enumerate(expected) if is_good]
    assert sorted(rejected) == [place for place, is_good in enumerate(expected) if not is_good]
