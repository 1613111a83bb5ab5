"""JSON files: one object on each line, an array of objects, or one object."""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, pairwise
from typing import Any, BinaryIO, Final, cast

import pyarrow as pa

from bedrock_pipeline.records.rejections import Rejection
from bedrock_pipeline.sources.errors import InputError, TypesChangedError
from bedrock_pipeline.sources.json_text import JsonText, NotJsonError, Unread
from bedrock_pipeline.sources.source import LONGEST_RECORD, InputFile, in_blocks
from bedrock_pipeline.sources.typed import Kinds, Line, given_types, to_columns

_MARK = b"\xef\xbb\xbf"  # some programs write a byte order mark first
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00")  # marks of UTF-16 and UTF-32
_Block = list[Line]

_PIECE: Final = 1 << 20
#: Bytes behind the first line by which it is decided whether a file is a JSON text or lines.
_BEGINNING: Final = 1 << 20
#: Members of one row at most, and names of all of them: each may become a column.
_MOST_MEMBERS: Final = 5_000
_MOST_NAMES: Final = 20_000


class JsonReader:
    """JSON objects; a line that is none is rejected.

    Types are those that hold all rows. They are taken from the first rows; where a later one does not fit, the rest is read
    for its types, and `TypesChangedError` raised.
    """

    def __init__(self, files: Sequence[InputFile], column_types: dict[str, str]) -> None:
        self._files = files
        self._given = given_types(column_types)
        self._json = JsonText()
        self._names: dict[str, None] = {}
        self._kinds: dict[str, Kinds] = {}
        self._complete = False

    def columns(self, needed: Sequence[str]) -> list[str]:
        """The names in the first rows, or as many as it takes to find the needed ones."""
        if not self._names or not set(needed) <= self._names.keys():
            self._names = {}
            for _, block in self._blocks():
                self._names |= dict.fromkeys(name for row in block if isinstance(row, dict) for name in row)
                if needed and set(needed) <= self._names.keys():
                    break  # the others make no columns
                if len(self._names) > _MOST_NAMES:
                    raise InputError(
                        f"The rows of {self._files[0].name} have more than {_MOST_NAMES} different members; each would be a column.",
                        "Put members whose names vary into one that has them.",
                    )
                if self._names and not needed:
                    break
        if not self._names:
            raise InputError(f"{self._files[0].name} holds no JSON object.", "Write one object on each line.")
        return list(self._names)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch, list[Rejection]]]:
        """Line by line."""
        self._json.applied.clear()
        blocks = self._blocks()
        wanted = [name for name in columns if name not in self._given]
        known = bool(self._kinds.keys() >= set(wanted) and self._complete)
        for number, block in blocks:
            if not known and self._learn(wanted, block):
                for _, later in blocks:
                    self._learn(wanted, later)
                self._complete = True
                raise TypesChangedError
            fields = {
                name: self._given[name] if name in self._given else self._kinds[name].field(name)
                for name in columns
            }
            yield (number, *to_columns(block, fields, self._given))

    def notes(self) -> list[str]:
        """Which values were not plain JSON."""
        return [f"JSON: {rule} ({count} times)." for rule, count in sorted(self._json.applied.items())]

    def _learn(self, columns: Sequence[str], block: _Block) -> bool:
        """Learn the kinds of values; whether the types of earlier rows are not those of all rows any more."""
        rows = [row for row in block if isinstance(row, dict)]
        changed = False
        for name in columns:
            first = name not in self._kinds
            kinds = self._kinds.setdefault(name, Kinds())
            changed |= kinds.add(row.get(name) for row in rows) and not first
        return changed

    def _blocks(self) -> Iterator[tuple[int, _Block]]:
        """Blocks of the rows of each file."""
        for number, file in enumerate(self._files):
            with file.open() as stream:
                for block in in_blocks(self._rows(stream, file)):
                    yield number, block

    def _rows(self, stream: BinaryIO, file: InputFile) -> Iterator[tuple[Line, int]]:
        first = stream.readline(LONGEST_RECORD).removeprefix(_MARK)
        is_wide = first.startswith(_WIDE) or first[1:2] == b"\x00"
        while first and not first.strip():
            first = stream.readline(LONGEST_RECORD)
        if is_wide or self._may_be_document(first, file.name):
            beginning = first + stream.read(_BEGINNING)
            stream = _behind(beginning, stream)
            kinds = _kinds(beginning)
            if is_wide and dict not in kinds:
                raise InputError(f"{file.name} is not written in UTF-8, as JSON is.", "Write it in UTF-8.")
            if not is_wide and _is_document(file, kinds):
                yield from self._document(stream, file.name)
                return
            first = stream.readline(LONGEST_RECORD)
        for line in chain([first], iter(lambda: stream.readline(LONGEST_RECORD), b"")):
            is_cut = len(line) >= LONGEST_RECORD - len(_MARK) and not line.endswith(b"\n")
            if is_cut and _passed_over(stream):
                yield f"line is longer than {LONGEST_RECORD} bytes", len(line)
                continue
            if line.strip():
                yield self._line(line), len(line)

    def _document(self, stream: BinaryIO, name: str) -> Iterator[tuple[Line, int]]:
        try:
            for value, size in self._json.values(stream):
                yield _row(value, "value"), size
        except NotJsonError as error:
            raise InputError(f"{name} {error}.", "Correct it, or write one object on each line.") from error

    def _may_be_document(self, first: bytes, name: str) -> bool:
        """Whether a file's first line is an array, or the beginning of a JSON text that goes on."""
        text = first.strip()
        if text.startswith(b"[") or text == b"{":
            return True
        return (
            text.startswith(b"{")
            and ".json" in name.lower()
            and not _says_lines(name)
            and isinstance(self._line(first), str)
        )

    def _line(self, line: bytes) -> Line:
        try:
            value = self._json.value(line)
        except NotJsonError as error:
            return f"line {error}"
        return _row(value, "line")


def _row(value: Any, what: str) -> Line:
    """A value as a row, or why it is none."""
    if isinstance(value, Unread):
        return f"{what} {value}"
    if not isinstance(value, dict):
        return f"{what} is not a JSON object"
    return value if len(value) <= _MOST_MEMBERS else f"{what} has more than {_MOST_MEMBERS} members"


def _kinds(beginning: bytes) -> list[type]:
    """What each line at the beginning of a file is by itself: `dict`, `list`, or no such value."""
    kinds, reader = [], JsonText()
    for line in beginning.split(b"\n"):
        text, value = line.strip(), None
        if text.endswith((b"}", b"]")) and len(text) < _BEGINNING:
            with suppress(NotJsonError):
                value = reader.value(text)
        if text:
            kinds.append(type(value))
    return kinds


def _is_document(file: InputFile, kinds: Sequence[type]) -> bool:
    """Whether a file that begins as a JSON text is one, so that its first line is no row that is broken.

    In no JSON text an object follows a value without a comma: where a line is one, and so is the line before, lines are rows.
    """
    has_rows = any(after is dict and before in (dict, list) for before, after in pairwise(kinds))
    if has_rows == _says_lines(file.name):
        return not has_rows
    with file.open() as stream, suppress(NotJsonError):
        first = stream.readline(LONGEST_RECORD).removeprefix(_MARK)
        deque(JsonText().values(_behind(first, stream)), maxlen=0)
        return True
    return False


def _says_lines(name: str) -> bool:
    return any(ending in name.lower().rpartition("/")[2] for ending in (".jsonl", ".ndjson"))


def _passed_over(stream: BinaryIO) -> bool:
    """Read to the end of a line in pieces; whether it had one byte more."""
    more = False
    while piece := stream.readline(_PIECE):
        more = True
        if piece.endswith(b"\n"):
            break
    return more


def _behind(first: bytes, rest: BinaryIO) -> BinaryIO:
    """A stream of which the first bytes were read already."""
    return cast("BinaryIO", io.BufferedReader(_Again(first, rest), _PIECE))


class _Again(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = memoryview(first), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._first[: len(buffer)] or self._rest.read(len(buffer))
        self._first = self._first[len(data) :]
        buffer[: len(data)] = data
        return len(data)
