"""Child processes that do not outlive us."""

import contextlib
import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bedrock_pipeline.local.home import LocalError, write_private

if TYPE_CHECKING:
    import psutil

_PR_SET_PDEATHSIG = 1
_START_SECONDS = 180.0  # a machine may be busy with much else
_END_SECONDS = 20.0
_REMAINING_SECONDS = 5.0
#: Ports that systems do not give to outgoing connections unless they are set so: one could be there before a program binds it.
_PORTS: Final = range(20_000, 30_000)
_RANDOM: Final = random.SystemRandom()
#: The last line of a traceback, and how other programs begin what they end with; Postgres answers early clients so too.
_AN_ERROR: Final = re.compile(
    r"(?:^|\s)((?:FATAL|PANIC|CRITICAL): *(?! *the database system is starting up).*)"
    r"|^\w+: (error: .*)"
    r"|^([A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)\b.*)"
)
#: How a program of ours begins the line in which it says what it ends with.
EXPLAINED: Final = "It ends with this error: "
#: What a child's file says: its process, when that began, and its home.
_A_START: Final = re.compile(r"(\d{1,9}) (\d+\.\d+) (\d+:\d+)")
_MOST_LOG, _LONGEST_ERROR = 1_000_000, 300


def free_port() -> int:
    """A free port on loopback; until a program binds it, only another that looks for one could come by it."""
    for port in _RANDOM.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise LocalError(f"All ports from {_PORTS.start} to {_PORTS.stop - 1} are in use.", "End what uses them.")


def check_port(port: int, setting: str) -> int:
    """The port, or a free one for 0.

    Raises:
        LocalError: it is in use; names the setting.
    """
    if port == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalError(
                f"Port {port} is in use.", f"Choose another for {setting}, or 0 for a free one."
            ) from error
    return port


class Child:
    """A running program whose output goes to a log file in `home`, named after it.

    Its command has no secrets, since everybody can see them; `environment` is its whole environment, `end_signal` ends it
    cleanly, and `user` is the user and group to drop to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        home: Path,
        environment: Mapping[str, str],
        *,
        end_signal: signal.Signals = signal.SIGTERM,
        user: tuple[int, int] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.log = home / "logs" / f"{name}.log"
        self._pid_file = home / "run" / f"{name}.pid"
        self._end_signal = end_signal
        for folder in (self.log.parent, self._pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            self.process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,  # Ctrl-C in the terminal is ours to handle, in our order
                preexec_fn=_prepared(end_signal),  # before exec there is one thread
                user=user[0] if user else None,
                group=user[1] if user else None,
                extra_groups=[] if user else None,
            )
        import psutil  # here: Dagster's runs import this module, and start nothing

        self._begun = psutil.Process(self.process.pid).create_time()
        self._started: set[psutil.Process] | None = None  # what it had started when it was signalled to end
        write_private(self._pid_file, f"{self.process.pid} {self._begun} {_identity(home)}")

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for it to be ready; it is ended if it does not get so far.

        Raises:
            LocalError: it ended, or was not ready in time; names its log.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self.process.poll() is not None:
                self.end()
                said = f": {error}" if (error := last_error(self._since_start())) else "."
                raise LocalError(
                    f"{self.name} ended with code {self.process.returncode} at its start{said}",
                    f"See {self.log}.",
                )
            if time.monotonic() > deadline:
                self.end()
                raise LocalError(
                    f"{self.name} was not ready within {_START_SECONDS:.0f} s.", f"See {self.log}."
                )
            time.sleep(0.05)

    def require_running(self) -> None:
        """Check that it has not ended by itself.

        Raises:
            LocalError: it has; names its log.
        """
        code = self.process.poll()
        if code is not None:
            raise LocalError(
                f"{self.name} has ended with code {code}, and nothing works without it.",
                f"See {self.log}. The same command goes on from here.",
            )

    def begin_to_end(self) -> None:
        """Signal it to end, where several should end at the same time; `end` waits for it."""
        if self._started is None and self.process.poll() is None:
            self._started = _started_by(self.process.pid, self._begun)
            self.process.send_signal(self._end_signal)

    def end(self) -> None:
        """End it with all that it started, by force what does not listen."""
        self.begin_to_end()
        pid, begun = self.process.pid, self._begun
        started = self._started or set()
        if self.process.poll() is None:
            try:
                self.process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        _kill({*started, *_started_by(pid, begun)})
        self._pid_file.unlink(missing_ok=True)

    def _since_start(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return log.read(_MOST_LOG).decode(errors="replace")


def last_error(output: str) -> str:
    """The last error that a program names in its output, behind which there may be much else; "" if it names none."""
    lines = output.splitlines()
    for line in reversed(lines):
        if line.startswith(EXPLAINED):
            return line.removeprefix(EXPLAINED)
    for line in reversed(lines):
        if match := _AN_ERROR.search(line):
            return str(match[match.lastindex or 0])[:_LONGEST_ERROR]
    return ""


def end_remaining(home: Path) -> None:
    """End what a killed parent left running at this home, with all that it started."""
    import psutil

    left: set[psutil.Process] = set()
    for pid_file in (home / "run").glob("*.pid"):
        recorded = _A_START.fullmatch(pid_file.read_text(errors="replace"))
        # What was cut off, by a full disk, names nobody; and what was copied with a home, none of its own.
        if recorded and recorded[3] == _identity(home):
            pid, begun = int(recorded[1]), float(recorded[2])
            left |= _started_by(pid, begun)
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if abs(process.create_time() - begun) < 1:  # else the number was given to another process
                    left.add(process)
                    process.send_signal(signal.SIGINT if pid_file.stem == "postgres" else signal.SIGTERM)
        pid_file.unlink(missing_ok=True)
    _, stubborn = psutil.wait_procs(left, timeout=_REMAINING_SECONDS)
    _kill(stubborn)


def _identity(home: Path) -> str:
    """What a home does not share with its copy; it stays where the home is moved, within its file system."""
    found = home.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _started_by(pid: int, begun: float) -> "set[psutil.Process]":
    """The descendants of a child that began at this time, and what is left of its session after it ended."""
    import psutil

    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        if abs(child.create_time() - begun) >= 1:
            return found  # the number was given to another process, so that nothing is left of the session
        found |= {*child.children(recursive=True)}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if process.pid != pid and os.getsid(process.pid) == pid:
                found |= {process, *process.children(recursive=True)}
    return found


def _kill(processes: "Iterable[psutil.Process]") -> None:
    """Kill what still runs of these, and wait until it has ended."""
    import psutil

    left = list(processes)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_REMAINING_SECONDS)


def _prepared(end_signal: signal.Signals) -> Callable[[], None]:
    """What a child does before it becomes the program: see to it that signals reach it, and what it starts.

    A shell's background process ignores SIGINT, and its children would with it; Dagster's would ignore SIGTERM too, to
    which it gives what SIGINT has. Linux signals a child when its parent has died; elsewhere the next start ends it
    (`end_remaining`).
    """
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None
    parent = os.getpid()

    def prepare() -> None:
        for one in {signal.SIGINT, signal.SIGTERM, end_signal} - {signal.SIGKILL}:
            signal.signal(one, signal.SIG_DFL)
        if libc:
            libc.prctl(_PR_SET_PDEATHSIG, int(end_signal))
            if os.getppid() != parent:  # it died in between
                os.kill(os.getpid(), signal.SIGKILL)

    return prepare
