"""Work that overlaps: reading ahead, and threads whose results keep their order.

What belongs here: streams with a bounded number of items in flight. Arrow, hashing and writing release the
interpreter's lock, so two cores are used without a second process.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Generic, ParamSpec, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")
_S = TypeVar("_S")
_P = ParamSpec("_P")
_NICE = 10
_END = object()


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


def in_turn(
    items: Iterator[_T], work: Callable[[_T], _R], then: Callable[[_R], Iterable[_S]], workers: int
) -> Generator[_S, None, None]:
    """What `then` gives, item by item in their order.

    While the caller has something that it was given, nothing is passed on, as with a generator.

    Args:
        items: asked by one thread at a time.
        work: done by several at a time.
        then: done by one at a time, in the order of the items, by the thread that did the work.
        workers: threads.

    Raises:
        Exception: the first in the items' order that any of the three raised.
    """
    turns = _Turns(items, work, then)
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(workers):
            pool.submit(turns.run)
        try:
            yield from turns.given()
        finally:
            turns.stop()


class _StoppedError(Exception):
    """Nobody wants more."""


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
        self._wanted = threading.Semaphore(0)

    def given(self) -> Iterator[_S]:
        """For the caller's thread."""
        while (one := self._given.get()) is not _END:
            if isinstance(one, _Failure):
                raise one.error
            yield one  # type: ignore[misc]  # neither end nor failure
            self._wanted.release()

    def stop(self) -> None:
        """Let the threads end."""
        with self._passing:
            self._stopped = True
            self._passing.notify_all()
        self._wanted.release()

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
                    for one in self._then(result):
                        self._give(one)
            with self._turn(number):
                self._given.put(_END)
        except _StoppedError:
            return
        except BaseException as error:  # the caller's thread raises it
            with suppress(_StoppedError), self._turn(number):
                self._given.put(_Failure(error))

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        """Wait until all earlier items are passed on; the next one's turn comes when this one succeeds."""
        with self._passing:
            self._passing.wait_for(lambda: self._stopped or self._passed == number)
            if self._stopped:
                raise _StoppedError
        yield
        with self._passing:
            self._passed += 1
            self._passing.notify_all()

    def _give(self, one: _S) -> None:
        self._given.put(one)
        self._wanted.acquire()
        if self._stopped:
            raise _StoppedError
