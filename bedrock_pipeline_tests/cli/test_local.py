"""Command `local`: whom `down` ends, and what `up` says beside another start or end."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from bedrock_pipeline.cli.main import cli
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints, read_endpoints
from bedrock_pipeline.local.endpoints import write_endpoints
from bedrock_pipeline.local.home import is_locked, take_lock
from bedrock_pipeline_tests.waiting import PATIENCE_S, until


@pytest.mark.parametrize("text", ["", "{pid}", "{pid} 1.0", f"{2**31 - 1} 1.0", "no number"])
def test_down_ends_nobody_who_only_has_the_number_of_a_process_that_is_gone(
    stack_endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(stack_endpoints.home))
    (stack_endpoints.home / "holder.pid").write_text(text.format(pid=os.getpid()))
    done = CliRunner().invoke(cli, ["local", "down"])
    assert done.exit_code == 1
    assert "It was started by `dev` or `demo`." in done.output


def test_up_beside_what_is_still_starting_waits_for_it(stack_endpoints: Endpoints, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with take_lock(home):  # as `dev` does, before anything else
        up = _started(home, "up")
        try:
            until(lambda: "already running" in _text(home / "up.log"), "its own start was in vain")
            assert up.poll() is None
            write_endpoints(replace(stack_endpoints, home=home))
            said, _ = up.communicate(timeout=PATIENCE_S)
        finally:
            up.kill()
    assert (up.returncode, said.startswith(f"running at {home}")) == (0, True)


def test_up_ends_with_an_error_where_what_was_starting_has_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with take_lock(home):
        up = _started(home, "up")
        until(lambda: "already running" in _text(home / "up.log"), "its own start was in vain")
    said, _ = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 1
    assert "The embedded stack did not start" in said


def test_why_it_did_not_start_is_said(tmp_path: Path) -> None:
    """By this start, not by one before."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "up.log").write_text("Error: of long ago\n")
    (home / "secrets.json").write_text("{")
    up = _started(home, "up")
    said, _ = up.communicate(timeout=PATIENCE_S)
    assert up.returncode == 1
    assert "secrets.json is damaged" in said
    assert "of long ago" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_another_user_owns_is_neither_waited_for_nor_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "holder.pid").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    os.chown(home, 65534, 65534)
    said, _ = _started(home, "down").communicate(timeout=PATIENCE_S)
    assert "belongs to another user" in said


def test_all_who_start_it_find_the_ledger_and_all_who_end_it_wait_until_it_has_ended(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for up in [_started(home, "up") for _ in range(2)]:
        said, _ = up.communicate(timeout=PATIENCE_S)
        assert up.returncode == 0, said + _text(home / "up.log")
        found = read_endpoints(home)
        assert found is not None
        with Ledger(found.dsn()) as ledger:
            assert ledger.is_current()
    ends = [_started(home, "down") for _ in range(2)]
    for end in ends:
        said, _ = end.communicate(timeout=PATIENCE_S)
        assert (end.returncode, said.strip() in ("ended", "not running")) == (0, True), said
        assert not is_locked(home)
        assert not (home / "holder.pid").exists()
    said, _ = _started(home, "down").communicate(timeout=PATIENCE_S)
    assert said == "not running\n"


def _started(home: Path, command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "bedrock_pipeline", "local", command],
        env={**os.environ, "BEDROCK_PIPELINE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
