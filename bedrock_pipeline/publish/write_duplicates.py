"""Write the rows of a dataset's duplicates, which get their canonical record's response.

What belongs here: reading the duplicates' files from the snapshot and writing their rows as parts of a published version.
The joins are `publish.duplicate_rows`.
"""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.prepare.reject_duplicates import duplicate_files
from bedrock_pipeline.publish.duplicate_rows import DuplicateRows
from bedrock_pipeline.records.bounded_texts import count_kind

#: At most this many rows in one part.
PART_ROWS = 100_000


@dataclass(slots=True)
class PublishedDuplicates:
    """The published rows of duplicates: their files, how many have a response, and how many an error, by its code."""

    files: list[str] = field(default_factory=list)
    answered: int = 0
    failed_by_code: dict[str, int] = field(default_factory=dict)

    def count(self, part: Path) -> None:
        """Count the rows of one more file."""
        rows = pq.read_table(part, columns=["status", "error_code"])
        failed = rows.filter(pc.not_equal(rows["status"], "succeeded"))
        self.answered += rows.num_rows - failed.num_rows
        for one in pc.value_counts(failed["error_code"]).to_pylist():
            count_kind(self.failed_by_code, one["values"], one["counts"])


def write_duplicates(
    deployment: Deployment, row: DatasetRow, parts: list[str], schema: pa.Schema, prefix: str, first: int
) -> PublishedDuplicates:
    """Write the duplicates' rows as further parts of a published version.

    Args:
        deployment: the deployment.
        row: the dataset.
        parts: every part of the results of the records that were sent.
        schema: of each.
        prefix: what the URIs of the parts begin with, up to their number.
        first: number of the first part to write.
    """
    written = PublishedDuplicates()
    if not row.packed_duplicates:
        return written
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as name:
        folder = Path(name)
        with closing(DuplicateRows(duplicate_files(deployment, row, folder), folder)) as joined:
            batches = _rows_for_all(deployment, joined, parts, schema, folder / "part.parquet")
            for number, part in enumerate(_written(batches, schema, folder), first):
                written.files.append(f"{prefix}{number:05}.parquet")
                deployment.objects.upload(part, written.files[-1])
                written.count(part)
                part.unlink()
    return written


def _rows_for_all(
    deployment: Deployment, joined: DuplicateRows, parts: list[str], schema: pa.Schema, local: Path
) -> Iterator[pa.RecordBatch]:
    for uri in parts:
        deployment.objects.download(uri, local)
        yield from joined.rows_for(local, schema)
        local.unlink()


def _written(batches: Iterator[pa.RecordBatch], schema: pa.Schema, folder: Path) -> Iterator[Path]:
    while first := next(batches, None):
        path, rows = folder / "duplicates-part.parquet", 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in itertools.chain([first], batches):
                writer.write_batch(batch)
                rows += batch.num_rows
                if rows >= PART_ROWS:
                    break
        yield path
