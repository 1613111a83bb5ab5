"""Files that cannot be read as they are said to be written, are being written to, or only look like data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bedrock_pipeline.sources import CsvFormat, InputError, open_location
from bedrock_pipeline_tests.sources.test_sources import read

NO_S3: Any = None  # every location here is local


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        (b'"x;y",id;t\n1;a\n2;b\n', {"delimiter": ";"}, "header of .*delimiter ';'"),
        (b"\x1f\x8b\x08\x00" + b"\x01" * 40, {}, "begins as gzip does"),
        (b"PAR1" + b"\x01" * 40, {}, "begins as parquet does"),
        (b"PK\x03\x04" + b"\x01" * 40, {}, "begins as a ZIP archive does"),
        ("id;t\n1;a\n".encode("utf-16-le"), {"encoding": "utf-16"}, "does not begin as utf-16 does"),
    ],
)
def test_what_is_no_csv_as_it_is_said_to_be_names_the_file(
    content: bytes, form: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read(open_location(str(tmp_path / "a.csv"), NO_S3, csv=CsvFormat(**form)), "id")
    assert "a.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("encoding", "broken"),
    [
        ("utf-8", b"\xff"),
        ("cp1252", b"\x81"),
        ("ascii", b"\xe9"),
        ("shift_jis", b"\x81"),
        ("utf-32", b"\xff" * 4),
    ],
)
def test_bytes_that_an_encoding_lacks_reject_their_row_alone(
    encoding: str, broken: bytes, tmp_path: Path
) -> None:
    mark = "".encode("utf-32") if encoding == "utf-32" else b""
    plain = encoding.replace("utf-32", "utf-32-le")
    lines = [f"{text}\n".encode(plain) for text in ("id,t", "0,a", "1,a", "2,a", "3,a", "4,a")]
    lines[3] = "2,".encode(plain) + broken + "\n".encode(plain)
    (tmp_path / "a.csv").write_bytes(mark + b"".join(lines))
    found, rejected = read(
        open_location(str(tmp_path / "a.csv"), NO_S3, csv=CsvFormat(encoding=encoding)), "id"
    )
    assert [row["id"] for row in found] == ["0", "1", "3", "4"]
    assert list(rejected) == [2]
    assert str(rejected[2]).startswith("row is not ")


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "hex", ""])
def test_an_encoding_that_is_none_is_an_error_where_the_format_is_defined(encoding: str) -> None:
    with pytest.raises(ValidationError, match="no encoding that Python knows"):
        CsvFormat(encoding=encoding)


@pytest.mark.parametrize("pattern", ["**", "d*/*", "d/*"])
def test_a_pattern_without_an_ending_takes_what_a_folder_does(pattern: str, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("a.jsonl", "a.jsonl.bak", "#a.jsonl#", "a.jsonl~", "b"):
        (tmp_path / "d" / name).write_text(f'{{"id": "{name}"}}\n')
    source = open_location(str(tmp_path / pattern), NO_S3)
    assert [row["id"] for row in read(source, "id")[0]] == ["a.jsonl", "b"]
    assert {Path(name).name for name, _ in source.skipped} == {"a.jsonl.bak", "#a.jsonl#", "a.jsonl~"}
    copies = open_location(str(tmp_path / "d" / "*.bak"), NO_S3)
    assert [row["id"] for row in read(copies, "id")[0]] == ["a.jsonl.bak"], (
        "a pattern that says so reads them"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_text('{"id": "new"}\n'),
        lambda file: file.open("a").write('{"id": "more"}\n'),
        lambda file: file.unlink(),
    ],
)
def test_a_file_that_changes_between_two_passes_is_an_error(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"id": "{number}"}}\n' for number in range(50)))
    source = open_location(str(file), NO_S3)
    assert len(read(source, "id")[0]) == 50
    change(file)
    with pytest.raises((InputError, FileNotFoundError), match=r"a\.jsonl"):
        read(source, "id")
