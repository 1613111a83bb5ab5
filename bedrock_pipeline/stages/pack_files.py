"""Pack input files into chunks without ledger and snapshot.

What belongs here: the order of reading, packing and putting away, for the command `pack`. Rows are identified,
rendered and cut by the same code as a dataset's. The input is read once; where record ids turn out to be doubled, it
is read again without the later occurrences.
"""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.intake.source import IntakeBatch, Source
from bedrock_pipeline.records.ahead import ahead, in_order
from bedrock_pipeline.records.block import Block, index_schema
from bedrock_pipeline.records.duplicates import LaterOccurrences, SeenIds, later_occurrences
from bedrock_pipeline.records.identify import Identified, distinct, identified
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.pack import PackedChunk, pack
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.records.render import WORKERS, Renderer, rendered
from bedrock_pipeline.records.snapshot import SnapshotPlan
from bedrock_pipeline.stages.folders import Place


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
        workers: threads that render.
        progress: told the records and bytes that are packed so far.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
        ColumnError: a column does not exist or its name is taken.
        InputError: the input cannot be read.
        NotEmptyError: the target holds something.
    """
    plan.check(source.columns())
    target.check_empty()
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        run = _Run(source, plan, limits, target, Path(folder), workers, progress)
        report, ids = run.packed(None)
        if run.seen.all_differ():
            return report
        with later_occurrences([ids], Path(folder) / "spill") as later:
            if later.count:
                target.clear()
                report, _ = run.packed(later)
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
    seen: SeenIds = field(default_factory=SeenIds)

    def packed(self, later: LaterOccurrences | None) -> tuple[PackFilesReport, Path]:
        """One pass; the report, and a file with the record ids in their order."""
        rejected = RejectionWriter(self.folder / "rejected.parquet")
        report = PackFilesReport(0, 0, 0, {})
        ids = self.folder / "ids.parquet"
        with ThreadPoolExecutor(max_workers=1) as mover:
            moving: list[Future[None]] = []
            for chunk in self._chunks(later, ids, rejected, report):
                if moving:
                    moving.pop().result()  # at most one chunk waits on disk
                moving.append(mover.submit(self._put, chunk))
                report.chunks += 1
            if moving:
                moving.pop().result()
        rejected.close()
        report.rejections = dict(rejected.by_reason)
        self.target.put(rejected.path, "rejected.parquet")
        return report, ids

    def _chunks(
        self, later: LaterOccurrences | None, ids: Path, rejected: RejectionWriter, report: PackFilesReport
    ) -> Iterator[PackedChunk]:
        """The chunks; types of carried columns are those of the first batch."""
        batches = self.source.batches(self.plan.read)
        first = next(batches, None)
        schema = first.rows.schema if first else pa.schema([])
        carried = [name for name in self.plan.carry if name != "record_id" and first]
        carry = pa.schema([schema.field(name) for name in carried])
        renderer = Renderer(self.plan.template, carry, self.limits)
        every = chain([first] if first else [], batches)
        blocks = (
            self._distinct(every, renderer, rejected, later, ids)
            if later
            else self._named(every, renderer, rejected, ids)
        )
        yield from pack(self._counted(blocks, report), self.limits, carry, self.folder)

    def _named(
        self, batches: Iterator[IntakeBatch], renderer: Renderer, rejected: RejectionWriter, ids: Path
    ) -> Iterator[Block]:
        """The first pass: every row under its record id; these are written down."""

        def work(batch: IntakeBatch) -> tuple[pa.RecordBatch, Block, list[Rejection]]:
            one = self._identified(batch)
            block, rejections = renderer.block(one.rows, one.positions)
            return one.rows.select(["record_id"]), block, [*batch.rejected, *one.rejected, *rejections]

        schema = index_schema(pa.schema([]))
        with pq.ParquetWriter(ids, schema, compression="lz4", use_dictionary=False) as writer:
            for names, block, rejections in in_order(work, ahead(batches), self.workers):
                writer.write_batch(names)
                self.seen.add(names["record_id"])
                rejected.add(*rejections)
                yield block

    def _distinct(
        self,
        batches: Iterator[IntakeBatch],
        renderer: Renderer,
        rejected: RejectionWriter,
        later: LaterOccurrences,
        ids: Path,
    ) -> Iterator[Block]:
        """The second pass: every row whose record id did not occur before."""

        def kept() -> Iterator[IntakeBatch]:
            count = 0
            for batch in batches:
                one = self._identified(batch)
                first, count = count, count + one.rows.num_rows
                one = distinct(one, later.of(ids, first, count), derived=self.plan.record_id is None)
                yield IntakeBatch(one.rows, one.positions, [*batch.rejected, *one.rejected])

        return rendered(kept(), renderer, rejected, self.workers)

    def _identified(self, batch: IntakeBatch) -> Identified:
        return identified(batch, self.plan.template, self.plan.record_id, self.plan.kept)

    def _counted(self, blocks: Iterator[Block], report: PackFilesReport) -> Iterator[Block]:
        for block in blocks:
            report.records += block.records
            report.bytes += len(block.data)
            self.progress(report.records, report.bytes)
            yield block

    def _put(self, chunk: PackedChunk) -> None:
        name = f"chunk-{chunk.sequence:05}"
        for number, file in enumerate(chunk.files):
            self.target.put(file.path, f"{name}/{number:05}.jsonl")
        self.target.put(chunk.index, f"{name}/index.parquet")
