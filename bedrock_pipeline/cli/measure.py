"""Duration and peak memory of a command: this process's high-water mark, and samples of its children."""

import resource
import sys
import threading
import time
from typing import Self

import psutil

# Seconds between samples: finding children reads every process of the machine.
_SECONDS = 1.0


class Measured:
    """Duration and peak resident memory of a block of code.

    Attributes:
        seconds: from the beginning of the block to its end.
        peak_bytes: the system's high-water mark of this process since its start, and the largest sum of its children's
            resident bytes, sampled once a second.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.peak_bytes = 0
        self._of_children = 0
        self._end = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        import pandas  # noqa: F401, ICN001  # Arrow imports it at its first conversion; that is not part of the measurement

        self._began = time.perf_counter()
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._end.set()
        self._sampler.join()
        unit = 1 if sys.platform == "darwin" else 1024
        self.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + self._of_children

    def _sample(self) -> None:
        while not self._end.wait(_SECONDS):
            self._of_children = max(self._of_children, _resident_children())


def _resident_children() -> int:
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
