"""Child processes end at their signal."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from bedrock_pipeline.local.home import LocalError
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import Child, end_remaining, free_port, last_error
from bedrock_pipeline_tests.waiting import until

#: A program with a child, and one that is nobody's child any more; neither listens to a signal.
_STARTS = """
import os, signal, subprocess, sys, time
folder, name = sys.argv[1:]
def start(name, **options):
    return subprocess.Popen([sys.executable, __file__, folder, name], **options)
if name == "program":
    start("parent").wait()
    start("child")
elif name == "parent":
    start("orphan")
    sys.exit()
else:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    with open(f"{folder}/{name}.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{folder}/{name}.new", f"{folder}/{name}")
time.sleep(600)
"""


def _started(folder: Path) -> tuple[Child, list[psutil.Process]]:
    script = folder / "starts.py"
    script.write_text(_STARTS)
    child = Child("starts", [sys.executable, str(script), str(folder), "program"], folder, os.environ)
    files = [folder / name for name in ("orphan", "child")]
    until(lambda: all(file.exists() for file in files), "its processes")
    return child, [psutil.Process(int(file.read_text())) for file in files]


def test_a_child_of_a_background_process_ends_at_its_signal(tmp_path: Path) -> None:
    """A shell starts background processes with SIGINT ignored, which children inherit."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = Child("sleeper", ["sleep", "60"], tmp_path, os.environ, end_signal=signal.SIGINT)
        child.end()
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.process.returncode == -signal.SIGINT, "it was not killed, as who does not listen is"


@pytest.mark.parametrize("end_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_a_child_what_it_starts_can_be_ended_by_signals(
    tmp_path: Path, end_signal: signal.Signals
) -> None:
    ignored = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        child = Child("sleeper", ["sleep", "60"], tmp_path, os.environ, end_signal=end_signal)
        status = Path(f"/proc/{child.process.pid}/status").read_text()
        child.end()
    finally:
        for one, handler in ignored.items():
            signal.signal(one, handler)
    [mask] = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn")]
    assert not mask & (1 << signal.SIGINT - 1 | 1 << signal.SIGTERM - 1)


def test_a_child_ends_with_all_that_it_started(tmp_path: Path) -> None:
    child, started = _started(tmp_path)
    child.end()
    assert [one.is_running() for one in started] == [False, False]
    assert not list((tmp_path / "run").iterdir())


def test_what_was_signalled_before_ends_with_all_that_it_started(tmp_path: Path) -> None:
    child, started = _started(tmp_path)
    child.begin_to_end()
    child.process.wait(60)
    child.end()
    assert child.process.returncode == -signal.SIGTERM
    assert [one.is_running() for one in started] == [False, False]


def test_the_next_start_ends_what_a_killed_child_had_started(tmp_path: Path) -> None:
    child, started = _started(tmp_path)
    child.process.kill()
    child.process.wait()
    assert all(one.is_running() for one in started)
    end_remaining(tmp_path)
    assert [one.is_running() for one in started] == [False, False]


def test_the_start_of_a_copy_of_a_home_ends_nothing_of_the_original(tmp_path: Path) -> None:
    home, copy, moved = (tmp_path / name for name in ("home", "copy", "moved"))
    child = Child("sleeper", ["sleep", "60"], home, os.environ)
    shutil.copytree(home, copy)
    end_remaining(copy)
    assert child.process.poll() is None
    assert not list((copy / "run").iterdir())
    home.rename(moved)
    end_remaining(moved)
    child.process.wait(60)


@pytest.mark.parametrize(
    "text", ["", "1", "123 4.", "a b", "-1 2.0", "1 2.0 3", "9" * 40 + " 1.0 1:1", "\udcff"]
)
def test_a_file_of_a_child_that_was_cut_off_does_not_stop_the_next_start(tmp_path: Path, text: str) -> None:
    pid_file = tmp_path / "run" / "postgres.pid"
    pid_file.parent.mkdir()
    pid_file.write_text(text, errors="surrogateescape")
    end_remaining(tmp_path)
    assert not pid_file.exists()


def test_what_a_program_ended_with_at_its_start_is_said(tmp_path: Path) -> None:
    """Not what stood in its log before, and nothing of what a library writes behind it."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "short.log").write_text("KeyError: before\n")
    program = "import atexit; atexit.register(print, 'leaked'); raise ValueError('two of them')"
    child = Child("short", [sys.executable, "-c", program], tmp_path, os.environ)
    with pytest.raises(
        LocalError, match=r"short ended with code 1 at its start: ValueError: two of them\. See "
    ):
        child.wait_until(lambda: False)
    child.end()
    silent = Child("silent", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path, os.environ)
    with pytest.raises(LocalError, match=r"silent ended with code 3 at its start\. See "):
        silent.wait_until(lambda: False)
    silent.end()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("", ""),
        ("INFO: fine\nno error: it is running", ""),
        ("Traceback\npsycopg.OperationalError: gone\nleaked", "psycopg.OperationalError: gone"),
        (
            (
                '2026-11-28 13:00:00 UTC [7] LOG:  could not bind IPv4 address "127.0.0.1": Address already in use\n'
                "2026-11-28 13:00:00 UTC [7] FATAL:  could not create any TCP/IP sockets\n"
                "2026-11-28 13:00:00 UTC [7] LOG:  database system is shut down"
            ),
            "FATAL:  could not create any TCP/IP sockets",
        ),
        (
            "KeyError: 'a'\nIt ends with this error: ValueError: two of them (mine.py, line 3)\nValueError: of Dagster",
            "ValueError: two of them (mine.py, line 3)",
        ),
        (
            "[7] FATAL:  could not map shared memory\n[8] FATAL:  the database system is starting up",
            "FATAL:  could not map shared memory",
        ),
        (
            (
                "initdb: error: could not write the file: No space left on device\n"
                "initdb: removing contents of data directory"
            ),
            "error: could not write the file: No space left on device",
        ),
        ("2026/11/28 13:00:00 CRITICAL: Failed to s3: no listener", "CRITICAL: Failed to s3: no listener"),
    ],
)
def test_the_error_of_any_program_is_found_in_its_output(output: str, said: str) -> None:
    assert last_error(output) == said


def test_why_postgres_does_not_start_is_said(tmp_path: Path) -> None:
    """Its port is that of an outgoing connection, which does not listen."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        with pytest.raises(LocalError, match="at its start: FATAL:  could not create any TCP/IP sockets"):
            start_postgres(tmp_path, client.getsockname()[1], "user", "a-password", ())


def test_no_outgoing_connection_is_given_a_port_that_a_program_is_about_to_bind() -> None:
    outgoing = range(*map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()))
    if outgoing.start < 30_000:
        pytest.skip(
            f"SKIPPED LOUDLY: outgoing connections of this machine have ports from {outgoing.start} on"
        )
    assert not {free_port() for _ in range(20)} & {*outgoing}
