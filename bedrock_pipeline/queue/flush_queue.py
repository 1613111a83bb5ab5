"""Flush a queue: read the waiting tasks, pack and upload them, enter the chunks into the ledger.

One transaction enters the chunks and removes their tasks from the queue. Nothing has happened before it, so whatever
goes wrong, each task is either in the queue or in a chunk.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import InvalidInputError
from bedrock_pipeline.frozen_settings import freeze
from bedrock_pipeline.ledger.queues import TasksChangedError
from bedrock_pipeline.ledger.rows import NewChunk
from bedrock_pipeline.ledger.tasks import FlushLease, Task, Waiting
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan, plan_invocation
from bedrock_pipeline.prepare.chunks.create_request import create_request
from bedrock_pipeline.prepare.chunks.packer import TooFewRecordsError, pack
from bedrock_pipeline.prepare.upload_chunks import ChunkUploader, estimator_for
from bedrock_pipeline.queue.job_results import TASK_ID
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line, line_batches_of
from bedrock_pipeline.records.packed_chunk import PackedChunk

#: The task's number is carried through every attempt, since a record id is not unique in a day's dataset.
_CARRIED = pa.schema([(TASK_ID, pa.int64())])
#: Tasks between two renewals of the lease.
_RENEWED_AFTER = 1000


@dataclass(frozen=True, slots=True)
class Flushed:
    """Chunks that a flush has entered; `dataset` is the day to which they were added."""

    dataset: str
    chunks: list[NewChunk]


class FlushCheck:
    """When an enqueuing process counts the waiting tasks to see whether a flush is due.

    A count reads at most a batch of index entries, so counting at each enqueue would cost more the more tasks wait. This
    counts when this process has added a quarter of what was missing at the last count: the cost of a task is constant on
    average. The threshold is found exactly while up to four processes enqueue at the same pace; with more, the queue may
    become a little longer.
    """

    def __init__(self, queue: QueuePipeline) -> None:
        self._queue = queue
        self._tasks = self._bytes = 0
        self._next_tasks = self._next_bytes = 1

    def due(self, tasks: int, size: int) -> bool:
        """Whether to count, now that this process has added these tasks and bytes."""
        self._tasks += tasks
        self._bytes += size
        max_bytes = self._queue.flush_policy.max_bytes
        return self._tasks >= self._next_tasks or (max_bytes is not None and self._bytes >= self._next_bytes)

    def counted(self, waiting: Waiting) -> None:
        """Take the result of a count."""
        self._tasks = self._bytes = 0
        self._next_tasks = _quarter(self._queue.tasks_to_flush - waiting.tasks)
        self._next_bytes = _quarter((self._queue.flush_policy.max_bytes or 0) - waiting.bytes)


def flush_queue(deployment: Deployment, queue: QueuePipeline, *, wait: bool = True) -> Iterator[Flushed]:
    """Pack every task that waits now into chunks, a few chunks at a time; those that are yielded are entered.

    Fewer tasks than a job needs follow `below_minimum`; `hold` leaves them in the queue. While another process flushes the
    queue, this waits, or does nothing if `wait` is false.

    Raises:
        TooFewRecordsError: too few tasks for one job, and `below_minimum` is `fail`.
        InvalidInputError: a task is larger than a file may be.
        AwsError: an upload failed.
    """
    with deployment.ledger.tasks.flushing(queue.name, wait=wait) as lease:
        # Tasks that are replaced meanwhile are behind this mark, so that repeated flushes come to an end.
        newest = deployment.ledger.tasks.newest(queue.name) if lease else 0
        while lease and newest:
            flush = _Flush(deployment, queue, newest, lease)
            try:
                flushed = flush.some()
            except TasksChangedError:
                continue
            if flushed is None:
                return
            yield flushed


def tasks_to_take(waiting: int, limits: Limits) -> int:
    """How many tasks to pack at a time: one full chunk; or all that remain, if two chunks can hold them."""
    return waiting if waiting < 2 * limits.max_records else limits.max_records


@dataclass(frozen=True)
class _Flush:
    deployment: Deployment
    queue: QueuePipeline
    newest: int
    lease: FlushLease

    def some(self) -> Flushed | None:
        """Pack, upload and enter the first tasks; None if there are none, or too few that must wait."""
        ledger, name, limits = self.deployment.ledger, self.queue.name, self.queue.effective_limits
        waiting = ledger.tasks.waiting(name, 2 * limits.max_records, newest=self.newest).tasks
        plan = plan_invocation(self.queue.below_minimum, limits, waiting)
        if waiting == 0 or plan.mode == "waiting":
            return None
        if plan.mode == "none":
            raise TooFewRecordsError(waiting, limits.min_records)
        dataset, task_ids = ledger.queues.today(), array("q")
        tasks = ledger.tasks.in_order(name, newest=self.newest, limit=tasks_to_take(waiting, limits))
        chunks = self._uploaded(self._lines(tasks, task_ids), task_ids, dataset, plan)
        entered = ledger.queues.enter_chunks(
            name, dataset, task_ids=task_ids, chunks=chunks, max_jobs=limits.max_jobs
        )
        return Flushed(dataset, entered)

    def _uploaded(
        self, lines: Iterator[Line], task_ids: "array[int]", dataset: str, plan: InvocationPlan
    ) -> list[NewChunk]:
        settings, queue = self.deployment.settings, self.queue
        frozen = freeze(queue)
        self.deployment.ledger.versions.keep_settings(frozen)
        uploader = ChunkUploader(
            self.deployment,
            queue.name,
            dataset,
            version=1,
            content=_Content(task_ids),
            model_id=queue.model_id,
            quota_group=str(queue.group_in(settings.region, settings.account)),
            request=lambda chunk_id, uri: create_request(settings, queue, dataset, chunk_id, uri),
            settings_digest=frozen.digest,
            estimator=estimator_for(self.deployment, queue),
            plan=plan,
        )
        lines = plan.lines(lines, lambda _: (None,))
        with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
            try:
                return uploader.all(
                    pack(line_batches_of(lines, _CARRIED), plan.limits, _CARRIED, Path(folder))
                )
            except TooFewRecordsError:  # there were more when they were counted
                raise TasksChangedError(
                    f"Tasks of queue {queue.name!r} were replaced meanwhile.", "Flush again."
                ) from None

    def _lines(self, tasks: Iterator[Task], task_ids: "array[int]") -> Iterator[Line]:
        for place, task in enumerate(tasks):
            if place % _RENEWED_AFTER == 0:
                self.lease.renew()
            if len(task.line) > self.queue.effective_limits.max_record_bytes:
                raise InvalidInputError(
                    f"Task {task.record_id!r} of queue {self.queue.name!r} has {len(task.line)} bytes, more than a file may have.",
                    "Raise max_file_size_bytes to what it was when the task was enqueued.",
                )
            task_ids.append(task.task_id)
            yield Line(task.record_id, (task.task_id,), task.line)


class _Content:
    """The content that identifies a chunk: its lines and its task numbers, the same if a flush is repeated."""

    def __init__(self, task_ids: "array[int]") -> None:
        self._task_ids = task_ids
        self._begin = 0

    def __call__(self, chunk: PackedChunk) -> str:
        begin, self._begin = self._begin, self._begin + chunk.records
        digest = hashlib.sha256(chunk.content_hash.encode())
        digest.update(self._task_ids[begin : self._begin].tobytes())
        return digest.hexdigest()


def _quarter(missing: int) -> int:
    return max(1, missing // 4)
