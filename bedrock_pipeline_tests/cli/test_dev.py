"""Command `dev`: how it ends."""

import subprocess
import sys

import pytest

_ENDED_AT_ONCE = """
import os, sys
number = int(sys.argv.pop())
from contextlib import contextmanager
from types import SimpleNamespace
from bedrock_pipeline.cli import services

@contextmanager
def running(*_, **__):
    os.kill(os.getpid(), number)
    yield SimpleNamespace(url="", require_running=lambda: None)

services.running = running
from bedrock_pipeline.cli.main import main
main()
"""


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_the_exit_code_says_which_signal_ended_it(signal: int, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDED_AT_ONCE, "dev", str(signal)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "The same command goes on from here." in done.stderr) == (code, True), (
        done.stderr
    )
