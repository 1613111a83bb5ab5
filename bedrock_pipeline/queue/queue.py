"""`BedrockQueue`: tasks in, results out.

It keeps nothing that is not in the ledger: another process, or this one after a crash, sees the same queue.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import (
    AwaitTimeoutError,
    BedrockPipelineError,
    JobStuckError,
    NotFoundError,
    ServiceUnavailableError,
    StateError,
)
from bedrock_pipeline.ledger.events import Position
from bedrock_pipeline.ledger.queues import QueueJob
from bedrock_pipeline.ledger.tasks import DuplicateTaskError, NewTask
from bedrock_pipeline.queue.config import BedrockQueueConfig
from bedrock_pipeline.queue.events import OPERATOR_FIX, Callback, Emitter, EventName, JobEvents, QueueEvent
from bedrock_pipeline.queue.flush_queue import FlushCheck
from bedrock_pipeline.queue.job_results import JobResult, JobStatus, TaskResult, job_result, job_status
from bedrock_pipeline.queue.task import BedrockTask, InvalidTaskError, encoded, task_of
from bedrock_pipeline.queue.worker import QueueWorker
from bedrock_pipeline.submit.poll_jobs import jobs_to_stop, stop_jobs
from bedrock_pipeline.system import SYSTEM, System

#: Tasks and bytes that `enqueue_many` commits at a time.
_BATCH_TASKS, _BATCH_BYTES = 2000, 8_000_000
#: The most seconds between two steps of the queue, whatever the poll interval.
_STEP_S = 1.0
_CONNECTIONS = 4


@dataclass(frozen=True)
class _Open:
    deployment: Deployment
    worker: QueueWorker
    events: JobEvents


class BedrockQueue:
    """A durable queue of tasks, shared by every process that uses its name.

    Thread-safe. As a context manager it initializes and closes itself. `system` is for tests: ids, randomness, time, threads.
    """

    def __init__(self, config: BedrockQueueConfig, *, system: System = SYSTEM) -> None:
        self.config, self.name = config, config.queue_name
        self._pipeline = config.pipeline()
        self._rules = self._pipeline.body_rules
        self._system = system
        self._pause_s = min(config.poll_interval_ms / 1000, _STEP_S)
        self._emitter = Emitter()
        self._flush_check = FlushCheck(self._pipeline)
        self._opening = threading.Lock()
        self._opened: _Open | None = None
        self._stepping = threading.Lock()
        self._stepper: int | None = None  # the thread that has the lock; its callbacks may wait for jobs
        self._stop = threading.Event()
        self._join: Callable[[], None] = lambda: None

    # --- Open and close

    def initialize(self) -> None:
        """Connect, migrate the ledger if necessary, and register the queue.

        Raises:
            NotConfiguredError: there are no AWS settings and no embedded stack.
            DatabaseUnreachableError: Postgres does not respond.
            QueueModelError: the queue exists with another model.
            NameTakenError: a pipeline of this name has datasets.
        """
        with self._opening:
            if not self._opened:
                self._open()

    def _open(self) -> None:
        deployment = open_deployment(
            self.config.settings(), max_connections=_CONNECTIONS, system=self._system
        )
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
        worker = QueueWorker(
            deployment,
            self._pipeline,
            poll_s=self.config.poll_s(deployment.settings),
            report=lambda error: self._emitter.emit("error", error),
        )
        self._opened = _Open(deployment, worker, events)
        self._stop.clear()
        if self.config.enable_auto_polling:
            self._join = self._system.start(f"queue {self.name}", self._run)

    def close(self) -> None:
        """End the thread and the connections. Tasks and jobs remain and continue wherever the queue is opened again.

        Raises:
            StateError: a callback of the queue's thread calls it, which would wait for itself.
        """
        if self._stepper == threading.get_ident():
            raise StateError(
                f"Queue {self.name!r} was closed by a callback of the thread that works on it.",
                "Set an event in the callback, and close the queue in the program's own thread.",
            )
        self._stop.set()
        self._join()
        if self._opened:
            try:
                self._opened.events.deliver()
            except Exception as error:
                self._emitter.emit("error", error)
            self._opened.deployment.close()
            self._opened = None

    def __enter__(self) -> Self:
        self.initialize()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Tasks in

    def enqueue(self, task: BedrockTask | Mapping[str, Any]) -> None:
        """Add a task; it is committed when this returns. If that makes a flush due, it is performed here.

        Raises:
            InvalidTaskError: the task is invalid; names the field.
            DuplicateTaskError: its record id waits already, and `on_duplicate` is `reject`.
            StateError: the queue is not open.
        """
        self._add([self._encoded(task)])

    def enqueue_many(self, tasks: Iterable[BedrockTask | Mapping[str, Any]]) -> int:
        """Add tasks from any iterable, batch by batch in bounded memory, and return their number, replaced ones included.

        If one is invalid, the batches before it are committed and its own is not; the exception's notes have its number, from
        1 on, and how many are committed.

        Raises:
            InvalidTaskError, DuplicateTaskError, StateError: as `enqueue`.
        """
        added, size, number, batch = 0, 0, 0, dict[str, tuple[BedrockTask, NewTask]]()
        try:
            for one in tasks:
                number += 1
                given, new = self._encoded(one)
                if new.record_id in batch and self.config.on_duplicate == "reject":
                    raise DuplicateTaskError(self.name, [new.record_id])
                batch[new.record_id] = given, new
                size += len(new.line)
                if len(batch) == _BATCH_TASKS or size >= _BATCH_BYTES:
                    self._add(batch.values())
                    added, batch, size = number, {}, 0
            self._add(batch.values())
            return number
        except BedrockPipelineError as error:
            if isinstance(error, InvalidTaskError):
                error.add_note(f"It is task {number}.")
            error.add_note(f"{added} tasks of this call were added before.")
            raise

    def _encoded(self, task: BedrockTask | Mapping[str, Any]) -> tuple[BedrockTask, NewTask]:
        given = task_of(task)
        return given, encoded(given, self.config.limits, self._rules)

    def get_queue_size(self) -> int:
        """The number of waiting tasks, of all processes; it counts them."""
        return self._deployment.ledger.tasks.size(self.name)

    def flush(self) -> list[str]:
        """Make jobs of all waiting tasks: several if the limits require it, none for an empty queue.

        Whatever goes wrong, each task is either in the queue or in a job.

        Returns:
            Their ids, after those of the jobs that this object has made automatically (in `enqueue`, in its thread) since
            the last flush, the last 100,000 at most. `events` has the jobs of other processes too.

        Raises:
            BelowMinimumError: too few tasks for one job, and `below_minimum` is `fail`.
            AwsError, DatabaseUnreachableError: the next flush returns the ids of the jobs that were made before.
            StateError: the queue is not open.
        """
        self.make_jobs()
        return self.take_job_ids()

    def make_jobs(self) -> None:
        """As `flush`, which returns their ids; they are kept for it, or for `take_job_ids`."""
        now = self._now_open
        now.worker.flush(wait=True)
        now.events.deliver()

    def take_job_ids(self) -> list[str]:
        """What `flush` returns: ids of jobs that were made, each once."""
        return self._now_open.worker.take_job_ids()

    # --- Jobs out

    def get_job(self, job_id: str | UUID) -> JobResult:
        """A job in its present state.

        Raises:
            NotFoundError: the queue has no such job.
        """
        return job_result(self._deployment, self._job(job_id))

    def get_job_status(self, job_id: str | UUID) -> JobStatus:
        """A job's status, one of the original library's ten.

        Raises:
            NotFoundError: the queue has no such job.
        """
        return job_status(self._job(job_id))

    def get_job_results(self, job_id: str | UUID) -> Iterator[TaskResult]:
        """The results of a job, as a stream from S3.

        Raises:
            NotFoundError: the queue has no such job.
            JobNotFinalError: not every record is final yet.
        """
        return iter(self.get_job(job_id).final_results())

    def get_job_results_table(self, job_id: str | UUID) -> pa.Table:
        """The results of a job as an Arrow table with the columns of docs/reference/result_columns.md.

        Raises:
            NotFoundError: the queue has no such job.
            JobNotFinalError: not every record is final yet.
        """
        return self.get_job(job_id).final_results().table()

    def await_job(self, job_id: str | UUID, timeout: float | None = None) -> JobResult:
        """Wait until every record of a job is final; meanwhile this submits, polls and collects.

        Args:
            job_id: as `flush` returned it.
            timeout: seconds; None: no limit.

        Raises:
            NotFoundError: the queue has no such job.
            JobStuckError: it continues only after an operator's decision.
            AwaitTimeoutError: it was not final in time; it continues.
        """
        return self.await_jobs([job_id], timeout)[0]

    def await_jobs(self, job_ids: Sequence[str | UUID], timeout: float | None = None) -> list[JobResult]:
        """Wait for several jobs; their results in the order given.

        Raises:
            NotFoundError, JobStuckError, AwaitTimeoutError: as `await_job`.
        """
        deadline = None if timeout is None else self._system.monotonic() + timeout
        results: dict[str, JobResult] = {}
        while True:
            self.step()
            for job_id in {str(one) for one in job_ids} - results.keys():
                result = self.get_job(job_id)
                if result.final:
                    results[job_id] = result
                elif result.stuck:
                    raise JobStuckError(f"Job {job_id} waits for an operator: {result.stuck}", OPERATOR_FIX)
            if not (missing := [str(one) for one in job_ids if str(one) not in results]):
                return [results[str(one)] for one in job_ids]
            if deadline is not None and self._system.monotonic() >= deadline:
                raise AwaitTimeoutError(
                    f"Not final within {timeout:g} s: {', '.join(missing)}.",
                    "They continue; await them again.",
                )
            self._system.sleep(self._pause_s)

    def step(self) -> None:
        """Do what is due now, as the thread and `await_job` do, unless another thread of this process does it.

        Raises:
            StateError: the queue is not open.
        """
        now = self._now_open
        if self._stepper == threading.get_ident():  # a callback waits for a job
            now.worker.step()
        elif self._stepping.acquire(blocking=False):
            self._stepper = threading.get_ident()
            try:
                now.worker.step()
                now.events.deliver()
            finally:
                self._stepper = None
                self._stepping.release()

    def cancel_job(self, job_id: str | UUID) -> None:
        """Cancel what a job has not answered yet; existing responses are kept.

        Raises:
            NotFoundError: the queue has no such job.
            ServiceUnavailableError: the cancellation is recorded; the job is stopped by a later poll.
        """
        chunk, deployment = self._job(job_id).chunk, self._deployment
        chunks = deployment.ledger.interventions.cancel(chunk.pipeline, chunk.dataset, chunk.chunk_key)
        if errors := stop_jobs(deployment, jobs_to_stop(chunks)):
            raise ServiceUnavailableError(
                f"Job {job_id} could not be stopped now: {errors[0].what}",
                "Its cancellation is recorded; a later poll stops it.",
            ) from errors[0]

    # --- Events

    def on(self, event: EventName, callback: Callback) -> None:
        """Call `callback` at every event of this name, with the arguments listed in docs/queue.md.

        An exception in a callback stops nothing: its type is logged, and it is reported as `error`.

        Raises:
            InvalidInputError: there is no event of this name.
        """
        self._emitter.on(event, callback)

    def events(self, since: Position | str | None = None, *, follow: bool = False) -> Iterator[QueueEvent]:
        """Every event of the queue's jobs, in an order in which none is missed.

        Any process may read them, also after a restart: store the last event's `str(position)`.

        Args:
            since: continue after this position; None: from the beginning.
            follow: whether to wait for further events until the queue is closed.

        Raises:
            StateError: the queue is not open.
            InvalidInputError: the text is not a position.
        """
        position = Position.of(since) if isinstance(since, str) else since or Position()
        yield from self._now_open.events.since(
            position, follow=follow, closed=self._stop.is_set, pause=lambda: self._system.sleep(self._pause_s)
        )

    # --- Internal

    @property
    def _now_open(self) -> "_Open":
        if self._opened is None:
            raise StateError(
                f"Queue {self.name!r} is not open.", "Use it in a `with` block, or call initialize() first."
            )
        return self._opened

    @property
    def _deployment(self) -> Deployment:
        return self._now_open.deployment

    def _add(self, tasks: Collection[tuple[BedrockTask, NewTask]]) -> None:
        if not tasks:
            return
        deployment, new = self._deployment, [task for _, task in tasks]
        deployment.ledger.tasks.add(self.name, new, replace=self.config.on_duplicate == "replace")
        for given, _ in tasks:
            self._emitter.emit("task-queued", given)
        if self._flush_check.due(len(new), sum(len(task.line) for task in new)):
            # The tasks are committed, so an error here is an event, and the flush is tried again later.
            try:
                self._flush_check.counted(self._now_open.worker.flush_if_due())
                self._now_open.events.deliver()
            except Exception as error:
                self._emitter.emit("error", error)

    def _job(self, job_id: str | UUID) -> QueueJob:
        with suppress(ValueError):
            job = self._deployment.ledger.queues.job(UUID(str(job_id)))
            if job and job.queue == self.name:
                return job
        raise NotFoundError(
            f"Queue {self.name!r} has no job {str(job_id)!r}.", "A job's id is what flush() returned."
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception as error:  # the thread must live: whatever it is, the next step may succeed
                self._emitter.emit("error", error)
            self._stop.wait(self._pause_s)
