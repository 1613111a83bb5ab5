"""The processes that runs are: forks of one that has imported everything, which end with the code server."""

import inspect
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from dagster._grpc.server import DagsterApiServer

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
    server.wait()
    assert run.is_running(), "a run is not killed with its code server"
    (tmp_path / "end").touch()
    _, left = psutil.wait_procs([run, forked], timeout=60)
    assert not left


def test_dagsters_code_server_starts_runs_in_the_context_that_is_replaced() -> None:
    """Where an upgrade of Dagster does it otherwise, runs would be new interpreters again, and nothing would say so."""
    text = inspect.getsource(DagsterApiServer)
    assert text.count("self._mp_ctx = ") == 1
    assert "self._mp_ctx.Process(" in text
