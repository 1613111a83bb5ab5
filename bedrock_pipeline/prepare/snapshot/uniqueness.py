"""Whether record ids, or requests, are unique in a dataset.

A 64-bit hash of each is held in memory up to a limit, and spilled to files of the work folder beyond it. For most inputs
this is enough: all differ. Where two hashes are equal, `duplicates` finds the rows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_pipeline.kernel import hashes_of, library
from bedrock_pipeline.prepare.snapshot.column_rules import as_strings

Hashes = npt.NDArray[np.uint64]

# Hashes held in memory: 4 MB.
_HELD = 500_000
# Files; each of a hundred million rows' is read at once with 13 MB.
_FILES = 64
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(columns: Sequence[pa.Array]) -> Hashes:
    """Hashes of rows: equal rows have equal hashes, within one process.

    Only text and whole numbers count, and a null as an empty text: different rows may have equal hashes.

    Args:
        columns: one or more, of one length.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        texts = as_strings(column)
        if texts is not None:
            hashes = hashes * _FACTOR + _text_hashes(pc.fill_null(texts, "") if texts.null_count else texts)
    return hashes


def _text_hashes(texts: pa.Array) -> Hashes:
    if kernel := library():
        return hashes_of(kernel, texts)
    return np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts)).view(np.uint64)


class SeenHashes:
    """The hashes of all rows.

    Args:
        stem: path of the spill files in the work folder, without their number.
    """

    def __init__(self, stem: Path) -> None:
        self._files = [stem.with_name(f"{stem.name}-{number:02}") for number in range(_FILES)]
        self._hashes: list[Hashes] = []
        self._held = 0
        self._spilled = False

    def add(self, hashes: Hashes) -> None:
        """Add the hashes of further rows."""
        self._hashes.append(hashes)
        self._held += len(hashes)
        if self._held > _HELD:
            self._spill()

    def all_differ(self) -> bool:
        """Whether no two hashes are equal, so that no two rows are."""
        if not self._spilled:
            return _differ(self._sorted())
        self._spill()
        return all(_differ(np.sort(np.fromfile(file, np.uint64))) for file in self._files)

    def _spill(self) -> None:
        """Move the held hashes into files, each of which has the hashes with the same first bits."""
        hashes = self._sorted()
        ends = np.searchsorted(hashes >> np.uint64(58), np.arange(_FILES), side="right")
        for file, some in zip(self._files, np.split(hashes, ends[:-1]), strict=True):
            with file.open("ab") as stream:
                some.tofile(stream)
        self._hashes, self._held, self._spilled = [], 0, True

    def _sorted(self) -> Hashes:
        return np.sort(np.concatenate([np.empty(0, np.uint64), *self._hashes]))


def _differ(hashes: Hashes) -> bool:
    return not np.any(hashes[1:] == hashes[:-1])
