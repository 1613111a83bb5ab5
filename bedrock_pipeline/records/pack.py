"""Records into chunks within Bedrock's limits.

What belongs here: where one chunk and one file of it ends and the next begins, and a chunk's files in the work
folder.
"""

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.records.limits import Limits


class BelowMinimumError(BedrockPipelineError):
    """A job cannot have so few records."""


class TooFewRecordsError(BelowMinimumError):
    """All records together are fewer than the minimum; nothing was given out.

    Attributes:
        records: how many there are.
    """

    def __init__(self, records: int, minimum: int) -> None:
        super().__init__(
            f"The dataset has {records} records; a job of this model needs at least {minimum}.",
            "Add records, set below_minimum, or lower limits.min_records where your account allows it.",
        )
        self.records = records


@dataclass(frozen=True, slots=True)
class Line:
    """An encoded record: its id, what is carried along, and its line."""

    record_id: str
    carried: tuple[Any, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A JSONL file in the work folder."""

    path: Path
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """A chunk in the work folder; whoever uploads it deletes it.

    Attributes:
        sequence: its number in the dataset, from 0.
        files: its input.
        index: parquet with `record_id` and the carried columns, in the order of the lines.
        content_hash: 64 hexadecimal characters over the input.
    """

    sequence: int
    files: tuple[PackedFile, ...]
    index: Path
    records: int
    bytes: int
    content_hash: str


class _File:
    """A file that is being written and hashed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self.bytes = 0
        self._stream = path.open("wb")
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self.records += 1
        self.bytes += len(data)

    def finish(self) -> PackedFile:
        self._stream.close()
        return PackedFile(self.path, self.records, self.bytes, self._digest.hexdigest())


class _Draft:
    """A chunk that is being filled: lines on disk, their ends and ids in memory.

    Args:
        stem: its files are `<stem>-0.jsonl` and so on, its index `<stem>.index.parquet`.
    """

    def __init__(self, stem: Path, limits: Limits) -> None:
        self._stem = stem
        self._limits = limits
        self._files: list[_File] = []
        self.ends = array("q")
        self.ids: list[str] = []
        self.carried: list[tuple[Any, ...]] = []

    @property
    def records(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        return self.ends[-1] if self.ends else 0

    def fits(self, size: int) -> bool:
        return self.records < self._limits.max_records and self.bytes + size <= self._limits.max_job_bytes

    def add(self, line: Line) -> None:
        if not self._files or self._files[-1].bytes + len(line.data) > self._limits.max_file_bytes:
            self._files.append(_File(self._stem.with_name(f"{self._stem.name}-{len(self._files)}.jsonl")))
        self._files[-1].add(line.data)
        self.ends.append(self.bytes + len(line.data))
        self.ids.append(line.record_id)
        self.carried.append(line.carried)

    def take_apart(self) -> Iterator[Line]:
        """Its lines again; its files are gone afterwards."""
        rest = zip(self.ids, self.carried, strict=True)
        for file in self._files:
            file.finish()
            with file.path.open("rb") as stream:
                for data, (record_id, carried) in zip(stream, rest, strict=False):
                    yield Line(record_id, carried, data)
            file.path.unlink()

    def finish(self, sequence: int, carry: pa.Schema) -> PackedChunk:
        files = tuple(file.finish() for file in self._files)
        index = self._stem.with_name(f"{self._stem.name}.index.parquet")
        columns = [pa.array(self.ids, pa.string())]
        columns += [
            pa.array([carried[number] for carried in self.carried], field.type)
            for number, field in enumerate(carry)
        ]
        pq.write_table(pa.table(columns, names=["record_id", *carry.names]), index, compression="zstd")
        return PackedChunk(sequence, files, index, self.records, self.bytes, _content_hash(files))


def pack(lines: Iterable[Line], limits: Limits, carry: pa.Schema, folder: Path) -> Iterator[PackedChunk]:
    """Cut a stream of records into chunks; each is given out as soon as it is certain.

    Every line must fit a file (`too_large` tells). A chunk has as many files as its bytes need. The last two
    chunks are balanced so that the tail does not fall below the minimum.

    Args:
        lines: encoded records, in order.
        limits: the limits in force.
        carry: names and types of the carried columns.
        folder: the work folder.

    Raises:
        TooFewRecordsError: all records together are fewer than the minimum.
        BelowMinimumError: they are so large that no cut keeps it.
    """
    held: _Draft | None = None
    sequence = 0
    drafts = (_Draft(folder / f"chunk-{number}", limits) for number in itertools.count())
    draft = next(drafts)
    for line in lines:
        if not draft.fits(len(line.data)):
            if draft.records < limits.min_records:
                raise BelowMinimumError(
                    f"{draft.records} records fill a job of {limits.max_job_bytes} bytes, which needs {limits.min_records}.",
                    "Make the records smaller, or raise limits.max_job_bytes or lower limits.min_records where your account allows it.",
                )
            if held:
                yield held.finish(sequence, carry)
                sequence += 1
            held, draft = draft, next(drafts)
        draft.add(line)
    last = [held, draft] if held else [draft]
    if draft.records < limits.min_records:
        if not held:
            raise TooFewRecordsError(draft.records, limits.min_records)
        last = _balanced(held, draft, limits, folder)
    for offset, one in enumerate(last):
        yield one.finish(sequence + offset, carry)


def too_large(data: bytes, limits: Limits) -> bool:
    """Whether a record fits no file."""
    return len(data) > min(limits.max_file_bytes, limits.max_job_bytes)


def _balanced(first: _Draft, second: _Draft, limits: Limits, folder: Path) -> list[_Draft]:
    """Move records from the end of the first chunk to the second, half of all to each where bytes allow."""
    total = first.records + second.records
    cut = max(-(-total // 2), limits.min_records)
    while cut < first.records and second.bytes + first.bytes - first.ends[cut - 1] > limits.max_job_bytes:
        cut += 1
    if total - cut < limits.min_records:
        raise BelowMinimumError(
            f"The last {second.records} records cannot be brought to a job of {limits.min_records}: the records are too large.",
            "Raise limits.max_job_bytes or lower limits.min_records where your account allows it.",
        )
    head, tail = (_Draft(folder / f"balanced-{number}", limits) for number in range(2))
    both = itertools.chain(first.take_apart(), second.take_apart())
    for number, line in enumerate(both):
        (head if number < cut else tail).add(line)
    return [head, tail]


def _content_hash(files: tuple[PackedFile, ...]) -> str:
    """One file's own hash; of several, the hash of theirs."""
    if len(files) == 1:
        return files[0].sha256
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
