"""JSON text as Python values: quickly where it is plain, and without loss where it is not.

NaN and the infinities, which JSON does not have but many programs write, are null; half of a surrogate pair is the
replacement character; a number beyond a float's range stays text; an integer of any size stays what it is.
"""

import codecs
import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

_DIGITS = bytes(ord("0") if chr(code).isdigit() and code < 128 else code for code in range(256))
_LONG = b"0" * 19  # more digits than every 64-bit integer has for certain
_MOST_DIGITS = 4000  # Python reads no longer integers
_CHUNK = 1 << 20
_SPACE = " \t\r\n"

#: Names of the rules that were applied, for a report.
NOT_A_NUMBER, HALF_PAIR = "NaN or Infinity was read as null", "half of a surrogate pair was replaced"


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


class JsonText:
    """Reads JSON, and counts where a value is not plain JSON."""

    def __init__(self) -> None:
        self.applied: Counter[str] = Counter()
        self._decoder = json.JSONDecoder(
            parse_constant=self._constant, parse_float=_float, parse_int=_int, strict=False
        )

    def value(self, text: bytes) -> Any:
        """The value of a text.

        Raises:
            NotJsonError: it is not JSON.
        """
        if _LONG not in text.translate(_DIGITS):
            try:
                return orjson.loads(text)
            except orjson.JSONDecodeError:
                pass
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            raise NotJsonError("is not UTF-8") from None
        decoded = decoded.strip(_SPACE)
        try:
            value, end = self._decoder.raw_decode(decoded)
        except (ValueError, RecursionError):
            raise NotJsonError("is not JSON") from None
        if end < len(decoded):
            raise NotJsonError("is not JSON")
        return self._whole(value)

    def values(self, stream: BinaryIO) -> Iterator[tuple[Any, int]]:
        """The values of a document with their sizes: the elements of an array, or values one after the other.

        Raises:
            NotJsonError: it is not JSON; the message says after which value.
        """
        buffer = _Buffer(stream)
        array = buffer.next_character() == "["
        count = 0
        if array:
            buffer.skip(1)
        while (first := buffer.next_character()) and not (array and first == "]"):
            if array and count:
                if first != ",":
                    raise NotJsonError(f"is not JSON after value {count}")
                buffer.skip(1)
                buffer.next_character()
            value, size = self._next(buffer, count)
            count += 1
            yield self._whole(value), size
        if array and not first:
            raise NotJsonError(f"ends within an array after value {count}")

    def _next(self, buffer: "_Buffer", count: int) -> tuple[Any, int]:
        while True:
            try:
                value, end = self._decoder.raw_decode(buffer.text)
            except (ValueError, RecursionError):
                end = len(buffer.text)
            # A number at the end of what is read so far may go on.
            if end < len(buffer.text) or not buffer.more():
                break
        try:
            value, end = self._decoder.raw_decode(buffer.text)
        except (ValueError, RecursionError):
            raise NotJsonError(f"is not JSON after value {count}") from None
        buffer.skip(end)
        return value, end

    def _constant(self, _: str) -> None:
        self.applied[NOT_A_NUMBER] += 1

    def _whole(self, value: Any) -> Any:
        """A value without halves of surrogate pairs."""
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                self.applied[HALF_PAIR] += 1
                return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return value
        if isinstance(value, dict):
            return {self._whole(key): self._whole(item) for key, item in value.items()}
        return [self._whole(item) for item in value] if isinstance(value, list) else value


class _Buffer:
    """The text of a document from some place on; more is read when it is needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self.text = ""

    def more(self) -> bool:
        """Read further, each time twice as much as there is; False at the end."""
        data = self._stream.read(max(_CHUNK, len(self.text)))
        try:
            self.text += self._decoder.decode(data, not data)
        except UnicodeDecodeError:
            raise NotJsonError("is not UTF-8") from None
        return bool(data)

    def next_character(self) -> str:
        """The next character that is no space, which then is the first; empty at the end."""
        while True:
            self.text = self.text.lstrip(_SPACE)
            if self.text or not self.more():
                return self.text[:1]

    def skip(self, count: int) -> None:
        """Leave out characters."""
        self.text = self.text[count:]


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) < _MOST_DIGITS else text
