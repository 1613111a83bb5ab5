"""Records into chunks within Bedrock's limits.

What belongs here: where one chunk ends and the next begins, and a chunk's files in the work folder. A chunk is
one JSONL file so far; the place for several is `PackedChunk.files`.
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


class _Draft:
    """A chunk that is being filled: lines on disk, their ends and ids in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends = array("q")
        self.ids: list[str] = []
        self.carried: list[tuple[Any, ...]] = []
        self._file = path.open("wb")

    @property
    def records(self) -> int:
        return len(self.ids)

    @property
    def bytes(self) -> int:
        return self.ends[-1] if self.ends else 0

    def fits(self, size: int, limits: Limits) -> bool:
        return self.records < limits.max_records and self.bytes + size <= min(
            limits.max_file_bytes, limits.max_job_bytes
        )

    def add(self, line: Line) -> None:
        self._file.write(line.data)
        self.ends.append(self.bytes + len(line.data))
        self.ids.append(line.record_id)
        self.carried.append(line.carried)

    def close(self) -> None:
        self._file.close()

    def lines(self) -> Iterator[Line]:
        self._file.flush()
        with self.path.open("rb") as stream:
            for record_id, carried in zip(self.ids, self.carried, strict=True):
                yield Line(record_id, carried, stream.readline())


def pack(lines: Iterable[Line], limits: Limits, carry: pa.Schema, folder: Path) -> Iterator[PackedChunk]:
    """Cut a stream of records into chunks; each is given out as soon as it is certain.

    Every line must fit a file (`too_large` tells). The last two chunks are balanced so that the tail does not
    fall below the minimum.

    Args:
        lines: encoded records, in order.
        limits: the limits in force.
        carry: names and types of the carried columns.
        folder: the work folder.

    Raises:
        BelowMinimumError: all records together are fewer than the minimum, or so large that no cut keeps it.
    """
    held: _Draft | None = None
    sequence = 0
    paths = (folder / f"chunk-{number}.jsonl" for number in itertools.count())
    draft = _Draft(next(paths))
    for line in lines:
        if not draft.fits(len(line.data), limits):
            if held:
                yield _finished(held, sequence, carry)
                sequence += 1
            held, draft = draft, _Draft(next(paths))
        draft.add(line)
    last = [held, draft] if held else [draft]
    if draft.records < limits.min_records:
        if not held:
            raise BelowMinimumError(
                f"The dataset has {draft.records} records; a job of this model needs at least {limits.min_records}.",
                "Add records, or lower limits.min_records where your account allows it.",
            )
        last = _balanced(held, draft, limits, folder)
    for offset, one in enumerate(last):
        yield _finished(one, sequence + offset, carry)


def too_large(data: bytes, limits: Limits) -> bool:
    """Whether a record fits no file."""
    return len(data) > min(limits.max_file_bytes, limits.max_job_bytes)


def _balanced(first: _Draft, second: _Draft, limits: Limits, folder: Path) -> list[_Draft]:
    """Move records from the end of the first chunk to the second, half of all to each where bytes allow."""
    total = first.records + second.records
    most = min(limits.max_file_bytes, limits.max_job_bytes)
    cut = max(-(-total // 2), limits.min_records)
    while cut < first.records and second.bytes + first.bytes - first.ends[cut - 1] > most:
        cut += 1
    if total - cut < limits.min_records or total - cut > limits.max_records:
        raise BelowMinimumError(
            f"The last {second.records} records cannot be brought to a job of {limits.min_records}: the records are too large.",
            "Raise limits.max_file_bytes, or lower limits.min_records where your account allows it.",
        )
    head, tail = _Draft(folder / "balanced-0.jsonl"), _Draft(folder / "balanced-1.jsonl")
    for number, line in enumerate(_both(first, second)):
        (head if number < cut else tail).add(line)
    for draft in (first, second):
        draft.close()
        draft.path.unlink()
    return [head, tail]


def _both(first: _Draft, second: _Draft) -> Iterator[Line]:
    yield from first.lines()
    yield from second.lines()


def _finished(draft: _Draft, sequence: int, carry: pa.Schema) -> PackedChunk:
    draft.close()
    with draft.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    index = draft.path.with_suffix(".index.parquet")
    columns = [pa.array(draft.ids, pa.string())]
    columns += [
        pa.array([carried[number] for carried in draft.carried], field.type)
        for number, field in enumerate(carry)
    ]
    pq.write_table(pa.table(columns, names=["record_id", *carry.names]), index, compression="zstd")
    file = PackedFile(draft.path, draft.records, draft.bytes, digest)
    return PackedChunk(sequence, (file,), index, draft.records, draft.bytes, digest)
