"""Progress: on a terminal one line of at most 80 columns; in a pipe and after `--quiet` nothing but the result."""

import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from bedrock_pipeline.cli import progress as module
from bedrock_pipeline.cli.progress import CommandProgress, command_progress

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
_COLUMNS = 80
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PROGRAM = "from bedrock_pipeline.cli.main import main; main()"


def run(words: list[str], *, terminal: bool) -> tuple[str, str]:
    """Standard output and error of a command that succeeds; error goes to a terminal of 80 columns or to a pipe."""
    command = [sys.executable, "-c", _PROGRAM, *words]
    if not terminal:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, _COLUMNS))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # the process has closed the terminal
                break
        assert process.stdout is not None
        out = process.stdout.read().decode()
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return out, shown.decode()


def commands(folder: Path) -> dict[str, list[str]]:
    source = folder / "in.parquet"
    pq.write_table(pa.table({"text": [f"row {number}" for number in range(20_000)]}), source)
    out = folder / "0.jsonl.out"
    line = '{"recordId": "r%d", "modelOutput": {"content": [{"type": "text", "text": "yes"}]}}\n'
    out.write_text("".join(line % number for number in range(20_000)))
    prompt = ["--model", MODEL, "--prompt", "{{ text }}"]
    return {
        "pack": ["pack", str(source), *prompt, "--out", str(folder / "packed")],
        "estimate": ["estimate", "--input", str(source), *prompt],
        "parse": ["parse", str(out), "--model", MODEL, "--out", str(folder / "parsed.parquet")],
    }


@pytest.mark.parametrize("name", ["pack", "estimate", "parse"])
def test_a_command_shows_its_progress_on_a_terminal_only(name: str, tmp_path: Path) -> None:
    for number, (options, terminal) in enumerate([([], True), ([], False), (["--quiet"], True)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        out, shown = run([*commands(folder)[name], *options], terminal=terminal)
        assert out.count("\n") >= 1  # the result, in each case
        lines = [_CONTROL.sub("", line).rstrip() for line in re.split(r"[\r\n]+", shown)]
        if terminal and not options:
            assert any("20,000 records" in line for line in lines), lines
            assert max(map(len, lines)) <= _COLUMNS
        else:
            assert not any("20,000 records" in line for line in lines)
            assert not (options and any(lines)), "--quiet shows no notes either"


@pytest.mark.parametrize(
    ("total", "show", "expected"),
    [
        (None, lambda it: it(123_456_789, 98_765_432_100), "packed 123,456,789 records, 98,765 MB"),
        (None, lambda it: it.rows_read(123_456_789), "read 123,456,789 rows"),
        (200, lambda it: it(100), "packed 100 records"),
        (2_000, lambda it: it.of_total(500, 123_456), "packed 123,456 records"),
    ],
)
def test_a_line_of_progress_fits_80_columns(
    total: int | None,
    show: Callable[[CommandProgress], None],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = StringIO()
    console = Console(file=terminal, force_terminal=True, width=_COLUMNS)
    monkeypatch.setattr(module, "console", console)
    with command_progress("packed", total=total) as progress:
        show(progress)
    shown = [_CONTROL.sub("", line).rstrip() for line in re.split(r"[\r\n]+", terminal.getvalue())]
    assert any(expected in line for line in shown), shown
    assert max(map(len, shown)) <= _COLUMNS
    assert any("left" in line for line in shown) == (total is not None)
