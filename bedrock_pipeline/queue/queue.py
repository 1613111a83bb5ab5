"""`BedrockQueue`: tasks in, answers out.

What belongs here: the object that a program holds. It keeps nothing that is not in the ledger: another process, or
this one after a crash, sees the same queue.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.events import Position
from bedrock_pipeline.ledger.queues import QueueJob
from bedrock_pipeline.ledger.tasks import DuplicateTaskError, NewTask
from bedrock_pipeline.queue.config import BedrockQueueConfig
from bedrock_pipeline.queue.errors import (
    AwaitTimeoutError,
    ClosedQueueError,
    JobStuckError,
    UnknownJobError,
)
from bedrock_pipeline.queue.events import Callback, Emitter, EventName, QueueEvent
from bedrock_pipeline.queue.job_events import CURE, JobEvents
from bedrock_pipeline.queue.results import (
    JobResult,
    JobStatus,
    TaskResult,
    job_result,
    job_status,
)
from bedrock_pipeline.queue.task import BedrockTask, encoded, task_of
from bedrock_pipeline.queue.threshold import Threshold
from bedrock_pipeline.queue.worker import Driver

#: Tasks and bytes that `enqueue_many` commits at a time.
_BATCH_TASKS, _BATCH_BYTES = 2000, 8_000_000
#: Seconds between two steps of the queue at the most, whatever the poll interval.
_STEP_S = 1.0
_CONNECTIONS = 4


@dataclass(frozen=True)
class _Open:
    deployment: Deployment
    driver: Driver
    events: JobEvents


class BedrockQueue:
    """A durable queue of tasks, shared by every process that gives its name.

    Safe to use from several threads. As a context manager it initializes and closes itself.

    Args:
        config: its settings.
        sleep: waits between two looks.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        config: BedrockQueueConfig,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.name = config.queue_name
        self._pipeline = config.pipeline()
        self._limits = config.limits
        self._sleep = sleep
        self._monotonic = monotonic
        self._emitter = Emitter()
        self._threshold = Threshold(config.flush_policy)
        self._opened: _Open | None = None
        self._stepping = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- Beginning and end

    def initialize(self) -> None:
        """Connect, bring the ledger's tables up to date where they are not, and make the queue known.

        Raises:
            NotConfiguredError: no AWS setting, and no embedded stack.
            DatabaseUnreachableError: Postgres does not answer.
            QueueModelError: the queue exists for another model.
        """
        if self._opened:
            return
        deployment = open_deployment(self.config.settings(), max_connections=_CONNECTIONS)
        try:
            if not deployment.ledger.is_current():
                deployment.ledger.migrate()
            deployment.ledger.queues.register(
                self.name,
                job_type=self.config.job_type,
                model_id=self.config.model_id,
                settings=self.config.stored(),
            )
            events = JobEvents(deployment, self.name, self._emitter)
        except BaseException:
            deployment.close()
            raise
        driver = Driver(
            deployment,
            self._pipeline,
            poll_s=self.config.poll_s(deployment.settings),
            report=lambda error: self._emitter.emit("error", error),
            monotonic=self._monotonic,
        )
        self._opened = _Open(deployment, driver, events)
        self._stop.clear()
        if self.config.enable_auto_polling:
            self._thread = threading.Thread(target=self._run, name=f"queue {self.name}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread and the connections; tasks and jobs stay, and go on wherever the queue is opened again."""
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._opened:
            try:
                self._pump()
            except Exception as error:
                self._emitter.emit("error", error)
            self._opened.deployment.close()
            self._opened = None

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Tasks in

    def enqueue(self, task: BedrockTask | Mapping[str, Any]) -> None:
        """Add a task; it is committed when this returns. Where that makes a flush due, it is done here.

        Raises:
            InvalidTaskError: the task is not fit; names the field.
            DuplicateTaskError: its record id is waiting already, and `on_duplicate` is `refuse`.
            ClosedQueueError: the queue is not open.
        """
        given = task_of(task)
        self._add([(given, encoded(given, self._limits))])

    def enqueue_many(self, tasks: Iterable[BedrockTask | Mapping[str, Any]]) -> int:
        """Add tasks from any iterable, batch by batch, in bounded memory; how many were added.

        Where one is not fit, the batches before it are committed and its own is not; the exception's notes say how
        many tasks that is.

        Raises:
            InvalidTaskError, DuplicateTaskError, ClosedQueueError: as `enqueue`.
        """
        added = 0
        batch: dict[str, tuple[BedrockTask, NewTask]] = {}
        try:
            size = 0
            for one in tasks:
                given = task_of(one)
                new = encoded(given, self._limits)
                if new.record_id in batch and self.config.on_duplicate == "refuse":
                    raise DuplicateTaskError(self.name, [new.record_id])
                batch[new.record_id] = given, new
                size += len(new.line)
                if len(batch) == _BATCH_TASKS or size >= _BATCH_BYTES:
                    added += self._add(batch.values())
                    batch, size = {}, 0
            return added + self._add(batch.values())
        except BedrockPipelineError as error:
            error.add_note(f"The first {added} tasks are in the queue.")
            raise

    def get_queue_size(self) -> int:
        """How many tasks wait, of all processes; counts them."""
        return self._deployment.ledger.tasks.size(self.name)

    def flush(self) -> list[str]:
        """Make jobs of every task that waits now. Several where the limits ask for it, none of nothing.

        Whatever goes wrong, each task is in the queue or in a job.

        Returns:
            Their ids, after those of the jobs that this object has made by itself (in `enqueue`, in its thread) since
            the last flush: the last 100,000. Jobs that other processes made are told by `events`.

        Raises:
            BelowMinimumError: too few tasks for one job.
            AwsError: an upload failed. The ids of jobs that were made before come with the next flush.
        """
        driver = self._now_open.driver
        driver.flush(wait=True)
        jobs = driver.take_made()
        self._pump()
        return jobs

    # --- Jobs out

    def get_job(self, job_id: str | UUID) -> JobResult:
        """What is known of a job now.

        Raises:
            UnknownJobError: there is none.
        """
        return job_result(self._deployment, self._job(job_id))

    def get_job_status(self, job_id: str | UUID) -> JobStatus:
        """A job's status, one of the original library's ten.

        Raises:
            UnknownJobError: there is none.
        """
        return job_status(self._job(job_id))

    def get_job_results(self, job_id: str | UUID) -> Iterator[TaskResult]:
        """The results of a job, as a stream from S3.

        Raises:
            UnknownJobError: there is no such job.
            JobNotFinalError: not every record is final yet.
        """
        return iter(self.get_job(job_id).final_results())

    def get_job_results_table(self, job_id: str | UUID) -> pa.Table:
        """The results of a job as an Arrow table; for its columns see `docs/queue.md`.

        Raises:
            UnknownJobError: there is no such job.
            JobNotFinalError: not every record is final yet.
        """
        return self.get_job(job_id).final_results().table()

    def await_job(self, job_id: str | UUID, timeout: float | None = None) -> JobResult:
        """Wait until every record of a job is final, and make it so: this submits, looks and collects by itself.

        Args:
            job_id: as `flush` told it.
            timeout: seconds; None waits for as long as it takes.

        Raises:
            UnknownJobError: there is no such job.
            JobStuckError: only a person can make it go on.
            AwaitTimeoutError: it took longer.
        """
        return self.await_jobs([job_id], timeout)[0]

    def await_jobs(self, job_ids: Sequence[str | UUID], timeout: float | None = None) -> list[JobResult]:
        """Wait for several jobs, in the order given.

        Raises:
            UnknownJobError, JobStuckError, AwaitTimeoutError: as `await_job`.
        """
        deadline = None if timeout is None else self._monotonic() + timeout
        results: dict[str, JobResult] = {}
        while True:
            self.step()
            for job_id in {str(one) for one in job_ids} - results.keys():
                result = self.get_job(job_id)
                if result.final:
                    results[job_id] = result
                elif result.stuck:
                    raise JobStuckError(f"Job {job_id} waits for a person: {result.stuck}", CURE)
            missing = [str(one) for one in job_ids if str(one) not in results]
            if not missing:
                return [results[str(one)] for one in job_ids]
            if deadline is not None and self._monotonic() >= deadline:
                raise AwaitTimeoutError(
                    f"Not final within {timeout:g} s: {', '.join(missing)}.", "They go on; await them again."
                )
            self._sleep(min(self.config.poll_interval_ms / 1000, _STEP_S))

    def step(self) -> None:
        """Do what is due now, as the thread and `await_job` do, unless another thread of this process is at it.

        Raises:
            ClosedQueueError: the queue is not open.
        """
        self._deployment  # noqa: B018  # raises where the queue is closed
        if self._stepping.acquire(blocking=False):
            try:
                self._now_open.driver.step()
                self._pump()
            finally:
                self._stepping.release()

    def cancel_job(self, job_id: str | UUID) -> None:
        """Give up what a job has not answered yet; what is answered is kept.

        Raises:
            UnknownJobError: there is none.
        """
        chunk = self._job(job_id).chunk
        deployment = self._deployment
        for one in deployment.ledger.interventions.cancel(chunk.pipeline, chunk.dataset, chunk.chunk_key):
            if one.job_arn and one.status != "stopping":
                deployment.jobs.stop(one.job_arn)

    # --- Events

    def on(self, event: EventName, callback: Callback) -> None:
        """Call back at every event of this name; `docs/queue.md` tells with which arguments.

        A callback that raises stops nothing: it is logged, and told as `error`.

        Raises:
            UnknownEventError: there is none of this name.
        """
        self._emitter.on(event, callback)

    def events(self, since: Position | str | None = None, *, follow: bool = False) -> Iterator[QueueEvent]:
        """Everything that happened to the queue's jobs, in an order in which none is missed.

        Any process may read them, also after a restart: keep the last event's `position`.

        Args:
            since: after this position; None from the beginning.
            follow: whether to wait for further ones, until the queue is closed, rather than end.
        """
        position = Position.of(since) if isinstance(since, str) else since or Position()
        while True:
            found, following = self._now_open.events.after(position)
            yield from found
            if following == position:
                if not follow or self._stop.is_set():
                    return
                self._sleep(min(self.config.poll_interval_ms / 1000, _STEP_S))
            position = following

    # --- Within

    @property
    def _now_open(self) -> "_Open":
        if self._opened is None:
            raise ClosedQueueError(
                f"Queue {self.name!r} is not open.", "Use it in a `with` block, or call initialize() first."
            )
        return self._opened

    @property
    def _deployment(self) -> Deployment:
        return self._now_open.deployment

    def _add(self, tasks: Collection[tuple[BedrockTask, NewTask]]) -> int:
        if not tasks:
            return 0
        deployment, new = self._deployment, [task for _, task in tasks]
        deployment.ledger.tasks.add(self.name, new, replace=self.config.on_duplicate == "replace")
        for given, _ in tasks:
            self._emitter.emit("task-queued", given)
        if self._threshold.added(len(new), sum(len(task.line) for task in new)):
            # The tasks are safe, so whatever goes wrong here is told as an event, and tried again later.
            try:
                self._threshold.looked(self._now_open.driver.flush_if_due())
                self._pump()
            except Exception as error:
                self._emitter.emit("error", error)
        return len(new)

    def _job(self, job_id: str | UUID) -> QueueJob:
        deployment = self._deployment
        with suppress(ValueError):
            job = deployment.ledger.queues.job(job_id if isinstance(job_id, UUID) else UUID(job_id))
            if job and job.queue == self.name:
                return job
        raise UnknownJobError(
            f"Queue {self.name!r} has no job {str(job_id)!r}.", "A job's id is what flush() returned."
        )

    def _run(self) -> None:
        pause = min(self.config.poll_interval_ms / 1000, _STEP_S)
        while not self._stop.is_set():
            try:
                self.step()
            except Exception as error:  # the thread must live: whatever it is, the next step may go well
                self._emitter.emit("error", error)
            self._stop.wait(pause)

    def _pump(self) -> None:
        self._now_open.events.tell()
