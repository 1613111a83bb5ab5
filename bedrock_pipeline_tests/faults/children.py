"""Child processes of the tests, each forked from a server that has a single thread.

A fork of pytest's own process copies one thread and the locks that the others hold at that moment, for instance
OpenSSL's while they connect to Postgres; the child then waits for ever for a thread that it does not have. So no test
calls `os.fork`: multiprocessing's server, which runs nothing but `preload.py`, forks for all of them.
"""

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import psutil

from bedrock_pipeline_tests.waiting import PATIENCE_S

_PRELOAD: Final = "bedrock_pipeline_tests.faults.preload"
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([_PRELOAD])
#: Libraries that start threads when they are imported, and the variables that prevent it.
_NO_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def start_child(act: Callable[[], object], log: Path) -> BaseProcess:
    """Begin to act in a process of its own, which has this process's environment and ends with it at the latest.

    Args:
        act: a function of a module, or a `partial` of one; it and its values are pickled.
        log: where the traceback goes if it raises.
    """
    with _changed(_NO_THREADS):
        forkserver.ensure_running()
    child = _CONTEXT.Process(target=_act, args=(act, dict(os.environ), log), daemon=True)
    child.start()
    return child


def exit_code(child: BaseProcess) -> int:
    """Wait for the end; 0, 1 after an exception, or the negative number of the signal that ended it."""
    child.join()  # pytest's own limit for the test ends what hangs
    code = child.exitcode
    assert code is not None
    child.close()
    return code


def is_stopped(child: BaseProcess) -> bool:
    """Wait until it is stopped by a signal, or has ended; True if it is stopped."""
    deadline = time.monotonic() + PATIENCE_S
    while child.is_alive():
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if psutil.Process(child.pid).status() == psutil.STATUS_STOPPED:
                return True
        assert time.monotonic() < deadline, "a child process neither stops nor ends"
        time.sleep(0.005)
    return False


def _act(act: Callable[[], object], environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    try:
        assert _PRELOAD in sys.modules, (
            "the server could not import it: each child would load everything again"
        )
        act()
    except BaseException:
        log.write_text(traceback.format_exc())
        raise


@contextmanager
def _changed(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]
