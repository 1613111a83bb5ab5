"""JSON text as Python values: quickly where it is plain, and without loss where it is not.

NaN and the infinities, which JSON does not have but many programs write, are null; half of a surrogate pair is the
replacement character; a number beyond a float's range stays as it is written, and by itself is text; an integer of any size
stays what it is.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import orjson

from bedrock_pipeline.sources.json_buffer import OPEN_STRING, JsonBuffer
from bedrock_pipeline.sources.source import LONGEST_RECORD, MOST_VALUES

_DIGITS = bytes(ord("0") if chr(code).isdigit() and code < 128 else code for code in range(256))
_LONG = b"0" * 19  # more digits than every 64-bit integer has for certain
_MOST_DIGITS = 4000  # Python reads no longer integers
_MOST_LEVELS = 250  # of nesting that the library writes
_SPACE = " \t\r\n"
# A string that is not closed goes to the end: nothing in it is looked at again.
_STRING = re.compile(OPEN_STRING + rb'"?+', re.DOTALL)
_STRING_OR_BRACKET = re.compile(_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)
#: What stands before each value but the outermost, or behind each name.
_MARKS = (b",", b":", b"[", b"{")
_NOT_PLAIN = object()

#: Names of the rules that were applied, for a report.
NOT_A_NUMBER, HALF_PAIR = "NaN or Infinity was read as null", "half of a surrogate pair was replaced"
TOO_LARGE = "a number beyond the range of floats was read as text"


class Unheld(str):
    """A number beyond a float's range, as it is written."""

    __slots__ = ()


class NotJsonError(ValueError):
    """A text is not JSON; the message says why."""


class UnreadableError(NotJsonError):
    """A text ends where it seems to, but is not read; the message says why."""


class Unread(str):
    """Stands for a value that was passed over: why."""

    __slots__ = ()


class JsonText:
    """Reads JSON, and counts where a value is not plain JSON."""

    def __init__(self) -> None:
        self.applied: Counter[str] = Counter()
        self._decoder = json.JSONDecoder(
            parse_constant=self._constant, parse_float=self._float, parse_int=_int, strict=False
        )

    def value(self, text: bytes) -> Any:
        """The value of a text.

        Raises:
            NotJsonError: it is not JSON, has more values than a record may have, or is nested too deeply to be written again.
        """
        if _has_many(text):
            raise UnreadableError(f"has more than {MOST_VALUES} values")
        return self._read(text)

    def values(self, stream: BinaryIO) -> Iterator[tuple[Any, int]]:
        """The values of JSON texts that follow one another, with their sizes; of an array its elements.

        One that is not read although its end is known is `Unread`; whether it is JSON is not looked at.

        Raises:
            NotJsonError: it is not JSON; the message says after which value.
        """
        buffer = JsonBuffer(stream)
        count, within, first = 0, False, True
        while byte := buffer.next_byte():
            if byte == b"]" and within:
                within = False
                buffer.at += 1
                continue
            if within and not first:
                if byte != b",":
                    raise NotJsonError(f"is not JSON after value {count}")
                buffer.at += 1
                byte = buffer.next_byte()
            if byte == b"[" and not within:
                within = first = True
                buffer.at += 1
                continue
            text = buffer.guess()
            value = self._plain(text) if text and not _has_many(text) else _NOT_PLAIN
            if value is _NOT_PLAIN:
                whole = buffer.value()
                if whole is None:
                    count, first = count + 1, False
                    yield Unread(f"is longer than {LONGEST_RECORD} bytes"), 0
                    continue
                text = whole
                try:
                    value = self.value(text)
                except NotJsonError as error:
                    if not isinstance(error, UnreadableError) or text[:1] not in (b"{", b"["):
                        raise NotJsonError(f"{error} after value {count}") from None
                    value = Unread(error)
            buffer.take(text)
            count, first = count + 1, False
            yield value, len(text)
        if within:
            raise NotJsonError(f"ends within an array after value {count}")

    def _read(self, text: bytes) -> Any:
        value = self._plain(text)
        if value is not _NOT_PLAIN:
            return value
        if _levels(text) > _MOST_LEVELS:
            raise UnreadableError(f"is nested more than {_MOST_LEVELS} levels deep")
        try:
            decoded = text.decode()
        except UnicodeDecodeError:
            raise UnreadableError("is not UTF-8") from None
        decoded = decoded.strip(_SPACE)
        try:
            value, end = self._decoder.raw_decode(decoded)
        except (ValueError, RecursionError):
            raise NotJsonError("is not JSON") from None
        if end < len(decoded):
            raise NotJsonError("is not JSON")
        return self._whole(value)

    def _plain(self, text: bytes) -> Any:
        """The value of a text that is read quickly without loss; `_NOT_PLAIN` for any other text."""
        if _LONG in text.translate(_DIGITS) or text.count(b"[") + text.count(b"{") > _MOST_LEVELS:
            return _NOT_PLAIN
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return _NOT_PLAIN

    def _constant(self, _: str) -> None:
        self.applied[NOT_A_NUMBER] += 1

    def _float(self, text: str) -> float | Unheld:
        number = float(text)
        if math.isfinite(number):
            return number
        self.applied[TOO_LARGE] += 1
        return Unheld(text)

    def _whole(self, value: Any) -> Any:
        """A value without halves of surrogate pairs."""
        if type(value) is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                self.applied[HALF_PAIR] += 1
                return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return value
        if isinstance(value, dict):
            return {self._whole(key): self._whole(item) for key, item in value.items()}
        return [self._whole(item) for item in value] if isinstance(value, list) else value


def _has_many(text: bytes) -> bool:
    """Whether a text has more than `MOST_VALUES` values and names, by what stands outside of its strings."""
    if len(text) <= MOST_VALUES or sum(map(text.count, _MARKS)) <= MOST_VALUES:
        return False
    marks = end = 0
    for strings, found in enumerate(_STRING.finditer(text)):
        marks += sum(text.count(mark, end, found.start()) for mark in _MARKS)
        end = found.end()
        if max(marks, strings) > MOST_VALUES:
            return True
    return marks + sum(text.count(mark, end) for mark in _MARKS) > MOST_VALUES


def _levels(text: bytes) -> int:
    level = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        found = match[0]
        if found in (b"[", b"{"):
            level += 1
            deepest = max(deepest, level)
        elif found in (b"]", b"}"):
            level -= 1
    return deepest


def _int(text: str) -> int | Unheld:
    return int(text) if len(text) < _MOST_DIGITS else Unheld(text)


def json_of(value: Any) -> str:
    """JSON of a value that was read here: its keys in their order, its numbers whole."""
    try:
        return orjson.dumps(value, default=_fragment, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    except orjson.JSONEncodeError:  # integers beyond 64 bits
        return orjson.dumps(_with_fragments(value)).decode()


def _with_fragments(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_fragments(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_fragments(item) for item in value]
    return _fragment(value) if type(value) in (int, Unheld) else value


def _fragment(value: object) -> orjson.Fragment:
    return orjson.Fragment(str(value))
