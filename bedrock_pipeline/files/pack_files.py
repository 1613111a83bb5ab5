"""Pack input files into chunks without ledger and deployment.

This is the code that prepares a dataset, with another sink: a snapshot in a work folder, packed.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from bedrock_pipeline.files.folders import Claim, Place
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.chunks.packer import Progress, TooFewRecordsError, no_progress
from bedrock_pipeline.prepare.chunks.snapshot_packer import pack_snapshot
from bedrock_pipeline.prepare.read_attachment import attachment_reader
from bedrock_pipeline.prepare.reject_duplicates import REJECTED
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import write_snapshot
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import Source, local_file, notes_of
from bedrock_pipeline.system import threads


@dataclass(frozen=True, slots=True)
class PackFilesReport:
    """What was packed.

    Attributes:
        bytes: of all lines.
        rejections: number of rejected rows, by reason.
        notes: how the input was read, where that had to be found out; and files that were not read.
    """

    chunks: int
    records: int
    bytes: int
    rejections: dict[str, int]
    notes: list[str]


def pack_files(
    source: Source, pipeline: Pipeline, target: Place, *, progress: Progress = no_progress
) -> PackFilesReport:
    """Write the chunks of an input: `chunk-00000/00000.jsonl` with its `index.parquet`, and `rejected.parquet`.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
        ColumnError: a column does not exist or its name is taken.
        EmptyDatasetError: the input is empty, or every row was rejected.
        IncompleteError: another process packs into the target, or was ended before it had.
        InputError: the input cannot be read.
        NotEmptyError: the target is not empty.
    """
    with target.claimed() as claim:
        try:
            return _packed(source, pipeline, claim, progress)
        except TooFewRecordsError as error:
            error.fix = (
                "Add records, or lower limits.min_records where your account allows it."  # the only ways here
            )
            raise


def _packed(source: Source, pipeline: Pipeline, claim: Claim, progress: Progress) -> PackFilesReport:
    def store(chunks: Iterator[PackedChunk], _plan: InvocationPlan) -> tuple[int, int, int]:
        count = records = size = 0
        with threads(1) as mover:
            moving: Future[None] | None = None
            for chunk in chunks:
                if moving:
                    moving.result()  # at most one chunk waits on disk
                moving = mover.submit(_put, chunk, claim)
                count, records, size = count + 1, records + chunk.records, size + chunk.bytes
            if moving:
                moving.result()
        return count, records, size

    with RejectionWriter(claim.work / REJECTED) as rejected:
        fetch = attachment_reader(pipeline.attachment_roots, None)
        snapshot = write_snapshot(source, SnapshotPlan.of(pipeline), claim.work, rejected, fetch)
        parts = [local_file(str(part)) for part in snapshot.parts]
        packed = pack_snapshot(parts, pipeline, claim.work, rejected, store, progress)
    claim.put(rejected.path, REJECTED)
    return PackFilesReport(*packed, dict(rejected.by_reason), [*notes_of(source), *snapshot.notes])


def _put(chunk: PackedChunk, claim: Claim) -> None:
    name = f"chunk-{chunk.sequence:05}"
    for number, file in enumerate(chunk.files):
        claim.put(file.path, f"{name}/{number:05}.jsonl")
    claim.put(chunk.index, f"{name}/index.parquet")
