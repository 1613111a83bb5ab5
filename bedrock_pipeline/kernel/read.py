"""Calling `read.c`."""

import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bedrock_pipeline.kernel.library import Slice
from bedrock_pipeline.models.family import ONLY, Path, Plain

#: At most this many lines are read in one call.
MOST_LINES = 8192
#: A buffer has at most this many bytes: offsets have 32 bits.
MOST_BYTES = 2**31 - 1
_OBJECT, _LIST, _TEXT, _STOP_REASON, _INPUT_TOKENS, _OUTPUT_TOKENS, _WORD, _VECTOR, _TOOL_INPUT = range(9)

Numbers: TypeAlias = npt.NDArray[np.int64]
_Scratch: TypeAlias = dict[str, npt.NDArray[Any]]


class _Place(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int64),
        ("kind", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("next", ctypes.c_int64),
        ("closed", ctypes.c_int64),
        ("word", ctypes.c_char_p),
        ("word_size", ctypes.c_int64),
    )


class _Wanted(ctypes.Structure):
    _fields_ = (
        ("places", ctypes.c_void_p),
        ("unless", ctypes.c_void_p),
        ("unless_count", ctypes.c_int64),
        ("words", ctypes.c_int64),
        ("length", ctypes.c_int64),
    )


_COLUMNS = (
    *("ends", "lines"),
    *("ids", "texts", "stop_reasons"),
    *("id_ends", "text_ends", "stop_reason_ends"),
    *("has_stop_reason", "has_input_tokens", "has_output_tokens"),
    *("input_tokens", "output_tokens"),
    "vectors",
)


class _Columns(ctypes.Structure):
    _fields_ = (
        ("capacity", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in _COLUMNS),
        ("lines_count", ctypes.c_int64),
        ("plain_count", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Responses:
    """The plain responses among some lines.

    Attributes:
        lines: the numbers of their lines.
        rows: a row for each: `wire_id` and the columns of the results that a plain response has. `output_text`, or the
            `embedding` in its place, is never null; the kernel does not check that text is UTF-8. The text of a tool
            call is its input, as JSON.
        values: of the columns of structured responses, if they were read (`collect.fast_parser`).
    """

    lines: Numbers
    rows: pa.RecordBatch
    values: pa.RecordBatch | None = None

    def take(self, places: Numbers) -> "Responses":
        """Some of them."""
        taken = pa.array(places, pa.int64())
        values = None if self.values is None else self.values.take(taken)
        return Responses(self.lines[places], self.rows.take(taken), values)


class ResponseReader:
    """Reads plain responses by the paths that a family declares.

    Args:
        kernel: the kernel.
        plain: the paths.
        length: of the vectors, if responses are vectors; otherwise 0.
    """

    def __init__(self, kernel: ctypes.CDLL, plain: Plain, length: int = 0) -> None:
        self._kernel = kernel
        self._length = length
        self._scratches = threading.local()
        places = _places(plain)
        self._places = (_Place * len(places))(*places)
        self._unless = (Slice * len(plain.unless))(*(Slice(name, len(name)) for name in plain.unless))
        self._wanted = _Wanted(
            ctypes.addressof(self._places),
            ctypes.addressof(self._unless),
            len(plain.unless),
            len(plain.words),
            length,
        )

    def read(self, data: memoryview) -> Iterator[tuple[int, Numbers, Responses]]:
        """The lines of a buffer, a few thousand at a time: where they begin, where each ends, and their responses.

        Ends are counted in bytes from where these lines begin.

        Raises:
            ValueError: the buffer is larger than 2 GB.
        """
        if len(data) > MOST_BYTES:
            raise ValueError(f"{len(data)} bytes do not fit the kernel's offsets")
        source = np.frombuffer(data, np.uint8)
        start = 0
        while start < len(source):
            rest = source[start:]
            scratch = self._scratch(len(rest))
            columns = _Columns(capacity=len(scratch["ends"]))
            assert columns.capacity * self._length <= len(scratch["vectors"])
            for name in _COLUMNS:
                setattr(columns, name, scratch[name].ctypes.data)
            size = self._kernel.bedrock_pipeline_read(
                rest.ctypes.data, len(rest), ctypes.byref(self._wanted), ctypes.byref(columns)
            )
            yield (
                start,
                scratch["ends"][: columns.lines_count].copy(),
                _responses(scratch, columns.plain_count, self._length),
            )
            start += size

    def _scratch(self, size: int) -> _Scratch:
        """Buffers of this thread, used for every call; what is read is copied out of them."""
        scratch: _Scratch | None = getattr(self._scratches, "scratch", None)
        if scratch is None or len(scratch["ids"]) < size or len(scratch["ends"]) != MOST_LINES:
            scratch = self._scratches.scratch = _scratch(MOST_LINES, size, self._length)
        return scratch


def _scratch(rows: int, size: int, length: int) -> _Scratch:
    """Buffers for a number of lines, and of bytes in all of them; pages that are not written to take no memory."""
    scratch: _Scratch = {name: np.empty(size, np.uint8) for name in ("ids", "texts", "stop_reasons")}
    scratch |= {f"{name}_ends": np.empty(rows + 1, np.int32) for name in ("id", "text", "stop_reason")}
    flags = "has_stop_reason", "has_input_tokens", "has_output_tokens"
    scratch |= {name: np.empty(rows, np.uint8) for name in flags}
    scratch["vectors"] = np.empty(rows * length, np.float32)
    return scratch | {
        name: np.empty(rows, np.int64) for name in ("ends", "lines", "input_tokens", "output_tokens")
    }


def _responses(scratch: _Scratch, count: int, length: int) -> Responses:
    def text(name: str, present: pa.Buffer | None = None) -> pa.Array:
        ends = scratch[f"{name}_ends"][: count + 1].copy()
        values = scratch[f"{name}s"][: ends[-1]].copy()
        return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(values), present)

    def tokens(name: str) -> pa.Array:
        return pa.array(scratch[name][:count].copy(), mask=scratch[f"has_{name}"][:count] == 0)

    if length:
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(scratch["vectors"][: count * length].copy()), length
        )
        # Vectors have no tokens.
        columns = {
            "wire_id": text("id"),
            "embedding": vectors,
            "input_tokens": tokens("input_tokens"),
            "output_tokens": pa.array(np.zeros(count, np.int64)),
        }
        rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        return Responses(scratch["lines"][:count].copy(), rows)
    present = scratch["has_stop_reason"][:count]
    bits = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    columns = {
        "wire_id": text("id"),
        "output_text": text("text"),
        "stop_reason": text("stop_reason", bits),
        "input_tokens": tokens("input_tokens"),
        "output_tokens": tokens("output_tokens"),
    }
    rows = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    return Responses(scratch["lines"][:count].copy(), rows)


def _places(plain: Plain) -> list[_Place]:
    """The paths as a tree; its root is the output."""
    places = [_Place(kind=_OBJECT)]
    for path, kind in (
        (plain.text, _TEXT),
        (plain.vector, _VECTOR),
        (plain.stop_reason, _STOP_REASON),
        (plain.input_tokens, _INPUT_TOKENS),
        (plain.output_tokens, _OUTPUT_TOKENS),
        (plain.tool_input, _TOOL_INPUT),
    ):
        if path is not None:
            places[_planted(places, path)].kind = kind
    for path, word in plain.words:
        place, quoted = places[_planted(places, path)], f'{word}"'.encode()
        place.kind, place.word, place.word_size = _WORD, quoted, len(quoted)
    if plain.closed:
        places[_planted(places, plain.closed)].closed = 1
    return places


def _planted(places: list[_Place], path: Path) -> int:
    """The number of the place at a path, which is added if it is not there."""
    at = 0
    for name in path:
        if name == ONLY:
            places[at].kind = _LIST
        encoded = name.encode()
        inner = places[at].inner
        while inner and places[inner].name != encoded:
            inner = places[inner].next
        if not inner:
            inner = len(places)
            places.append(_Place(encoded, len(encoded), _OBJECT, 0, places[at].inner))
            places[at].inner = inner
        at = inner
    return at
