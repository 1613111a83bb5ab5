"""Calls `render.c`.

What belongs here: from Arrow columns to lines in one buffer.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bedrock_pipeline.kernel.library import Slice, Texts, texts_of


def render_lines(
    kernel: ctypes.CDLL, pieces: Sequence[bytes], columns: Sequence[pa.Array]
) -> tuple[memoryview, npt.NDArray[np.int64]]:
    """Lines of constant pieces of JSON with the escaped texts of columns between them.

    Args:
        kernel: the library.
        pieces: before, between and after the columns, so one more than these.
        columns: `string` or `large_string` without nulls, of one length.

    Returns:
        The lines, and the end of each in bytes.
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
