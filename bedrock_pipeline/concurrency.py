"""Work that overlaps: reading ahead, and threads whose results keep their order.

What belongs here: streams with a bounded number of items in flight. Arrow, hashing and writing release the
interpreter's lock, so two cores are used without a second process. With the executor `system.inline` the caller's thread
does all of it.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Generic, ParamSpec, TypeVar

from bedrock_pipeline.system import ExecutorFactory, InlineExecutor, threads

_T = TypeVar("_T")
_R = TypeVar("_R")
_S = TypeVar("_S")
_P = ParamSpec("_P")
_END = object()
#: More would wait for what one thread does in order; each holds a batch.
_MOST_WORKERS: Final = 8
#: Requests to S3 that are under way together, where there are thousands: one takes tens of milliseconds, a copy a second.
REQUESTS_AT_ONCE: Final = 8
_CGROUP: Final = Path("/sys/fs/cgroup")


def workers_here(cgroup: Path = _CGROUP) -> int:
    """Threads for work that releases the interpreter's lock: by the cores that this process may use, 2 to 8."""
    quota = _cores_by_quota(cgroup)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, min(_MOST_WORKERS, cores if quota is None else min(cores, quota)))


def _cores_by_quota(cgroup: Path) -> int | None:
    """The cores that a container may use, rounded; None: no limit is known."""
    try:
        if (second := cgroup / "cpu.max").exists():
            quota, period = second.read_text().split()
        else:
            quota, period = (
                (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        return max(1, round(int(quota) / int(period))) if int(quota) > 0 else None
    except (OSError, ValueError):  # no cgroup, or "max"
        return None


def ahead(items: Iterator[_T], depth: int = 4, executor: ExecutorFactory = threads) -> Iterator[_T]:
    """The same items, read in a thread of their own, up to `depth` ahead of the caller."""
    end = object()
    with executor(1) as reader:
        pending: deque[Future[_T | object]] = deque()
        for _ in range(depth):
            pending.append(reader.submit(next, items, end))
        while (item := pending.popleft().result()) is not end:
            pending.append(reader.submit(next, items, end))
            yield item  # type: ignore[misc]  # not the end


def in_order(
    work: Callable[[_T], _R], items: Iterable[_T], workers: int, executor: ExecutorFactory = threads
) -> Iterator[_R]:
    """The results of `work`, done by several threads, in the order of the items."""
    with executor(workers, nice=True) as pool:
        pending: deque[Future[_R]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > workers + 3:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def for_each(
    work: Callable[[_T], object], items: Iterable[_T], workers: int, executor: ExecutorFactory = threads
) -> None:
    """Do `work` for every item, by several threads; when it ends, also by an error, none is under way any more."""
    for _ in in_order(work, items, workers, executor):
        pass


class Behind:
    """Runs calls in order in a thread of its own, at most `depth` calls behind the caller."""

    def __init__(self, depth: int = 8, executor: ExecutorFactory = threads) -> None:
        self._depth = depth
        self._pool = executor(1, nice=True)
        self._pending: deque[Future[object]] = deque()

    def do(self, work: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Add a call; an error of an earlier one is raised here or by `finish`."""
        self._pending.append(self._pool.submit(work, *args, **kwargs))
        if len(self._pending) > self._depth:
            self._pending.popleft().result()

    def finish(self) -> None:
        """Wait for all calls."""
        self._pool.shutdown()
        while self._pending:
            self._pending.popleft().result()


def in_turn(
    items: Iterator[_T],
    work: Callable[[_T], _R],
    then: Callable[[_R], Iterable[_S]],
    workers: int,
    executor: ExecutorFactory = threads,
) -> Generator[_S, None, None]:
    """What `then` yields, item by item in their order.

    While the caller works on a yielded value, `then` does not go on, as with a generator.

    Args:
        items: read by one thread at a time.
        work: done by several threads at a time.
        then: done by one thread at a time, in the order of the items, by the thread that did the work.
        workers: number of threads.
        executor: makes the threads.

    Raises:
        Exception: the first in the items' order that any of the three raised.
    """
    with executor(workers) as pool:
        if isinstance(pool, InlineExecutor):
            for item in items:
                yield from then(work(item))
            return
        turns = _Turns(items, work, then)
        for _ in range(workers):
            pool.submit(turns.run)
        try:
            yield from turns.given()
        finally:
            turns.stop()


class _StoppedError(Exception):
    """The caller has stopped reading."""


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Turns(Generic[_T, _R, _S]):
    def __init__(
        self, items: Iterator[_T], work: Callable[[_T], _R], then: Callable[[_R], Iterable[_S]]
    ) -> None:
        self._items = items
        self._work = work
        self._then = then
        self._taking = threading.Lock()
        self._taken = 0
        self._passing = threading.Condition()
        self._passed = 0
        self._stopped = False
        self._given: SimpleQueue[_S | _Failure | object] = SimpleQueue()
        self._requested = threading.Semaphore(0)

    def given(self) -> Iterator[_S]:
        """The yielded values, for the caller's thread."""
        while (value := self._given.get()) is not _END:
            if isinstance(value, _Failure):
                raise value.error
            yield value  # type: ignore[misc]  # neither end nor failure
            self._requested.release()

    def stop(self) -> None:
        """Let the threads end."""
        with self._passing:
            self._stopped = True
            self._passing.notify_all()
        self._requested.release()

    def run(self) -> None:
        """One thread's work."""
        number = 0
        try:
            while True:
                with self._taking:
                    number, self._taken = self._taken, self._taken + 1
                    item = next(self._items, _END)
                if item is _END:
                    break
                result = self._work(item)  # type: ignore[arg-type]  # not the end
                with self._turn(number):
                    for value in self._then(result):
                        self._give(value)
            with self._turn(number):
                self._given.put(_END)
        except _StoppedError:
            return
        except BaseException as error:  # the caller's thread raises it
            with suppress(_StoppedError), self._turn(number):
                self._given.put(_Failure(error))

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        """Wait until all earlier items are done; the next item's turn comes when this one succeeds."""
        with self._passing:
            self._passing.wait_for(lambda: self._stopped or self._passed == number)
            if self._stopped:
                raise _StoppedError
        yield
        with self._passing:
            self._passed += 1
            self._passing.notify_all()

    def _give(self, value: _S) -> None:
        self._given.put(value)
        self._requested.acquire()
        if self._stopped:
            raise _StoppedError
