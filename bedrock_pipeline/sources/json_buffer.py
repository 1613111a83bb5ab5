"""Where JSON values that follow one another end, without reading them: in linear time, with one value in memory."""

import re
from typing import BinaryIO, Final

from bedrock_pipeline.sources.source import LONGEST_RECORD

_CHUNK: Final = 1 << 20
_SPACES: Final = re.compile(rb"[ \t\r\n]*+")
#: A string that may stay open; like all of these it never goes back.
OPEN_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+'
#: A string.
STRING: Final = OPEN_STRING + rb'"'
# What lies before the next bracket: whole strings, so that no bracket within one counts.
_OUTSIDE: Final = re.compile(rb'[^"{}\[\]]*+(?:' + STRING + rb'[^"{}\[\]]*+)*+', re.DOTALL)
_SCALAR: Final = re.compile(STRING + rb'|[^\s"{}\[\],]++', re.DOTALL)
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_NO_BRACKET: Final = re.compile(rb'[^"{}\[\]]*+')
_FIRST_KEY: Final = re.compile(rb'\{\s*+"[^"\\]{0,100}+"')


class JsonBuffer:
    """The bytes of a stream from some place on; more is read when it is needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._data = b""
        self.at = 0
        self._close = -1  # of the value before
        self._size = 0
        self._separator = b""

    def next_byte(self) -> bytes:
        """The next byte that is no space, which then is at `at`; empty at the end."""
        while True:
            self.at = _end(_SPACES, self._data, self.at)
            if self.at < len(self._data) or not self._more():
                return self._data[self.at : self.at + 1]

    def guess(self) -> bytes:
        """Probably the text of the value at `at`, if it is quickly found; empty if not.

        If it begins with a bracket and is JSON, then it is the value: no JSON object is the beginning of another.
        """
        if not self._separator and self._close >= 0:
            key = _FIRST_KEY.match(self._data, self.at)
            self._separator = self._data[self._close : key.end()] if key else b""
        if not self._separator:
            return b""
        end = self._data.find(self._separator, self.at + 1, self.at + 4 * self._size + 4096)
        return self._data[self.at : end + 1] if end >= 0 else b""

    def value(self) -> bytes | None:
        """The text of the value at `at`; if it is none, what is there up to the next one, or to the end.

        Returns:
            None for a value that is longer than `LONGEST_RECORD`, if it ends; it was passed over.
        """
        self._separator = b""  # a guess failed
        if self._data[self.at : self.at + 1] not in (b"{", b"["):
            return self._scalar()
        size, depth = 0, 0
        while True:
            end = _end(_OUTSIDE, self._data, self.at + size)
            size = end - self.at
            byte = self._data[end : end + 1]
            if byte in (b"", b'"'):  # the text, or a string, goes on
                if len(self._data) - self.at > LONGEST_RECORD:
                    self.at = end
                    return None if self._pass_over(depth) else b""
                if not self._more():
                    return self._data[self.at :]
                continue
            depth += 1 if byte in (b"{", b"[") else -1
            size += 1
            if not depth:
                return self._bounded(self.at + size)

    def take(self, text: bytes) -> None:
        """Go behind the value at `at`."""
        self.at += len(text)
        self._close, self._size = self.at - 1, len(text)

    def _pass_over(self, depth: int) -> bool:
        """Go behind a value, from a place that is outside of its strings on, and forget it on the way; whether it ends."""
        within, self._close = False, -1
        while True:
            self.at = _end(_IN_STRING if within else _NO_BRACKET, self._data, self.at)
            byte = self._data[self.at : self.at + 1]
            if byte in (b"", b"\\"):
                if not self._more():
                    return False
                continue
            self.at += 1
            if byte == b'"':
                within = not within
            elif not within:
                depth += 1 if byte in (b"{", b"[") else -1
            if not depth and not within:
                return True

    def _scalar(self) -> bytes | None:
        """A value without brackets, which may go on where what was read ends."""
        while True:
            end = _end(_SCALAR, self._data, self.at)
            is_open = end == self.at and self._data[end : end + 1] == b'"'
            if len(self._data) - self.at > LONGEST_RECORD and (is_open or end == len(self._data)):
                return None if is_open and self._pass_over(0) else b""
            if not (is_open or end == len(self._data)) or not self._more():
                break
        return self._bounded(max(_end(_SCALAR, self._data, self.at), self.at + 1))

    def _bounded(self, end: int) -> bytes | None:
        """The text up to an end; None if it is too long, which then was passed over."""
        if end - self.at <= LONGEST_RECORD:
            return self._data[self.at : end]
        self.at, self._close = end, -1
        return None

    def _more(self) -> bool:
        """Forget what is behind and read further, each time twice as much as is left; False at the end."""
        data = self._stream.read(max(_CHUNK, len(self._data) - self.at))
        self._data, self.at, self._close = self._data[self.at :] + data, 0, -1
        return bool(data)


def _end(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    found = pattern.match(data, start)
    return found.end() if found else start
