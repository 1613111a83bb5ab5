"""The demo is killed with everything that it started, and started again."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.dataset as pa_dataset
import pytest

from bedrock_pipeline_tests.waiting import PATIENCE_S, until


def demo(home: Path, path: Path, log: Path) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "bedrock_pipeline",
        "demo",
        "--json",
        "--speed",
        "60",
        "--record-id",
        "id",
    ]
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, "--input", str(path), "--prompt", "{{ text }}"],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "BEDROCK_PIPELINE_HOME": str(home)},
        )


def jobs_at_the_emulator(home: Path) -> list[tuple[str, str]]:
    """Name and status of every job ever created, from the emulator's own record."""
    database = home / "emulator" / "jobs.sqlite"
    if not database.exists():
        return []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchall():
            return []  # the file is made before its tables
        return connection.execute(
            "SELECT json_extract(document, '$.jobName'), json_extract(document, '$.status') FROM jobs"
        ).fetchall()


def kill_everything(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for the command and all its descendants at once."""
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGKILL)
    psutil.wait_procs(everyone, timeout=PATIENCE_S)
    process.wait()


@pytest.mark.end_to_end
@pytest.mark.timeout(2000)  # three waits
def test_a_killed_demo_is_finished_without_a_second_job(tmp_path: Path) -> None:
    path, home, log = tmp_path / "rows.jsonl", tmp_path / "home", tmp_path / "demo.log"
    rows = "".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(2100))
    path.write_text(f"{rows}no JSON\n")
    first = demo(home, path, log)

    def works() -> bool:
        assert first.poll() is None, log.read_text()
        return any(status == "InProgress" for _, status in jobs_at_the_emulator(home))

    until(works, log.read_text)
    kill_everything(first)
    again = demo(home, path, log)
    assert again.wait(PATIENCE_S) == 0, log.read_text()
    summary = json.loads(log.read_text().splitlines()[-1])
    assert (summary["records"], summary["succeeded"], summary["failed"]) == (2100, 2100, 0)
    assert summary["rejected"] == {"line is not JSON": 1}
    table = pa_dataset.dataset(summary["results"], format="parquet").to_table()
    assert sorted(table["record_id"].to_pylist()) == sorted(f"r{n}" for n in range(2100))
    names = [name for name, _ in jobs_at_the_emulator(home)]
    assert len(names) == len(set(names)) == summary["chunks"] == 3
