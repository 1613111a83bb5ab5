"""What may be named as an input, and what of it is read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bedrock_pipeline.sources import InputError, open_location
from bedrock_pipeline_tests.sources.test_sources import NOWHERE, jsonl, read


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("", "location of the input is empty"),
        (" ", "location of the input is empty"),
        ("file://", "location of the input is empty"),
        ("s3://", "s3:// names no bucket"),
        ("s3:///folder/a.csv", "names no bucket"),
        ("s3a://", "names no bucket"),
        ("s3://*/a.csv", "names no bucket"),
        ("/", "every file of this machine"),
        ("//", "every file of this machine"),
        ("/tmp/..", "every file of this machine"),  # noqa: S108  # nothing is written
        ("/**/*.jsonl", "every file of this machine"),
        ("gs://bucket/a.csv", r"scheme gs://, which is not supported\. Name .* s3://bucket"),
        ("https://host/a.csv", "scheme https://, which is not supported"),
        ("S3://bucket/a.csv", "scheme S3://, which is not supported"),
        ("/dev/null", "/dev/null is a device"),
        ("/proc/self/mem", "/proc/self/mem cannot be read: Input/output error"),
    ],
)
def test_a_location_that_cannot_be_meant_is_an_error(location: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_location(location, NOWHERE)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))  # the length of a socket's path is limited


@pytest.mark.parametrize(
    ("make", "said"),
    [(os.mkfifo, "is a named pipe, not a regular file"), (_socket, "is a socket, not a regular file")],
)
def test_only_regular_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=f"Of 1 other files none is read; .* {said}"):
        open_location(str(tmp_path), NOWHERE)
    with pytest.raises(InputError, match=f"a.jsonl {said}"):
        open_location(str(tmp_path / "a.jsonl"), NOWHERE)
    jsonl(tmp_path / "b.jsonl", {"a": 1})
    for location in (tmp_path, tmp_path / "*.jsonl"):
        source = open_location(str(location), NOWHERE)
        assert [row["a"] for row in read(source)[0]] == [1]
        assert source.notes() == [f"{tmp_path}/a.jsonl is not read: it {said}."]


@pytest.mark.parametrize("location", ["", "a.jsonl", "*.jsonl", "**"])
@pytest.mark.parametrize(("target", "why"), [("gone", "No such file"), ("a.jsonl", "Too many levels")])
def test_a_link_that_leads_nowhere_is_an_error_that_names_its_target(
    tmp_path: Path, location: str, target: str, why: str
) -> None:
    (tmp_path / "a.jsonl").symlink_to(target)
    jsonl(tmp_path / "b.jsonl", {"a": 1})
    with pytest.raises(InputError, match=f"a.jsonl is a symbolic link to {target}, .*{why}"):
        open_location(str(tmp_path / location), NOWHERE)


def test_a_folder_that_cannot_be_entered_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl(tmp_path / "a.jsonl", {"a": 1})
    scan = os.scandir

    def reject(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    (tmp_path / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", reject)  # root may list every folder
    with pytest.raises(InputError, match="locked cannot be listed: Permission denied"):
        open_location(str(tmp_path), NOWHERE)
