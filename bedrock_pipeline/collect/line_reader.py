"""Lines of output as they are read: many complete lines in one buffer."""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

import numpy as np

from bedrock_pipeline.records.line_batch import Ends

#: Approximate bytes of a buffer; a longer line gets a larger one.
BUFFER_BYTES = 4_000_000
_LOOK_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Lines:
    """Complete lines in one buffer; the last may lack its newline.

    Attributes:
        data: the lines.
        ends: where each line ends in `data`, after its newline.
    """

    data: memoryview
    ends: Ends

    @classmethod
    def of(cls, data: memoryview) -> "Lines":
        """Find where lines end."""
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
        return cls(data, ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data)))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> bytes:
        return bytes(self.data[self.ends[number - 1] if number else 0 : self.ends[number]])

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))


def buffers(stream: BinaryIO) -> Iterator[memoryview]:
    """A stream as buffers of complete lines, without the byte order mark that an editor may have put before the first."""
    complete = _complete(stream)
    for first in islice(complete, 1):
        mark = len(BOM_UTF8) * (bytes(first[: len(BOM_UTF8)]) == BOM_UTF8)
        if len(first) > mark:
            yield first[mark:]
    yield from complete


def _complete(stream: BinaryIO) -> Iterator[memoryview]:
    rest = memoryview(b"")
    while True:
        # Twice the rest, so that a long line is not copied often.
        data = np.empty(2 * len(rest) + BUFFER_BYTES, np.uint8).data
        data[: len(rest)] = rest
        size = stream.readinto(data[len(rest) :])  # type: ignore[attr-defined]  # typing.BinaryIO lacks it
        if not size:
            break
        data = data[: len(rest) + size]
        end = _end_of_lines(data)
        if end:
            yield data[:end]
        rest = data[end:]
    if rest:
        yield rest


def _end_of_lines(data: memoryview) -> int:
    """Where the last complete line ends; 0 if there is none."""
    for stop in range(len(data), 0, -_LOOK_BYTES):
        start = max(0, stop - _LOOK_BYTES)
        if (found := bytes(data[start:stop]).rfind(b"\n")) >= 0:
            return start + found + 1
    return 0


def buffers_of(lines: Iterable[bytes]) -> Iterator[memoryview]:
    """Single lines as buffers; a missing newline is added."""
    waiting: list[bytes] = []
    size = 0
    for line in lines:
        waiting.append(line if line.endswith(b"\n") else line + b"\n")
        size += len(line)
        if size >= BUFFER_BYTES:
            yield memoryview(b"".join(waiting))
            waiting, size = [], 0
    if waiting:
        yield memoryview(b"".join(waiting))
