"""How large rows become when values that they share are written out.

A value that is stored once, in a dictionary, a run or a view, may stand in every row: a file of a kilobyte can hold
gigabytes. So batches are cut by what their rows may become, not by what they take.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_VIEW_INTS: Final = 4


def shared_row_bytes(batch: pa.RecordBatch) -> int:
    """The most bytes that shared values can add to a row, as an estimate for nested ones; 0 if nothing is shared."""
    return sum(_shared(column) for column in batch.columns)


def _shared(column: pa.Array) -> int:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        return _longest(column.dictionary)
    if types.is_run_end_encoded(kind):
        return _longest(column.values)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return _longest(column)
    if types.is_struct(kind):
        return sum(_shared(child) for child in column.flatten())
    if types.is_map(kind):
        return (_shared(column.keys) + _shared(column.items)) * _per_row(column.keys, column)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _shared(column.values) * _per_row(column.values, column)
    return 0


def _per_row(items: pa.Array, rows: pa.Array) -> int:
    return -(-len(items) // max(len(rows), 1))


def _longest(values: pa.Array) -> int:
    """The bytes of the largest value."""
    kind, types = values.type, pa.types
    if not len(values):
        return 0
    if types.is_string_view(kind) or types.is_binary_view(kind):
        views = np.frombuffer(values.buffers()[1], np.int32)
        first = values.offset * _VIEW_INTS
        return int(
            views[first : first + len(values) * _VIEW_INTS : _VIEW_INTS].max()
        )  # each begins with its length
    if (
        types.is_string(kind)
        or types.is_binary(kind)
        or types.is_large_string(kind)
        or types.is_large_binary(kind)
    ):
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
    return int(values.nbytes)
