"""A snapshot packed into chunks.

A dataset, an estimate and files are packed here; what happens to a chunk is up to a sink that the caller passes in.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import pyarrow as pa

from bedrock_pipeline.concurrency import in_turn, workers_here
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan, plan_invocation
from bedrock_pipeline.prepare.chunks.packer import Packer, Progress, TooFewRecordsError, no_progress, pack
from bedrock_pipeline.prepare.requests.renderer import Rendered, Renderer
from bedrock_pipeline.prepare.requests.request_template import RequestTemplate
from bedrock_pipeline.prepare.snapshot.records_batch import Records
from bedrock_pipeline.prepare.snapshot.stored_columns import RECORD_ID, input_columns, input_field
from bedrock_pipeline.prepare.snapshot.writer import EmptyDatasetError
from bedrock_pipeline.records.line_batch import line_batches_of, lines_of
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import InputFile
from bedrock_pipeline.sources.parquet import ParquetReader
from bedrock_pipeline.system import ExecutorFactory, threads

_R = TypeVar("_R")
#: Takes the chunks, and how their records are sent.
Sink: TypeAlias = Callable[[Iterator[PackedChunk], InvocationPlan], _R]


def pack_snapshot(
    parts: Sequence[InputFile],
    pipeline: Pipeline,
    folder: Path,
    rejected: RejectionWriter,
    sink: Sink[_R],
    progress: Progress = no_progress,
    executor: ExecutorFactory = threads,
) -> _R:
    """Pack the parts of a snapshot, with too few records as the pipeline's policy says.

    The sink stores each chunk before it takes the next; it is called a second time if there are too few records.

    Returns:
        What the sink returns.

    Raises:
        BelowMinimumError: too few records for one job and the policy is `fail`, or the records are too large.
        EmptyDatasetError: every record was rejected.
    """
    source, limits, policy = ParquetReader(parts), pipeline.effective_limits, pipeline.below_minimum
    schema = source.schema()
    columns = input_columns(schema)
    carried = pa.schema([input_field(columns[name]) for name in pipeline.carry if name != RECORD_ID])
    renderer = Renderer(RequestTemplate.of(pipeline), carried, limits)

    def batches() -> Iterator[Records]:
        for _, rows, _ in source.batches(schema.names):
            yield Records.of_stored(rows)

    try:
        packer = Packer(limits, carried, folder, progress)
        chunks = packed(batches(), renderer.render, packer, rejected, executor=executor)
        return sink(chunks, plan_invocation(policy, limits))
    except TooFewRecordsError as error:
        if not error.records and rejected.count:
            raise EmptyDatasetError.of(rejected) from error
        if policy == "fail" or not error.records:
            raise
        plan = plan_invocation(policy, limits, error.records)
    # Read again: all rejected rows were written the first time.
    rendered = (renderer.render(batch).lines for batch in batches())
    lines = plan.lines(lines_of(rendered), lambda _: (None,) * len(carried))
    return sink(pack(line_batches_of(lines, carried), plan.limits, carried, folder), plan)


def packed(
    batches: Iterator[Records],
    render: Callable[[Records], Rendered],
    packer: Packer,
    rejected: RejectionWriter,
    workers: int | None = None,
    executor: ExecutorFactory = threads,
) -> Iterator[PackedChunk]:
    """Render and pack batches of rows: the same chunks from any number of threads, which call `render`.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
    """

    def add(rendered: Rendered) -> Iterator[PackedChunk]:
        rejected.add(*rendered.rejected)
        yield from packer.add(rendered.lines)

    yield from in_turn(batches, render, add, workers or workers_here(), executor)
    yield from packer.finish()
