"""Work that overlaps: reading ahead, and several threads whose results keep their order.

What belongs here: streams with a bounded number of items in flight. Arrow, Polars, hashing and writing let other
threads run meanwhile, so that two cores are used without a second process.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
_P = ParamSpec("_P")
_NICE = 10


def ahead(items: Iterator[_T], depth: int = 4) -> Iterator[_T]:
    """The same items, taken in a thread of their own, up to `depth` before they are asked for."""
    end = object()
    with ThreadPoolExecutor(1) as reader:
        pending: deque[Future[_T | object]] = deque()
        for _ in range(depth):
            pending.append(reader.submit(next, items, end))
        while (item := pending.popleft().result()) is not end:
            pending.append(reader.submit(next, items, end))
            yield item  # type: ignore[misc]  # not the end


def in_order(work: Callable[[_T], _R], items: Iterable[_T], workers: int) -> Iterator[_R]:
    """The results of `work`, done by so many threads, in the order of the items."""
    with ThreadPoolExecutor(workers, initializer=_yield_to_others) as pool:
        pending: deque[Future[_R]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > workers + 3:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


class Behind:
    """Work that a thread of its own does in order, at most `depth` pieces behind whoever asks for it."""

    def __init__(self, depth: int = 8) -> None:
        self._depth = depth
        self._pool = ThreadPoolExecutor(1, initializer=_yield_to_others)
        self._pending: deque[Future[object]] = deque()

    def do(self, work: Callable[_P, object], *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Ask for a piece of work; an error of an earlier one is raised here or at `finish`."""
        self._pending.append(self._pool.submit(work, *args, **kwargs))
        if len(self._pending) > self._depth:
            self._pending.popleft().result()

    def finish(self) -> None:
        """Wait for all of it."""
        self._pool.shutdown()
        while self._pending:
            self._pending.popleft().result()


def _yield_to_others() -> None:
    """Helpers give way to whoever reads or writes, for whom everybody waits; only Linux has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
