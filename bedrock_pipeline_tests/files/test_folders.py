"""Where `pack` and `parse` write: a place is filled as a whole and by one, and what the system says is a message."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.files.folders import LocalFolder, place
from bedrock_pipeline_tests.cli.file_commands import LINE, MODEL, inputs, packed, run, summary

_KILLED = """
import os, sys
from pathlib import Path
from bedrock_pipeline.files.folders import LocalFolder, place
with LocalFolder(Path(sys.argv[1])).claimed() as claim:
    (claim.work / "copy").write_text("a row")
    (claim.work / "chunk").write_text("a line")
    claim.put(claim.work / "chunk", "chunk-00000/00000.jsonl")
    if sys.argv[2] == "early":
        os._exit(9)
    shown, Path.rename = Path.rename, lambda one, target: (shown(one, target), os._exit(9))
"""


def test_a_pack_that_was_killed_leaves_no_chunk_that_looks_whole(tmp_path: Path) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    early, late = tmp_path / "early", tmp_path / "late"
    for out in (early, late):
        assert (
            subprocess.run([sys.executable, "-c", _KILLED, str(out), out.name], check=False).returncode == 9
        )
    assert list(early.glob("chunk-*")) == []
    assert summary(packed(source, str(early)))["records"] == 20
    assert sorted(one.name for one in early.iterdir()) == ["chunk-00000", "rejected.parquet"]
    result = packed(source, str(late))
    assert result.exit_code == 1
    assert "is incomplete" in result.stderr
    assert (late / "_incomplete").is_dir()


def test_a_pack_that_fails_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert packed(inputs(tmp_path, ["a"]), str(out)).exit_code == 1
    assert list(out.iterdir()) == []


def test_pack_writes_into_no_place_that_is_used(deployment: Deployment, tmp_path: Path) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    used, uri = tmp_path / "used", f"s3://{deployment.settings.bucket}/used"
    used.mkdir()
    (used / "mine.txt").write_text("mine")
    deployment.objects.put(f"{uri}/mine.txt", b"mine")
    for out, said in ((str(used), "is not empty"), (uri, "There are objects beneath")):
        result = packed(source, out)
        assert result.exit_code == 1
        assert said in " ".join(result.stderr.split())
    assert [one.name for one in used.iterdir()] == ["mine.txt"]
    assert [one.uri for one in deployment.objects.list(uri)] == [f"{uri}/mine.txt"]


@pytest.mark.parametrize("where", ["local", "s3"])
def test_of_two_packs_into_one_place_the_second_says_that_another_is_there(
    deployment: Deployment, tmp_path: Path, where: str
) -> None:
    source = inputs(tmp_path, [f"r{number}" for number in range(20)])
    out = f"s3://{deployment.settings.bucket}/both" if where == "s3" else str(tmp_path / "both")
    with place(out, deployment.objects).claimed() as claim:
        (claim.work / "first").write_text("the first")
        claim.put(claim.work / "first", "first.txt")
        result = packed(source, out)
        assert result.exit_code == 1
        assert "another `pack`" in result.stderr.lower()
    written = (
        [one.uri.removeprefix(f"{out}/") for one in deployment.objects.list(f"{out}/")]
        if where == "s3"
        else [one.name for one in Path(out).iterdir()]
    )
    assert written == ["first.txt"]


def test_a_place_in_s3_that_was_not_filled_says_so(deployment: Deployment, tmp_path: Path) -> None:
    out = f"s3://{deployment.settings.bucket}/partial"
    (tmp_path / "chunk").write_text("a line")

    def fill() -> None:
        with place(out, deployment.objects).claimed() as claim:
            claim.put(tmp_path / "chunk", "chunk-00000/00000.jsonl")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill()
    result = packed(inputs(tmp_path, ["a"]), out)
    assert result.exit_code == 1
    assert "is incomplete" in " ".join(result.stderr.split())


def test_a_file_that_cannot_be_moved_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk, when it is copied from another file system."""

    def copies_half(_: Path, target: Path) -> None:
        target.write_bytes(LINE[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "move", copies_half)
    (tmp_path / "whole").write_bytes(LINE)
    with pytest.raises(OSError, match="No space left"):
        LocalFolder(tmp_path / "out").put(tmp_path / "whole", "chunk-00000/00000.jsonl")
    assert list((tmp_path / "out" / "chunk-00000").iterdir()) == []


@pytest.mark.parametrize("command", ["pack", "parse"])
@pytest.mark.parametrize(
    ("out", "said", "fix"),
    [
        ("a-file/beneath", "Not a directory", "A part of this path is a file"),
        ("/proc/beneath", "No such file or directory", "Check the path"),
        ("n" * 300, "File name too long", "Check the path"),
    ],
)
def test_an_error_of_the_file_system_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, out: str, said: str, fix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("mine")
    Path("a.jsonl.out").write_bytes(LINE)
    if command == "pack":
        result = packed(inputs(tmp_path, [f"r{number}" for number in range(20)]), out)
    else:
        result = run("parse", "a.jsonl.out", "--model", MODEL, "--out", f"{out}/x.parquet", "--json")
    assert result.exit_code == 1, result.exception
    shown = json.loads(result.stdout)
    assert shown["error"].startswith(out[:10])
    assert shown["error"].endswith(f": {said}.")
    assert shown["fix"].startswith(fix)


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    source, out = inputs(tmp_path, [f"r{number}" for number in range(2000)]), tmp_path / "out"
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        "from bedrock_pipeline.cli.main import main; main()"
    )
    words = ("pack", str(source), "--model", MODEL, "--prompt", "Please: {{ text }}", "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-c", limited, *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr
    assert list(out.iterdir()) == []
