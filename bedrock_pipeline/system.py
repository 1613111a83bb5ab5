"""Ids, randomness, time and threads.

What belongs here: the only place that takes them from the operating system. All other code receives a `System`, so that
a test can repeat a run exactly.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ParamSpec, Protocol, TypeVar
from uuid import UUID, uuid4

_T = TypeVar("_T")
_P = ParamSpec("_P")
_NICE = 10


class ExecutorFactory(Protocol):
    """Makes an executor."""

    def __call__(self, workers: int, *, nice: bool = False) -> Executor:
        """Make an executor.

        Args:
            workers: number of threads.
            nice: whether they give way to other threads of the process.
        """


def threads(workers: int, *, nice: bool = False) -> Executor:
    """An executor with threads."""
    return ThreadPoolExecutor(workers, initializer=_lower_priority if nice else None)


def inline(workers: int, *, nice: bool = False) -> Executor:  # noqa: ARG001  # an ExecutorFactory
    """An executor that runs each call at once, in the thread that submits it."""
    return InlineExecutor()


class InlineExecutor(Executor):
    """Runs each call at once, in the thread that submits it."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run a call; its error is raised by the future."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def start_thread(name: str, work: Callable[[], None]) -> Callable[[], None]:
    """Run `work` in a daemon thread; returns a function that waits for its end."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread.join


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


@dataclass(frozen=True)
class System:
    """What a process takes from the operating system besides files and sockets.

    Attributes:
        new_id: makes a UUID.
        rng: the jitter of waits.
        now: the time of day, in UTC.
        monotonic: seconds of a clock that never goes back.
        sleep: waits for seconds.
        executor: makes executors for work that overlaps. Arrow reads parquet files in threads of its own.
        start: starts a background task of this name; returns a function that waits for its end.
    """

    new_id: Callable[[], UUID] = uuid4
    rng: random.Random = field(default_factory=random.Random)
    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    executor: ExecutorFactory = threads
    start: Callable[[str, Callable[[], None]], Callable[[], None]] = start_thread


SYSTEM = System()
