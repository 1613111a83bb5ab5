"""Finds and loads the kernel.

What belongs here: the shared library and its functions' types. `ctypes` lets other threads run meanwhile.
"""

import ctypes
import itertools
import logging
import os
from functools import cache
from pathlib import Path

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
