"""Rows into chunks, by several threads.

What belongs here: rendering and packing put together.
"""

from collections.abc import Callable, Iterator

from bedrock_pipeline.concurrency import in_turn
from bedrock_pipeline.prepare.chunks.packer import Packer
from bedrock_pipeline.prepare.requests.renderer import Rendered
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources.source import IntakeBatch
from bedrock_pipeline.system import ExecutorFactory, threads

#: Threads that read, render and write.
WORKERS = 2


def packed(
    batches: Iterator[IntakeBatch],
    render: Callable[[IntakeBatch], Rendered],
    packer: Packer,
    rejected: RejectionWriter,
    workers: int = WORKERS,
    executor: ExecutorFactory = threads,
) -> Iterator[PackedChunk]:
    """Batches of rows as chunks, the same from any number of threads; what cannot be asked is rejected.

    Args:
        batches: the rows, in order.
        render: from rows to lines; called by several threads.
        packer: cuts the lines.
        rejected: gets the rows that are left out.
        workers: number of threads.
        executor: makes the threads.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
    """

    def add(rendered: Rendered) -> Iterator[PackedChunk]:
        rejected.add(*rendered.rejected)
        yield from packer.add(rendered.block)

    yield from in_turn(batches, render, add, workers, executor)
    yield from packer.finish()
