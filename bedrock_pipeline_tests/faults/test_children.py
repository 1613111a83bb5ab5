"""The processes that tests start: where they come from, and how their end is known."""

import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from bedrock_pipeline_tests.faults.children import exit_code, is_stopped, start_child
from bedrock_pipeline_tests.faults.worker import die, fall_asleep

_TESTS = Path(__file__).parents[1]


def _look_at_the_server() -> None:
    assert psutil.Process(os.getppid()).num_threads() == 1


def _raise() -> None:
    raise ValueError("as wanted")


def _expect(name: str, value: str) -> None:
    assert os.environ[name] == value


def test_children_are_forked_from_a_process_with_one_thread(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert exit_code(start_child(_look_at_the_server, log)) == 0, log.read_text()


def test_no_test_forks_pytest_itself() -> None:
    call = "os." + "fork("
    assert [path for path in _TESTS.rglob("*.py") if call in path.read_text()] == []


def test_how_a_child_ended_is_known(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert exit_code(start_child(die, log)) == -signal.SIGKILL
    assert not log.exists()
    assert exit_code(start_child(_raise, log)) == 1
    assert "ValueError: as wanted" in log.read_text()


def test_a_child_that_sleeps_is_seen_and_wakes(tmp_path: Path) -> None:
    child = start_child(fall_asleep, tmp_path / "log")
    assert is_stopped(child)
    assert child.pid
    os.kill(child.pid, signal.SIGCONT)
    assert exit_code(child) == 0
    assert not is_stopped(start_child(die, tmp_path / "log"))


def test_a_child_has_the_environment_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_BUCKET", "this-test's")
    log = tmp_path / "log"
    act = partial(_expect, "BEDROCK_PIPELINE_BUCKET", "this-test's")
    assert exit_code(start_child(act, log)) == 0, log.read_text()
