"""Flush a queue: the tasks that wait become chunks.

What belongs here: the order of reading, packing, uploading and entering. Until the chunks are entered, in the
transaction that takes their tasks out of the queue, nothing has happened: whatever goes wrong, each task is in the
queue or in a chunk. The cutting itself is `records.pack`.
"""

import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.queues import TasksChangedError
from bedrock_pipeline.ledger.rows import InputFile, NewChunk
from bedrock_pipeline.ledger.tasks import Task, Waiting
from bedrock_pipeline.pipeline import FlushPolicy, Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.pack import Line, PackedChunk, pack, too_large
from bedrock_pipeline.stages.context import Context
from bedrock_pipeline.stages.request import chunk_uuid, create_request

_NOTHING_CARRIED = pa.schema([])


class TaskTooLargeError(BedrockPipelineError):
    """A waiting task fits no file: the limits were lowered after it was enqueued."""


class NotAQueueError(BedrockPipelineError):
    """A pipeline has no queue."""


@dataclass(frozen=True, slots=True)
class Flushed:
    """Tasks that became chunks.

    Attributes:
        dataset: the day that they were added to.
    """

    dataset: str
    chunks: list[NewChunk]


def why_flush(waiting: Waiting, policy: FlushPolicy) -> str | None:
    """Why the queue is due to be flushed; None where it is not."""
    if waiting.tasks >= policy.batch_size:
        return f"{policy.batch_size} tasks wait"
    if policy.max_bytes is not None and waiting.bytes >= policy.max_bytes:
        return f"{waiting.bytes} bytes wait"
    if policy.max_age_s is not None and waiting.tasks and waiting.age.total_seconds() >= policy.max_age_s:
        return f"a task has waited for {waiting.age.total_seconds():.0f} s"
    return None


def due_to_flush(context: Context, pipeline: Pipeline) -> tuple[Waiting, str | None]:
    """What waits, counted up to a batch; and why the queue is due to be flushed, None where it is not."""
    policy = _policy(pipeline)
    waiting = context.ledger.tasks.waiting(pipeline.name, policy.batch_size)
    return waiting, why_flush(waiting, policy)


def flush_queue(context: Context, pipeline: Pipeline, *, wait: bool = True) -> Iterator[Flushed]:
    """Make chunks of every task that waits now, a few at a time; each that is given out is entered.

    Args:
        context: the deployment.
        pipeline: a queue.
        wait: whether to wait for another flush of the queue that is under way; otherwise nothing is done then.

    Raises:
        BelowMinimumError: too few tasks for one job.
        TaskTooLargeError: a task fits no file.
        AwsError: an upload failed.
    """
    _policy(pipeline)
    with context.ledger.tasks.flushing(pipeline.name, wait=wait) as ours:
        # What is replaced meanwhile waits behind this mark, so that trying again comes to an end.
        newest = context.ledger.tasks.newest(pipeline.name) if ours else 0
        while newest:
            flush = _Flush(context, pipeline, newest)
            try:
                flushed = flush.some()
            except TasksChangedError:
                continue
            if flushed is None:
                return
            yield flushed


def tasks_to_take(waiting: int, limits: Limits) -> int:
    """How many tasks to pack at a time: one full chunk, or, at the end, all that is left, which two chunks hold."""
    return waiting if waiting < 2 * limits.max_records else limits.max_records


@dataclass(frozen=True)
class _Flush:
    context: Context
    pipeline: Pipeline
    newest: int

    def some(self) -> Flushed | None:
        """Pack, upload and enter the first tasks; None where there are none."""
        ledger, name, limits = self.context.ledger, self.pipeline.name, self.pipeline.effective_limits
        waiting = ledger.tasks.waiting(name, 2 * limits.max_records, newest=self.newest)
        take = tasks_to_take(waiting.tasks, limits)
        dataset = ledger.queues.today()
        task_ids: array[int] = array("q")
        with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
            lines = self._lines(ledger.tasks.in_order(name, newest=self.newest, limit=take), task_ids)
            first = next(lines, None)
            if first is None:
                return None
            chunks, begin = [], 0
            for packed in pack(_chain(first, lines), limits, _NOTHING_CARRIED, Path(folder)):
                end = begin + packed.records
                chunks.append(self._upload(packed, dataset, task_ids[begin], task_ids[end - 1]))
                begin = end
        entered = ledger.queues.enter_chunks(
            name, dataset, task_ids=task_ids, chunks=chunks, max_jobs=limits.max_jobs
        )
        return Flushed(dataset, entered)

    def _lines(self, tasks: Iterator[Task], task_ids: "array[int]") -> Iterator[Line]:
        for task in tasks:
            if too_large(task.line, self.pipeline.effective_limits):
                raise TaskTooLargeError(
                    f"Task {task.record_id!r} of queue {self.pipeline.name!r} has {len(task.line)} bytes, more than a file may have.",
                    "Raise max_file_size_bytes to what it was when the task was enqueued.",
                )
            task_ids.append(task.task_id)
            yield Line(task.record_id, (), task.line)

    def _upload(self, chunk: PackedChunk, dataset: str, first: int, last: int) -> NewChunk:
        settings, pipeline = self.context.settings, self.pipeline
        # The same tasks again give the same chunk, so a flush that is tried again leaves nothing behind.
        chunk_id = chunk_uuid(
            self.context.ledger.deployment_id,
            pipeline.name,
            "queue",
            first,
            last,
            chunk.records,
            chunk.content_hash,
        )
        base = settings.uri(settings.input_prefix, pipeline.name, dataset, str(chunk_id))
        files = []
        for number, file in enumerate(chunk.files):
            uri = f"{base}/{chunk.content_hash[:16]}/{number:05}.jsonl"
            self.context.objects.upload(file.path, uri)
            files.append(InputFile(uri, file.records, file.bytes, file.sha256))
            file.path.unlink()
        self.context.objects.upload(chunk.index, f"{base}/index.parquet")
        chunk.index.unlink()
        source = files[0].uri if len(files) == 1 else f"{base}/{chunk.content_hash[:16]}/"
        return NewChunk(
            chunk_id=chunk_id,
            round=1,
            sequence=chunk.sequence,
            chunk_key="",
            records=chunk.records,
            bytes=chunk.bytes,
            files=tuple(files),
            content_hash=chunk.content_hash,
            index_uri=f"{base}/index.parquet",
            model_id=pipeline.model_id,
            quota_group=pipeline.slots_of(settings.region),
            request=create_request(settings, pipeline, dataset, chunk_id, source),
        )


def _chain(first: Line, rest: Iterator[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _policy(pipeline: Pipeline) -> FlushPolicy:
    if pipeline.queue is None:
        raise NotAQueueError(
            f"Pipeline {pipeline.name!r} is no queue.", "Give it `queue=FlushPolicy(…)`, or launch a dataset."
        )
    return pipeline.queue
