"""Calls `ids.c`.

What belongs here: functions over columns of record ids.
"""

import ctypes

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bedrock_pipeline.kernel.library import texts_of


def odd_ids(kernel: ctypes.CDLL, column: pa.Array) -> npt.NDArray[np.int64]:
    """Rows whose record id is null, or may not be its own wire id.

    Args:
        kernel: the library.
        column: `string`.
    """
    found = np.empty(len(column), np.uint8)
    kernel.bedrock_pipeline_ordinary(len(column), ctypes.byref(texts_of(column)), found.ctypes.data)
    if column.null_count:
        found &= column.is_valid().to_numpy(zero_copy_only=False)
    return np.flatnonzero(found == 0)


def hashes_of(kernel: ctypes.CDLL, column: pa.Array) -> npt.NDArray[np.uint64]:
    """64-bit hashes of texts.

    Args:
        kernel: the library.
        column: `string` without nulls.
    """
    hashes = np.empty(len(column), np.uint64)
    kernel.bedrock_pipeline_hash(len(column), ctypes.byref(texts_of(column)), hashes.ctypes.data)
    return hashes
