"""Records packed into chunks within Bedrock's limits."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Ends, LineBatch, index_schema
from bedrock_pipeline.records.packed_chunk import PackedChunk, PackedFile
from bedrock_pipeline.records.parquet_writer import GroupedWriter

#: Gets the number of records and bytes so far.
Progress: TypeAlias = Callable[[int, int], None]
# Bytes of lines that are moved at once when the tail is balanced.
_MOVE_BYTES = 8_000_000


def no_progress(_records: int, _size: int) -> None:
    """Report nothing."""


class BelowMinimumError(InvalidInputError):
    """There are fewer records than a job must have."""


class TooFewRecordsError(BelowMinimumError):
    """All records together are fewer than the minimum; no chunk was returned.

    Attributes:
        records: their number.
    """

    def __init__(self, records: int, minimum: int) -> None:
        super().__init__(
            f"The dataset has {records} records; a job of this model needs at least {minimum}.",
            "Add records, set below_minimum, or lower limits.min_records where your account allows it.",
        )
        self.records = records


class _File:
    """A file that is being written, and hashed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self.bytes = 0
        self._stream = path.open("wb", buffering=0)
        self._digest = blake3()

    def add(self, block: LineBatch) -> None:
        self._digest.update(block.data)
        rest = block.data
        while rest:  # the system may write only a part
            rest = rest[self._stream.write(rest) :]
        self.records += block.records
        self.bytes += len(block.data)

    def finish(self) -> PackedFile:
        self._stream.close()
        return PackedFile(self.path, self.records, self.bytes, self._digest.hexdigest())


class _Draft:
    """A chunk that is being filled: lines and index on disk, the lines' ends in memory.

    Its files are `<stem>-0.jsonl` and so on, its index `<stem>.index.parquet`.
    """

    def __init__(self, stem: Path, limits: Limits, schema: pa.Schema) -> None:
        self._stem = stem
        self._limits = limits
        self._files: list[_File] = []
        self._ends: list[Ends] = []
        self._index = GroupedWriter(stem.with_name(f"{stem.name}.index.parquet"), schema)
        self.records = self.bytes = 0

    def fitting(self, block: LineBatch, start: int) -> int:
        """The record of a batch before which the chunk is full, if filled from `start` on."""
        return min(
            start + self._limits.max_records - self.records,
            block.fitting(start, self._limits.max_job_bytes - self.bytes),
        )

    def _fitting_file(self, block: LineBatch, start: int) -> int:
        """The record of a batch before which the last file is full, if filled from `start` on."""
        if not self._files:
            return start
        return min(
            start + self._limits.max_file_records - self._files[-1].records,
            block.fitting(start, self._limits.max_file_bytes - self._files[-1].bytes),
        )

    def add(self, block: LineBatch) -> None:
        """Add a batch that fits."""
        if not block.records:
            return
        start = 0
        while start < block.records:
            stop = self._fitting_file(block, start)
            if stop > start:
                self._files[-1].add(block.slice(start, stop))
                start = stop
            else:
                self._files.append(_File(self._stem.with_name(f"{self._stem.name}-{len(self._files)}.jsonl")))
        self._index.add(block.index)
        self._ends.append(block.ends + self.bytes)
        self.records += block.records
        self.bytes += len(block.data)

    @property
    def ends(self) -> Ends:
        """The end of each line, counted from the chunk's beginning."""
        return np.concatenate(self._ends) if self._ends else np.empty(0, np.int64)

    def take_apart(self) -> Iterator[LineBatch]:
        """Its lines again; deletes its files afterwards."""
        index = self._finished_index()
        ends, files = self.ends, [file.finish().path for file in self._files]
        rows = max(1, self.records * _MOVE_BYTES // max(self.bytes, 1))
        with ExitStack() as streams, pq.ParquetFile(index) as read:
            opened: list[BinaryIO] = [streams.enter_context(file.open("rb")) for file in files]
            first = start = 0  # byte and record
            for batch in read.iter_batches(rows):
                stop = start + batch.num_rows
                last = int(ends[stop - 1])
                yield LineBatch(batch, memoryview(_read(opened, last - first)), ends[start:stop] - first)
                first, start = last, stop
        for file in (*files, index):
            file.unlink()

    def _finished_index(self) -> Path:
        self._index.close()
        return self._index.path

    def discard(self) -> None:
        """Delete its files, since packing again in this folder uses their names."""
        for path in (self._finished_index(), *(file.finish().path for file in self._files)):
            path.unlink()

    def finish(self, sequence: int) -> PackedChunk:
        index = self._finished_index()
        files = tuple(file.finish() for file in self._files)
        return PackedChunk(sequence, files, index, self.records, self.bytes, _content_hash(files))


class Packer:
    """Cuts a stream of records into chunks, and returns each as soon as its end is certain.

    Every line must fit into a file (`prepare.requests.renderer` rejects others). A chunk has as many files as its bytes
    need. The last two chunks are balanced so that the tail does not fall below the minimum.

    Attributes:
        records: number of records added so far.
        bytes: of their lines.
    """

    def __init__(
        self, limits: Limits, carry: pa.Schema, folder: Path, progress: Progress = no_progress
    ) -> None:
        self._limits = limits
        self._schema = index_schema(carry)
        self._folder = folder
        self._drafts = (
            _Draft(folder / f"chunk-{number}", limits, self._schema) for number in itertools.count()
        )
        self._held: _Draft | None = None
        self._draft = next(self._drafts)
        self._returned = 0
        self._progress = progress
        self.records = self.bytes = 0

    def add(self, block: LineBatch) -> Iterator[PackedChunk]:
        """Add records; returns the chunks that are complete.

        Raises:
            BelowMinimumError: they are so large that a job cannot hold its minimum.
        """
        start = 0
        while start < block.records:
            stop = self._draft.fitting(block, start)
            if stop > start:
                self._draft.add(block.slice(start, stop))
                start = stop
                continue
            if self._draft.records < self._limits.min_records:
                raise BelowMinimumError(
                    f"{self._draft.records} records fill a job of {self._limits.max_job_bytes} bytes, which needs {self._limits.min_records}.",
                    "Make the records smaller, or raise limits.max_job_bytes or lower limits.min_records where your account allows it.",
                )
            if self._held:
                yield self._finished(self._held)
            self._held, self._draft = self._draft, next(self._drafts)
        self.records += block.records
        self.bytes += len(block.data)
        self._progress(self.records, self.bytes)

    def finish(self) -> Iterator[PackedChunk]:
        """Return the last chunks: there are no more records.

        Raises:
            TooFewRecordsError: all records together are fewer than the minimum.
            BelowMinimumError: they are so large that no cut keeps it.
        """
        last = [self._held, self._draft] if self._held else [self._draft]
        if self._draft.records < self._limits.min_records:
            if not self._held:
                self._draft.discard()
                raise TooFewRecordsError(self._draft.records, self._limits.min_records)
            last = _balanced(self._held, self._draft, self._limits, self._schema, self._folder)
        yield from map(self._finished, last)

    def _finished(self, draft: _Draft) -> PackedChunk:
        self._returned += 1
        return draft.finish(self._returned - 1)


def pack(
    blocks: Iterable[LineBatch], limits: Limits, carry: pa.Schema, folder: Path
) -> Iterator[PackedChunk]:
    """Pack a stream of records into chunks; see `Packer`."""
    packer = Packer(limits, carry, folder)
    for block in blocks:
        yield from packer.add(block)
    yield from packer.finish()


def _balanced(first: _Draft, second: _Draft, limits: Limits, schema: pa.Schema, folder: Path) -> list[_Draft]:
    """Move records from the end of the first chunk to the second, so that each has half if their bytes allow."""
    total = first.records + second.records
    # Bytes of the first chunk that must stay in it.
    least = first.bytes + second.bytes - limits.max_job_bytes
    stay = int(np.searchsorted(first.ends, least, side="left")) + 1 if least > 0 else 0
    cut = max(-(-total // 2), limits.min_records, min(stay, first.records))
    if total - cut < limits.min_records:
        raise BelowMinimumError(
            f"The last {second.records} records cannot make a job of {limits.min_records}: the records are too large.",
            "Raise limits.max_job_bytes or lower limits.min_records where your account allows it.",
        )
    head, tail = (_Draft(folder / f"balanced-{number}", limits, schema) for number in range(2))
    for block in itertools.chain(first.take_apart(), second.take_apart()):
        stop = min(max(cut - head.records, 0), block.records)
        head.add(block.slice(0, stop))
        tail.add(block.slice(stop, block.records))
    return [head, tail]


def _read(streams: list[BinaryIO], size: int) -> bytes:
    """Read from several files, one after the other."""
    data = streams[0].read(size)
    while len(data) < size:
        streams.pop(0)
        data += streams[0].read(size - len(data))
    return data


def _content_hash(files: tuple[PackedFile, ...]) -> str:
    """The hash of one file; of several, the hash of their hashes."""
    if len(files) == 1:
        return files[0].digest
    return blake3("".join(file.digest for file in files).encode()).hexdigest()
