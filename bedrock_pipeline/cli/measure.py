"""How long a command worked and how much memory it took.

What belongs here: sampling this process and its children while they work.
"""

import threading
import time
from types import TracebackType
from typing import Self

import psutil

_SECONDS = 0.1


class Measured:
    """Seconds, and the most resident bytes of the process tree, of a block of code.

    Attributes:
        seconds: from the block's beginning to its end.
        peak_bytes: sampled ten times a second.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_bytes = 0
        self._end = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        import pandas  # noqa: F401, ICN001  # Arrow brings it in at its first conversion; starting is not what is timed

        self._began = time.perf_counter()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self._end.set()
        self._sampler.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_bytes = max(self.peak_bytes, _resident(process))
            if self._end.wait(_SECONDS):
                return


def _resident(process: psutil.Process) -> int:
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
