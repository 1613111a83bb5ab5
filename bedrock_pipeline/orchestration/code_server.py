"""Dagster's code server, whose runs begin at once: `python -P -m bedrock_pipeline.orchestration.code_server api grpc -m MODULE …`.

Dagster starts each run as a new interpreter, which imports Dagster, this package and the libraries of both again: five
seconds of a core, for runs that often work for one. Here a process that has imported them, and has done nothing since, is
forked for each run.
"""

import importlib
import multiprocessing
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any, Final, NoReturn

from bedrock_pipeline.local.endpoints import own_variables
from bedrock_pipeline.local.process import EXPLAINED

#: What every run imports. The code location itself, where it is a user's, is imported in each run: it may start threads.
_IMPORTED: Final = (
    "bedrock_pipeline.definitions",
    "dagster._core.execution.api",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "dagster_postgres",
)

_OURS: Final = str(Path(__file__).parents[1])
#: The most characters that are shown of what an error says.
_LONGEST: Final = 600


def _serve_forks(command: str, descriptors: Sequence[int]) -> NoReturn:
    """Be the process that is forked: `command` is what the standard library starts an interpreter with for this."""
    passed = sorted({0, 1, 2, *descriptors})
    # Above all the writing end of the pipe whose end shows that the code server has ended.
    for lower, upper in zip(passed, [*passed[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(lower + 1, upper)
    code = 1
    try:
        exec(command, {})  # noqa: S102  # the standard library's own text
        code = 0
    except SystemExit:  # so ends a server of forks
        code = 0
    except BaseException:  # a process that ends without a word cannot be explained
        traceback.print_exc()
    finally:
        os._exit(code)


def fork_runs() -> Any:
    """A context of `multiprocessing` whose processes are forks of this one as it is now; call it while there is one thread."""

    def fork(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:  # noqa: ARG001  # what it stands for has it
        if pid := os.fork():
            return pid
        # Runs start processes too, such as the steps of a job, in whatever way.
        util.spawnv_passfds = spawn
        forkserver._forkserver._lock.release()  # type: ignore[attr-defined]  # locked while its server is started
        _serve_forks(args[-1], passfds)

    spawn, util.spawnv_passfds = util.spawnv_passfds, fork
    try:
        forkserver.ensure_running()
    finally:
        util.spawnv_passfds = spawn
    return multiprocessing.get_context("forkserver")


def explained(error: BaseException) -> str:
    """An error of a user's module in one line: its kind, all that it says, and where in the user's code it was raised."""
    while error.__cause__ is not None and type(error).__module__.startswith("dagster."):
        error = error.__cause__
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(explained(one) for one in error.exceptions)
    texts = str(error), *getattr(error, "__notes__", ())
    lines = [line.partition(" [type=")[0].strip() for text in texts for line in text.splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith("For further information visit"))
    kind = "" if isinstance(error, SystemExit) else f"{type(error).__name__}: "
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if _is_users(frame)
    ]
    if isinstance(error, SyntaxError):
        said, frames = error.msg, [(str(error.filename), error.lineno)]
    place = f" ({Path(frames[-1][0]).name}, line {frames[-1][1]})" if frames else ""
    return f"{kind}{said}"[:_LONGEST] + place


def _is_users(frame: traceback.FrameSummary) -> bool:
    """Whether a line is one of the user's, and not of a library."""
    libraries = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not frame.filename.startswith(("<frozen", _OURS, *libraries))


def main() -> None:
    """Run `dagster` with the same arguments."""
    for name in _IMPORTED:
        importlib.import_module(name)
    # What a run starts would import this program, and with it all of the above, for nothing that it uses.
    program = sys.modules["__main__"]
    program.__spec__ = program.__file__ = None
    from dagster._cli import main as dagster
    from dagster._cli import utils
    from dagster._core.secrets.env_file import get_env_var_dict
    from dagster._grpc import server
    from dagster._utils.env import environ

    # Dagster would put a `.env` of the current folder over the environment that leads to this machine.
    of_file = own_variables(get_env_var_dict(str(Path.cwd())), os.environ)
    utils.get_env_var_dict = lambda base_dir: {}  # type: ignore[attr-defined]  # noqa: ARG005  # its argument has that name
    # Dagster removes the first entry while it imports a code location: it takes it for the folder of the script, but with -P it
    # can be one of PYTHONPATH.
    sys.path.insert(0, str(Path(sys.prefix, "no-folder-of-a-script")))
    sys.path.append(str(Path.cwd()))  # at the end: no file there stands for a library
    sys.argv[0] = "dagster"
    with environ(of_file):
        context = fork_runs()

        class Warm(server.DagsterApiServer):
            def __init__(self, *args: Any, **options: Any) -> None:
                try:
                    super().__init__(*args, **options)
                except BaseException as error:
                    print(f"{EXPLAINED}{explained(error)}", file=sys.stderr)  # noqa: T201  # into the log
                    raise
                self._mp_ctx = context

        Warm.__name__ = server.DagsterApiServer.__name__  # it stands in events of runs
        server.DagsterApiServer = Warm  # type: ignore[misc]  # Dagster has no option for it
        dagster()  # type: ignore[no-untyped-call]  # Dagster's


if __name__ == "__main__":
    main()
