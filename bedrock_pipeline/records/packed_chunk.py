"""A chunk in the work folder, and how a chunk is invoked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: How a chunk's records are invoked: as a batch job, one by one, not until an operator decides, or not at all.
Mode = Literal["batch", "on-demand", "waiting", "none"]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A JSONL file in the work folder."""

    path: Path
    records: int
    bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """A chunk in the work folder; the sink that takes it deletes or moves its files.

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

    def delete(self) -> None:
        """Delete its files."""
        for path in (self.index, *(file.path for file in self.files)):
            path.unlink()
