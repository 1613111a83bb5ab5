"""What the commands say that read results, where these cannot be read, or their file cannot be written."""

import subprocess
import sys
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.journey.driven import finish, pipeline


@pytest.fixture
def results_uri(deployment: Deployment, tmp_path: Path) -> str:
    """The folder of 300 published rows in three files."""
    one = pipeline(tmp_path, [f"t{n}" for n in range(300)], limits=Limits(min_records=50, max_records=100))
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    finish(deployment, one)
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert row.results_uri is not None
    return row.results_uri


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: threads that still read when an interpreter ends abort it."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "bedrock_pipeline", *command],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("place", ["its data", "its end", "all of it"])
def test_a_damaged_file_is_named_and_ends_no_command_otherwise(
    deployment: Deployment, results_uri: str, tmp_path: Path, place: str
) -> None:
    uri = f"{results_uri}part-00001.parquet"
    data = deployment.objects.get(uri)
    damaged = {
        "its data": data[:60] + bytes(len(data) // 3) + data[60 + len(data) // 3 :],
        "its end": data[:-50],
        "all of it": bytes(len(data)),
    }
    deployment.objects.put(uri, damaged[place])
    out = tmp_path / "out.parquet"
    for command in (
        ["results", "p", "d", "--out", str(out)],
        ["show", "p", "d", "--rows", "1000"],
        ["show", "p", "d", "--where", "output_text <> ''", "--rows", "1000"],
    ):
        done = _run(*command)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        # DuckDB does not say in which file a value cannot be read.
        named = (
            "A file of the results"
            if (place, command[3]) == ("its data", "--where")
            else "part-00001.parquet"
        )
        assert f"{named} cannot be read: it is not what was written" in done.stderr.replace("\n", " ")
    assert not out.exists()


def test_rows_that_were_added_are_not_taken_for_rows_that_are_gone(
    deployment: Deployment, results_uri: str
) -> None:
    """What would buy them again is not said."""
    deployment.objects.put(
        f"{results_uri}copy.parquet", deployment.objects.get(f"{results_uri}part-00001.parquet")
    )
    done = _run("show", "p", "d", "--where", "output_text <> ''")
    assert done.returncode == 1
    assert "300 rows were published" in done.stderr
    assert "a file was added or changed" in " ".join(done.stderr.split())
    assert "--new-version" not in done.stderr


@pytest.mark.usefixtures("results_uri")
def test_a_file_that_is_replaced_keeps_who_may_read_it(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for before, after in ((0o600, 0o600), (0o640, 0o640)):
        out.touch()
        out.chmod(before)
        assert _run("results", "p", "d", "--out", str(out)).returncode == 0
        assert out.stat().st_mode & 0o777 == after


@pytest.mark.usefixtures("results_uri")
def test_a_link_that_leads_to_itself_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    done = _run("results", "p", "d", "--out", str(tmp_path / "loop.csv"))
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "is not a file that can be replaced" in " ".join(done.stderr.split())


@pytest.mark.usefixtures("results_uri")
def test_a_file_that_cannot_be_written_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    long = tmp_path / f"{'x' * 251}.csv"
    for out, said in (
        ("/proc/a.csv", "a.csv cannot be written in /proc"),
        (tmp_path / f"{'x' * 300}.csv", "File name too long"),
        ("s3://bucket/a.csv", "no such folder"),
    ):
        done = _run("results", "p", "d", "--out", str(out))
        assert (done.returncode, "Traceback" in done.stderr) in ((1, False), (2, False)), done.stderr
        assert said in " ".join(done.stderr.split())
    assert _run("results", "p", "d", "--out", str(long)).returncode == 0
    assert len(long.read_text().splitlines()) == 301


@pytest.mark.usefixtures("results_uri")
def test_what_a_link_leads_to_is_replaced_and_nothing_but_a_file(tmp_path: Path) -> None:
    kept, link, pipe = tmp_path / "kept.jsonl", tmp_path / "link.jsonl", tmp_path / "pipe.jsonl"
    kept.touch()
    link.symlink_to(kept)
    assert _run("results", "p", "d", "--out", str(link)).returncode == 0
    assert link.is_symlink()
    assert len(kept.read_text().splitlines()) == 300
    pipe.with_suffix(".csv").symlink_to("/dev/null")
    done = _run("results", "p", "d", "--out", str(pipe.with_suffix(".csv")))
    assert (done.returncode, "is not a file that can be replaced" in " ".join(done.stderr.split())) == (
        2,
        True,
    )
