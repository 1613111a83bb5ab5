"""Pack input files into chunks without ledger and snapshot.

What belongs here: the order of reading, packing and putting away, for the command `pack`. Rows are identified,
rendered and cut by the same code as a dataset's. The input is read once; where record ids turn out to be doubled, it
is read twice more: to find the later occurrences, and without them.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.files.folders import Place
from bedrock_pipeline.prepare.chunks.pack_rows import WORKERS, packed
from bedrock_pipeline.prepare.chunks.packer import Packer
from bedrock_pipeline.prepare.requests.renderer import Rendered, Renderer
from bedrock_pipeline.prepare.snapshot.assign_ids import distinct, identified
from bedrock_pipeline.prepare.snapshot.duplicates import LaterOccurrences, later_occurrences
from bedrock_pipeline.prepare.snapshot.uniqueness import SeenIds, id_hashes
from bedrock_pipeline.prepare.snapshot.writer import SnapshotPlan
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import index_schema
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources.source import IntakeBatch, Source
from bedrock_pipeline.system import threads


@dataclass(slots=True)
class PackFilesReport:
    """What was packed.

    Attributes:
        bytes: of all lines.
        rejections: number of rows left out, by reason.
    """

    chunks: int
    records: int
    bytes: int
    rejections: dict[str, int]


def pack_files(
    source: Source,
    plan: SnapshotPlan,
    limits: Limits,
    target: Place,
    *,
    workers: int = WORKERS,
    progress: Callable[[int, int], None] = lambda _records, _bytes: None,
) -> PackFilesReport:
    """Write the chunks of an input: `chunk-00000/00000.jsonl`, its `index.parquet`, and `rejected.parquet` beside.

    Args:
        source: the input.
        plan: record ids, request and carried columns.
        limits: of a job.
        target: takes the files; must be empty.
        workers: threads.
        progress: told the records and bytes that are packed so far.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
        ColumnError: a column does not exist or its name is taken.
        InputError: the input cannot be read.
        NotEmptyError: the target holds something.
    """
    plan.check(source.columns())
    target.check_empty()
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as name:
        folder = Path(name)
        run = _Run(source, plan, limits, target, folder, workers, progress, SeenIds(folder))
        report = run.first()
        if run.seen.all_differ():
            return report
        ids = run.ids()
        with later_occurrences([ids], folder / "spill") as later:
            if later.count:
                target.clear()
                report = run.without(later, ids)
    return report


@dataclass(frozen=True)
class _Run:
    source: Source
    plan: SnapshotPlan
    limits: Limits
    target: Place
    folder: Path
    workers: int
    progress: Callable[[int, int], None]
    seen: SeenIds

    def first(self) -> PackFilesReport:
        """Every row under its record id, a hash of which is kept."""
        batches, renderer, packer = self._opened()

        def render(batch: IntakeBatch) -> Rendered:
            one = self._identified(batch)
            self.seen.add(id_hashes(one.rows["record_id"]))
            return renderer.batch(one)

        return self._packed(batches, render, packer)

    def without(self, later: LaterOccurrences, ids: Path) -> PackFilesReport:
        """Every row whose record id did not occur before."""
        batches, renderer, packer = self._opened()
        return self._packed(self._distinct(batches, later, ids), renderer.batch, packer)

    def ids(self) -> Path:
        """The record ids of all rows, in their order."""
        file = self.folder / "ids.parquet"
        with pq.ParquetWriter(file, index_schema(pa.schema([])), compression="lz4") as writer:
            for batch in self.source.batches(self.plan.read):
                writer.write_batch(self._identified(batch).rows.select(["record_id"]))
        return file

    def _opened(self) -> tuple[Iterator[IntakeBatch], Renderer, Packer]:
        """The input; types of carried columns are those of its first batch."""
        batches = self.source.batches(self.plan.read)
        first = next(batches, None)
        names = [name for name in self.plan.carry if name != "record_id"] if first else []
        carry = pa.schema([first.rows.schema.field(name) for name in names] if first else [])
        renderer = Renderer(self.plan.template, carry, self.limits)
        packer = Packer(self.limits, carry, self.folder, self.progress)
        return chain([first] if first else [], batches), renderer, packer

    def _packed(
        self, batches: Iterator[IntakeBatch], render: Callable[[IntakeBatch], Rendered], packer: Packer
    ) -> PackFilesReport:
        rejected = RejectionWriter(self.folder / "rejected.parquet")
        chunks = self._moved(packed(batches, render, packer, rejected, self.workers))
        rejected.close()
        self.target.put(rejected.path, "rejected.parquet")
        return PackFilesReport(chunks, packer.records, packer.bytes, dict(rejected.by_reason))

    def _moved(self, chunks: Iterator[PackedChunk]) -> int:
        """Put chunks into the target, each while the next is packed; how many there were."""
        count = 0
        with threads(1) as mover:
            moving: list[Future[None]] = []
            for chunk in chunks:
                if moving:
                    moving.pop().result()  # at most one chunk waits on disk
                moving.append(mover.submit(self._put, chunk))
                count += 1
            if moving:
                moving.pop().result()
        return count

    def _put(self, chunk: PackedChunk) -> None:
        name = f"chunk-{chunk.sequence:05}"
        for number, file in enumerate(chunk.files):
            self.target.put(file.path, f"{name}/{number:05}.jsonl")
        self.target.put(chunk.index, f"{name}/index.parquet")

    def _distinct(
        self, batches: Iterator[IntakeBatch], later: LaterOccurrences, ids: Path
    ) -> Iterator[IntakeBatch]:
        count = 0
        for batch in batches:
            one = self._identified(batch)
            first, count = count, count + one.rows.num_rows
            yield distinct(one, later.of(ids, first, count), derived=self.plan.record_id is None)

    def _identified(self, batch: IntakeBatch) -> IntakeBatch:
        return identified(batch, self.plan.template, self.plan.record_id, self.plan.kept)
