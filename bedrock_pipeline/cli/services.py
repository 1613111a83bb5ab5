"""The embedded stack together with Dagster's webserver and daemon, for `dev` and `demo`."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bedrock_pipeline.cli.output import console
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.local import Endpoints, environment_of_child
from bedrock_pipeline.local.extra import require_local
from bedrock_pipeline.local.home import LocalError, ui_path
from bedrock_pipeline.local.postgres import dagster_runs
from bedrock_pipeline.local.process import Child, check_port, free_port
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.settings import Settings

_DAGSTER_YAML = """\
# Written by bedrock-pipeline: Dagster's own storage in the embedded Postgres; the password comes by environment.
telemetry:
  enabled: false
nux:
  enabled: false
storage:
  postgres:
    postgres_db:
      hostname: {env: PGHOST}
      port: {env: PGPORT}
      username: {env: PGUSER}
      password: {env: PGPASSWORD}
      db_name: dagster
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
concurrency:
  runs:
    max_concurrent_runs: 4
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
sensors:
  use_threads: true
  num_workers: 4
retention:
  sensor:
    purge_after_days: {skipped: 1, success: 30}
"""
_WORKSPACE = """\
load_from:
  - grpc_server:
      socket: {socket}
      location_name: {module}
"""
#: Dagster's names for the states of runs that have not ended.
_WAITING: Final = ("QUEUED", "NOT_STARTED")
_WORKING: Final = ("STARTING", "STARTED", "CANCELING")
#: The most seconds that working runs get to finish at the end.
_WAIT_SECONDS: Final = 20.0
#: How often it is looked at whether all parts still run, in seconds.
_LOOK_S: Final = 1.0
#: What shells add to a signal's number in the exit code of who it ended.
_ENDED_BY: Final = 128
#: What the name of a socket can have: `sun_path`, less its end.
_LONGEST_SOCKET: Final = 107


@dataclass(frozen=True)
class Running:
    """What is running: a deployment on this machine, and the URL of Dagster's UI.

    Attributes:
        require_running: raises a LocalError, which names the log, if a part has ended by itself.
    """

    endpoints: Endpoints
    settings: Settings
    url: str
    require_running: Callable[[], None]


def emulator_options(speed: float, own_models: Sequence[str]) -> tuple[str, ...]:
    """The options of the emulator's program."""
    return ("--speed", str(speed), *(f"--model={one}" for one in own_models))


class StopEvent(threading.Event):
    """An event that a signal sets.

    Attributes:
        exit_code: of a process that the signal ends, as shells say it; 0 before.
        starting: whether what waits for it is still being started, which the first signal interrupts.
    """

    exit_code = 0
    starting = False

    def stopped_by(self, number: int) -> None:
        """Set it.

        Raises:
            KeyboardInterrupt: `starting`, at the first signal; a second one does not disturb the end.
        """
        is_first = not self.is_set()
        self.exit_code = _ENDED_BY + number
        self.set()
        if self.starting and is_first:
            raise KeyboardInterrupt

    def wait_while(self, require_running: Callable[[], None]) -> None:
        """Wait for it, as long as what is waited beside runs; raises what `require_running` raises."""
        while not self.wait(_LOOK_S):
            require_running()


def stop_event(*, starting: bool = False) -> StopEvent:
    """An event that SIGTERM and Ctrl-C set from now on, instead of ending the process."""
    stop = StopEvent()
    stop.starting = starting
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stop.stopped_by(number))
    return stop


@contextmanager
def running(
    home: Path,
    *,
    module: str,
    speed: float,
    poll_seconds: int,
    ui_port: int = 0,
    own_models: Sequence[str] = (),
    launch: Callable[[Deployment], None] | None = None,
) -> Iterator[Running]:
    """Everything on this machine, until the end of the block, whatever the environment of this process says.

    `home` is the folder that keeps everything, `module` the code location, `speed` how much faster than Bedrock jobs run,
    `own_models` what the emulator answers with besides its own. `launch` is called before Dagster starts, which then begins
    with what it requests; the sensors tick each second for whoever waits for that.

    Raises:
        MissingExtraError: the extra `local` is not installed.
        LocalError: a part does not start; names its log.
    """
    require_local()
    with ExitStack() as parts:
        wanted = check_port(ui_port, "--port") if ui_port else 0
        console.print("Starting Postgres, S3 and the Bedrock emulator…")
        config = StackConfig(home, emulator=emulator_options(speed, own_models))
        stack = parts.enter_context(Stack(config, prepare=make_ledger))
        dagster_home, path = home / "dagster", ui_path(home)
        dagster_home.mkdir(exist_ok=True)
        (dagster_home / "dagster.yaml").write_text(_DAGSTER_YAML)
        inside = {
            **environment_of_child(
                stack.endpoints, {name: os.environ[name] for name in os.environ if not _leads_dagster(name)}
            ),
            "DAGSTER_HOME": str(dagster_home),
            "DAGSTER_WEBSERVER_PATH_PREFIX": path,
            "BEDROCK_PIPELINE_HOME": str(home),
            "BEDROCK_PIPELINE_POLL_INTERVAL_S": str(poll_seconds),
            # Every process of this home has ended before it starts again, and the emulator's List does not lag.
            "BEDROCK_PIPELINE_LEASE_S": "15",
            "BEDROCK_PIPELINE_CONSISTENCY_WINDOW_S": "5",
            "BEDROCK_PIPELINE_CALL_TIMEOUT_S": "15",
        }
        settings = Settings.resolve(environment=inside)
        with open_deployment(settings) as deployment:
            unfinished = dagster_runs(stack.endpoints, _WAITING + _WORKING)
            if not unfinished:  # one that ended without having worked may have left its lease
                deployment.ledger.run_leases.expire([])
            if launch:
                launch(deployment)
        console.print("Starting Dagster's code server, daemon and UI…")
        if unfinished:
            _end_unfinished_runs(home, inside)
        daemon = "bedrock_pipeline.orchestration.frequent_daemon" if launch else "dagster._daemon"
        url, children = _start_dagster(parts, stack.endpoints, module, daemon, wanted, inside)
        if console.is_terminal:  # in a pipe, what `--json` prints is the last line
            parts.callback(console.print, "Ending what runs here; what was done is kept…")

        def require_running() -> None:
            stack.require_running()
            for child in children:
                child.require_running()

        yield Running(stack.endpoints, settings, url, require_running)


def make_ledger(endpoints: Endpoints) -> None:
    """Create or update the ledger's tables of an embedded stack."""
    with open_deployment(Settings.resolve(endpoints.settings())) as deployment:
        deployment.ledger.migrate()


def _leads_dagster(name: str) -> bool:
    """Whether a variable stands for an option of Dagster's programs, such as the file that is loaded; not for a timeout."""
    return name.startswith("DAGSTER_") and not name.endswith("_SECONDS")


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "bedrock_pipeline"


def _end_unfinished_runs(home: Path, inside: Mapping[str, str]) -> None:
    """In a process of its own: Dagster finds its storage by variables, which this process does not change."""
    child = Child(
        "runs", [sys.executable, "-P", "-m", "bedrock_pipeline.orchestration.unfinished_runs"], home, inside
    )
    try:
        code = child.process.wait()
    finally:
        child.end()
    if code:
        raise LocalError(
            f"The unfinished runs of Dagster could not be ended (code {code}).", f"See {child.log}."
        )


def _wait_for_runs(endpoints: Endpoints) -> None:
    """Let the runs that are working finish, at most this long."""
    deadline = time.monotonic() + _WAIT_SECONDS
    with suppress(LocalError):  # Postgres has ended, which is said already
        while dagster_runs(endpoints, _WORKING) and time.monotonic() < deadline:
            time.sleep(0.1)


def _start_dagster(
    parts: ExitStack, endpoints: Endpoints, module: str, daemon: str, port: int, inside: Mapping[str, str]
) -> tuple[str, list[Child]]:
    """The URL of the UI, and what was started."""
    children: list[Child] = []
    home = endpoints.home
    code_socket, workspace = _code_socket(parts, home), home / "dagster" / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(socket=json.dumps(str(code_socket)), module=module))

    dagster_home = Path(inside["DAGSTER_HOME"])
    # Only a user's own code is in the current folder; whatever else is there, Dagster's `.env` above all, is nothing to the rest.
    code_folder = dagster_home if _is_ours(module) else Path.cwd()

    def start(
        name: str, *command: str, cwd: Path = dagster_home, end_signal: signal.Signals = signal.SIGINT
    ) -> Child:
        child = Child(name, command, home, inside, end_signal=end_signal, cwd=cwd)
        parts.callback(child.end)
        children.append(child)
        return child

    # One code server for both, since each of its own would import the code once more.
    code = [
        "-P",
        "-m",
        "bedrock_pipeline.orchestration.code_server",
        "api",
        "grpc",
        "-m",
        module,
        "--socket",
        str(code_socket),
        "--location-name",
        module,
        "--working-directory",
        str(code_folder),
    ]
    # It has nothing to finish, and takes two seconds to end by itself. A user's code may have.
    end_signal = signal.SIGKILL if _is_ours(module) else signal.SIGINT
    started = start("code", sys.executable, *code, cwd=code_folder, end_signal=end_signal)
    started.wait_until(lambda: _accepts(code_socket))
    # After the daemon ended, before their code server does.
    parts.callback(_wait_for_runs, endpoints)
    daemon_child = start("daemon", sys.executable, "-P", "-m", daemon, "run", "-w", str(workspace))
    web = (sys.executable, "-P", "-m", "bedrock_pipeline.local.guarded_webserver", "-w", str(workspace))
    port = port or free_port()  # at the last moment: what is free now may be another program's in a minute
    path = inside["DAGSTER_WEBSERVER_PATH_PREFIX"]
    webserver = start("webserver", *web, "-h", "127.0.0.1", "-p", str(port))
    for child in (daemon_child, webserver):  # both at once, before either is waited for
        parts.callback(child.begin_to_end)
    webserver.wait_until(lambda: _answers(port, path))
    return f"http://127.0.0.1:{port}{path}", children


def _answers(port: int, path: str) -> bool:
    """Whether it is our UI that answers, and not another program at its port."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", f"{path}/server_info")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _code_socket(parts: ExitStack, home: Path) -> Path:
    """Where the code server is reached, by this user alone: at a port, everybody on this machine could run its jobs."""
    found = home / "dagster" / "code.sock"
    if len(os.fsencode(found)) > _LONGEST_SOCKET:
        found = Path(parts.enter_context(TemporaryDirectory(prefix="bedrock-pipeline-"))) / "code.sock"
    found.unlink(missing_ok=True)
    return found


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
