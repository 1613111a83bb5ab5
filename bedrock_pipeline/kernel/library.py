"""Loads the kernel, and calls `ids.c` and `render.c`.

`ctypes` lets other threads run meanwhile.
"""

import ctypes
import itertools
import logging
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_LOG = logging.getLogger(__name__)
#: `off` disables the kernel.
SWITCH = "BEDROCK_PIPELINE_KERNEL"
_FILE = Path(__file__).with_name("kernel.so")
_MISSES = itertools.count()


class Texts(ctypes.Structure):
    """A column of text; see `render.c`."""

    _fields_ = (("data", ctypes.c_void_p), ("offsets", ctypes.c_void_p), ("wide", ctypes.c_int64))


def texts_of(column: pa.Array) -> Texts:
    """A column of `string` or `large_string` for the kernel; valid as long as the column."""
    _, offsets, data = column.buffers()
    wide = pa.types.is_large_string(column.type)
    first = column.offset * (8 if wide else 4)
    return Texts(data.address if data else 0, offsets.address + first if offsets else 0, wide)


class Slice(ctypes.Structure):
    """Constant bytes: a piece of `render.c`, a name of `read.c`."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_int64))


def library() -> ctypes.CDLL | None:
    """The kernel; None if it was not built, which is logged once per process, or is disabled."""
    return None if os.environ.get(SWITCH) == "off" else _built()


@cache
def _built() -> ctypes.CDLL | None:
    try:
        return load(_FILE)
    except OSError as error:
        if next(_MISSES) == 0:  # two threads may come here at once; `next` gives 0 to one of them
            reason = f"could not be loaded ({error})" if _FILE.exists() else "was not compiled"
            _LOG.warning(
                "The native kernel %s: packing and parsing give the same results, slower. "
                "Install a wheel for this platform, or install again with a C compiler.",
                reason,
            )
        return None


def load(path: Path) -> ctypes.CDLL:
    """A kernel with its functions' types.

    Raises:
        OSError: it does not exist, or was built for another machine.
    """
    kernel = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for name, parameters, result in (
        ("ordinary", (number, pointer, pointer), None),
        ("hash", (number, pointer, pointer), None),
        ("measure", (number, number, pointer, pointer, pointer), None),
        ("render", (number, number, pointer, pointer, pointer), None),
        ("read", (pointer, number, pointer, pointer), number),
    ):
        function = getattr(kernel, f"bedrock_pipeline_{name}")
        function.argtypes, function.restype = parameters, result
    return kernel


def odd_ids(kernel: ctypes.CDLL, column: pa.Array) -> npt.NDArray[np.int64]:
    """Rows of a `string` column whose record id is null, or may not be its own wire id."""
    found = np.empty(len(column), np.uint8)
    kernel.bedrock_pipeline_ordinary(len(column), ctypes.byref(texts_of(column)), found.ctypes.data)
    if column.null_count:
        found &= column.is_valid().to_numpy(zero_copy_only=False)
    return np.flatnonzero(found == 0)


def hashes_of(kernel: ctypes.CDLL, column: pa.Array) -> npt.NDArray[np.uint64]:
    """64-bit hashes of the texts of a `string` column without nulls."""
    hashes = np.empty(len(column), np.uint64)
    kernel.bedrock_pipeline_hash(len(column), ctypes.byref(texts_of(column)), hashes.ctypes.data)
    return hashes


def render_lines(
    kernel: ctypes.CDLL, pieces: Sequence[bytes], columns: Sequence[pa.Array]
) -> tuple[memoryview, npt.NDArray[np.int64]]:
    """Lines of constant pieces of JSON with the escaped texts of columns between them, and the end of each line in bytes.

    Pieces stand before, between and after the columns, which are `string` or `large_string` without nulls, of one length.
    """
    rows = len(columns[0])
    texts = (Texts * len(columns))(*map(texts_of, columns))
    constants = (Slice * len(pieces))(*(Slice(piece, len(piece)) for piece in pieces))
    ends = np.empty(rows, np.int64)
    kernel.bedrock_pipeline_measure(rows, len(columns), texts, constants, ends.ctypes.data)
    size = int(ends[-1]) if rows else 0
    out = np.empty(size, np.uint8)
    kernel.bedrock_pipeline_render(rows, len(columns), texts, constants, out.ctypes.data)
    return out.data, ends
