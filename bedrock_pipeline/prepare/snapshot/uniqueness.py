"""Whether record ids all differ.

What belongs here: a hash of every id, in memory and from some number on in files of the work folder, and the answer
that most inputs get: yes. Which ids are there twice, where some are, `duplicates` finds out.
"""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bedrock_pipeline.kernel import hashes_of, library

#: Hashes of ids, 64 bits each.
Hashes = npt.NDArray[np.uint64]

# Hashes that are held: 4 MB.
_HELD = 500_000
# Files; one of a hundred million ids' is read at once with 13 MB.
_FILES = 64


def id_hashes(ids: pa.Array) -> Hashes:
    """Hashes of record ids: the same for the same id, within one process.

    Args:
        ids: `string` without nulls.
    """
    if kernel := library():
        return hashes_of(kernel, ids)
    return np.fromiter(map(hash, ids.to_pylist()), np.int64, len(ids)).view(np.uint64)


class SeenIds:
    """Hashes of all record ids.

    Args:
        folder: the work folder.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / f"hashes-{number:02}" for number in range(_FILES)]
        self._hashes: list[Hashes] = []
        self._held = 0
        self._spilled = False
        self._lock = threading.Lock()

    def add(self, hashes: Hashes) -> None:
        """Count ids in; any number of threads may."""
        with self._lock:
            self._hashes.append(hashes)
            self._held += len(hashes)
            if self._held > _HELD:
                self._spill()

    def all_differ(self) -> bool:
        """Whether each is there once; two ids with one hash, which is rare, count as the same."""
        if not self._spilled:
            return _differ(self._sorted())
        self._spill()
        return all(_differ(np.sort(np.fromfile(file, np.uint64))) for file in self._files)

    def _spill(self) -> None:
        """Move what is held into files, each of which has the hashes with the same beginning."""
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
