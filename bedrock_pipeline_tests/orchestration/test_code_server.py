"""The processes that runs are: forks of one that has imported everything, which end with the code server."""

import importlib
import inspect
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dagster._core.errors import DagsterUserCodeLoadError
from dagster._grpc.server import DagsterApiServer

from bedrock_pipeline.orchestration.code_server import explained

_SERVER = """
import os, sys, time
from pathlib import Path
import bedrock_pipeline
from bedrock_pipeline.orchestration import code_server

def run(folder):
    opened = {os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")}
    print("run", os.getpid(), bedrock_pipeline.mark, f"{folder}/open" in opened, flush=True)
    while not Path(folder, "end").exists():
        time.sleep(0.05)

if __name__ == "__main__":
    folder = sys.argv[1]
    mine = open(f"{folder}/open", "w")
    bedrock_pipeline.mark = "forked"
    context = code_server.fork_runs()
    bedrock_pipeline.mark = "too-late"
    process = context.Process(target=run, args=(folder,))
    process.start()
    process.join()
"""


_STEPS = """
import multiprocessing
import tempfile
import dagster as dg
from bedrock_pipeline.orchestration import code_server

@dg.op
def work():
    print("step ran", flush=True)

@dg.job(executor_def=dg.multiprocess_executor.configured({"start_method": METHOD}))
def steps():
    work()

def run():
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        done = dg.execute_job(dg.reconstructable(steps), instance=instance)
        print("success", done.success, flush=True)

def fail():
    raise ValueError("what it says")

if __name__ == "__main__":
    context = code_server.fork_runs()
    for work_of_run in run, fail:
        process = context.Process(target=work_of_run)
        process.start()
        process.join()
        print("exit code", process.exitcode, flush=True)
"""


@pytest.mark.parametrize("method", ["{'spawn': {}}", "{'forkserver': {}}"])
def test_a_run_starts_processes_for_its_steps_and_says_what_it_ends_with(tmp_path: Path, method: str) -> None:
    """As Dagster's own executor does, for assets that set none."""
    script = tmp_path / "steps.py"
    script.write_text(_STEPS.replace("METHOD", method))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=300)
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines == ["step ran", "success True", "exit code 0", "exit code 1"], done.stderr
    assert "ValueError: what it says" in done.stderr


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_runs_are_forks_of_a_process_that_ends_after_the_code_server(
    tmp_path: Path, end: signal.Signals
) -> None:
    script = tmp_path / "server.py"
    script.write_text(_SERVER)
    server = subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    title, pid, *seen = server.stdout.readline().split()
    assert (title, seen) == ("run", ["forked", "False"]), "what was imported is there, what was open is not"
    run = psutil.Process(int(pid))
    forked = run.parent()
    assert forked is not None
    assert forked.ppid() == server.pid, "it is not the code server that is forked, which has threads"
    server.send_signal(end)
    server.wait(60)
    assert run.is_running(), "a run is not killed with its code server"
    (tmp_path / "end").touch()
    _, left = psutil.wait_procs([run, forked], timeout=60)
    assert not left


def test_dagsters_code_server_starts_runs_in_the_context_that_is_replaced() -> None:
    """Where an upgrade of Dagster does it otherwise, runs would be new interpreters again, and nothing would say so."""
    text = inspect.getsource(DagsterApiServer)
    assert text.count("self._mp_ctx = ") == 1
    assert "self._mp_ctx.Process(" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = (", "SyntaxError: '(' was never closed (mine.py, line 1)"),
        ("\ndef f():\n    return {}['a']\nf()", "KeyError: 'a' (mine.py, line 3)"),
        (
            "raise ValueError('first\\n\\nsecond: what to do')",
            "ValueError: first second: what to do (mine.py, line 1)",
        ),
        ("import sys; sys.exit('no configuration')", "no configuration (mine.py, line 1)"),
        ("raise ExceptionGroup('two', [ValueError('a'), TypeError('b')])", "ValueError: a; TypeError: b"),
        (
            "try:\n    open('/nothing')\nexcept OSError as error:\n    raise RuntimeError('no file') from error",
            "RuntimeError: no file (mine.py, line 4)",
        ),
        (
            "error = KeyError('A'); error.add_note('Set the variable.'); raise error",
            "KeyError: 'A' Set the variable. (mine.py, line 1)",
        ),
        (
            "import pydantic\nclass A(pydantic.BaseModel):\n    x: int\n    y: int\nA(x='secret')",
            (
                "ValidationError: 2 validation errors for A x Input should be a valid integer, unable to parse string as an "
                "integer y Field required (mine.py, line 5)"
            ),
        ),
        ("import absent_library", "ModuleNotFoundError: No module named 'absent_library' (mine.py, line 1)"),
    ],
)
def test_an_error_of_a_users_module_is_said_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """Not Dagster's, which is raised from it."""
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises((Exception, SystemExit)) as caught:
        importlib.import_module("mine")
    assert explained(caught.value) == said
    if isinstance(raised := caught.value, Exception):
        info = type(raised), raised, raised.__traceback__
        outer: Exception = DagsterUserCodeLoadError(  # type: ignore[no-untyped-call]  # Dagster's
            "Error occurred", user_exception=raised, original_exc_info=info
        )
        outer.__cause__ = raised
        assert explained(outer) == said
