"""Flush a queue: the tasks that wait become chunks.

What belongs here: the order of reading, packing, uploading and entering. Until the chunks are entered, in the
transaction that takes their tasks out of the queue, nothing has happened: whatever goes wrong, each task is in the
queue or in a chunk. The cutting itself is `prepare.chunks.packer`.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.queues import TasksChangedError
from bedrock_pipeline.ledger.rows import NewChunk
from bedrock_pipeline.ledger.tasks import Task, Waiting
from bedrock_pipeline.pipeline import FlushPolicy, Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan, plan_invocation
from bedrock_pipeline.prepare.chunks.create_request import create_request
from bedrock_pipeline.prepare.chunks.packer import TooFewRecordsError, pack
from bedrock_pipeline.prepare.upload_chunks import ChunkUploader, estimator_for
from bedrock_pipeline.queue.job_results import TASK_ID
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.line_batch import Line, line_batches_of
from bedrock_pipeline.records.packed_chunk import PackedChunk

#: A task's number goes with it through every round: in a day's dataset a record id is not unique.
_CARRIED = pa.schema([(TASK_ID, pa.int64())])


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


def due_to_flush(deployment: Deployment, pipeline: Pipeline) -> tuple[Waiting, str | None]:
    """What waits, counted up to a batch; and why the queue is due to be flushed, None where it is not."""
    policy = _policy(pipeline)
    waiting = deployment.ledger.tasks.waiting(pipeline.name, policy.batch_size)
    return waiting, why_flush(waiting, policy)


def flush_queue(deployment: Deployment, pipeline: Pipeline, *, wait: bool = True) -> Iterator[Flushed]:
    """Make chunks of every task that waits now, a few at a time; each that is given out is entered.

    Too few tasks for a job become what `below_minimum` says; `hold` leaves them in the queue.

    Args:
        deployment: the deployment.
        pipeline: a queue.
        wait: whether to wait for another flush of the queue that is under way; otherwise nothing is done then.

    Raises:
        TooFewRecordsError: too few tasks for one job, and `below_minimum` is `fail`.
        TaskTooLargeError: a task fits no file.
        AwsError: an upload failed.
    """
    _policy(pipeline)
    with deployment.ledger.tasks.flushing(pipeline.name, wait=wait) as ours:
        # What is replaced meanwhile waits behind this mark, so that trying again comes to an end.
        newest = deployment.ledger.tasks.newest(pipeline.name) if ours else 0
        while newest:
            flush = _Flush(deployment, pipeline, newest)
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
    deployment: Deployment
    pipeline: Pipeline
    newest: int

    def some(self) -> Flushed | None:
        """Pack, upload and enter the first tasks; None where there are none, or too few that are held."""
        ledger, name, limits = self.deployment.ledger, self.pipeline.name, self.pipeline.effective_limits
        waiting = ledger.tasks.waiting(name, 2 * limits.max_records, newest=self.newest).tasks
        plan = plan_invocation(self.pipeline.below_minimum, limits, waiting)
        if waiting == 0 or plan.mode == "waiting":
            return None
        if plan.mode == "none":
            raise TooFewRecordsError(waiting, limits.min_records)
        dataset, task_ids = ledger.queues.today(), array("q")
        tasks = ledger.tasks.in_order(name, newest=self.newest, limit=tasks_to_take(waiting, limits))
        chunks = self._uploaded(self._lines(tasks, task_ids), task_ids, dataset, plan)
        entered = ledger.queues.enter_chunks(
            name,
            dataset,
            task_ids=task_ids,
            chunks=chunks,
            max_jobs=limits.max_jobs,
            max_cost_usd=self.pipeline.max_cost_usd,
        )
        return Flushed(dataset, entered)

    def _uploaded(
        self, lines: Iterator[Line], task_ids: "array[int]", dataset: str, plan: InvocationPlan
    ) -> list[NewChunk]:
        settings, pipeline = self.deployment.settings, self.pipeline
        uploader = ChunkUploader(
            self.deployment,
            pipeline.name,
            dataset,
            version=1,
            content=_Content(task_ids),
            model_id=pipeline.model_id,
            quota_group=pipeline.slots_of(settings.region),
            request=lambda chunk_id, uri: create_request(settings, pipeline, dataset, chunk_id, uri),
            estimator=estimator_for(self.deployment, pipeline),
            plan=plan,
        )
        lines = plan.lines(lines, lambda _: (None,))
        with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
            try:
                return uploader.all(
                    pack(line_batches_of(lines, _CARRIED), plan.limits, _CARRIED, Path(folder))
                )
            except TooFewRecordsError:  # they were more when they were counted
                raise TasksChangedError(
                    f"Tasks of queue {pipeline.name!r} were replaced meanwhile.", "Flush again."
                ) from None

    def _lines(self, tasks: Iterator[Task], task_ids: "array[int]") -> Iterator[Line]:
        for task in tasks:
            if len(task.line) > self.pipeline.effective_limits.max_record_bytes:
                raise TaskTooLargeError(
                    f"Task {task.record_id!r} of queue {self.pipeline.name!r} has {len(task.line)} bytes, more than a file may have.",
                    "Raise max_file_size_bytes to what it was when the task was enqueued.",
                )
            task_ids.append(task.task_id)
            yield Line(task.record_id, (task.task_id,), task.line)


class _Content:
    """What tells a chunk from others: its lines and its very tasks, which a flush that is tried again finds again."""

    def __init__(self, task_ids: "array[int]") -> None:
        self._task_ids = task_ids
        self._begin = 0

    def __call__(self, chunk: PackedChunk) -> str:
        begin, self._begin = self._begin, self._begin + chunk.records
        digest = hashlib.sha256(chunk.content_hash.encode())
        digest.update(self._task_ids[begin : self._begin].tobytes())
        return digest.hexdigest()


def _policy(pipeline: Pipeline) -> FlushPolicy:
    if pipeline.queue is None:
        raise NotAQueueError(
            f"Pipeline {pipeline.name!r} is no queue.", "Give it `queue=FlushPolicy(…)`, or launch a dataset."
        )
    return pipeline.queue
