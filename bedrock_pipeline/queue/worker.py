"""The worker of a queue: does in this process what Dagster's sensors would request runs for.

It is safe beside others, Dagster's daemon among them: the ledger ensures that a chunk is submitted once, and collecting
twice gives the same. Only Dagster publishes the day's results, since they are an asset.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import due_work, flush_reason, waiting_tasks
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.ledger.tasks import Waiting
from bedrock_pipeline.queue.flush_queue import flush_queue
from bedrock_pipeline.queue.job_results import record_final_jobs
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt, sweep_account
from bedrock_pipeline.submit.submit_chunk import NeedsResolutionError, SubmissionRejectedError, submit_chunk

#: The most chunks that one step submits or collects.
_MOST_ITEMS = 20
#: The most job ids that are kept until `flush` returns them, 10 MB; the oldest are dropped.
_MOST_IDS = 100_000


class QueueWorker:
    """Does the work of one queue, step by step; `step` must not be called by two threads at once.

    `report` receives the errors of a step; the work concerned is tried again in a later one.
    """

    def __init__(
        self,
        deployment: Deployment,
        queue: QueuePipeline,
        *,
        poll_s: float,
        report: Callable[[Exception], None],
    ) -> None:
        self._deployment = deployment
        self._queue = queue
        self._poll_s = poll_s
        self._report = report
        self._job_ids: deque[str] = deque(maxlen=_MOST_IDS)
        self._flush_pace = _Pace(deployment)
        self._poll_pace = _Pace(deployment)
        self._sweep_pace = _Pace(deployment)

    def step(self) -> None:
        """Do what is due, from flushing to recording final jobs. An error in one part does not stop the others."""
        for do in (
            self.flush_if_due,
            self._submit,
            self._poll,
            self._sweep,
            self._collect,
            self._retry,
            self._record_final,
        ):
            try:
                do()
            except Exception as error:  # whatever it is, a later step may succeed
                self._report(error)

    def flush_if_due(self) -> Waiting:
        """Flush if it is due and no other process does it, after an error only after a while; returns what waited before."""
        waiting = waiting_tasks(self._deployment.ledger, self._queue)
        if flush_reason(waiting, self._queue) and self._flush_pace.due():
            with self._flush_pace:
                self.flush(wait=False)
        return waiting

    def flush(self, *, wait: bool) -> None:
        """Make jobs of all waiting tasks; with `wait`, after a flush by another process has ended. Thread-safe."""
        for flushed in flush_queue(self._deployment, self._queue, wait=wait):
            self._job_ids.extend(str(chunk.chunk_id) for chunk in flushed.chunks)

    def take_job_ids(self) -> list[str]:
        """Ids of the jobs that this worker has made, oldest first; each is returned once."""
        job_ids = []
        with suppress(IndexError):
            while True:
                job_ids.append(self._job_ids.popleft())
        return job_ids

    def _due(self, kind: Kind) -> list[str]:
        """The keys of the chunks or datasets for which a step is due."""
        items = due_work(self._deployment.ledger, [self._queue], limit=_MOST_ITEMS, kinds=(kind,))
        return [item.key for item in items]

    def _submit(self) -> None:
        reconcile_in_doubt(self._deployment)
        for chunk_key in self._due("submit"):
            try:
                submit_chunk(self._deployment, self._queue.name, chunk_key)
            except (SubmissionRejectedError, NeedsResolutionError) as error:
                self._report(error)

    def _poll(self) -> None:
        if self._poll_pace.due():
            with self._poll_pace:
                self._deployment.ledger.served_pipelines.seen([self._queue.name])
                report = poll_jobs(self._deployment)
            for error in report.errors:
                self._report(error)
            self._poll_pace.wait(self._poll_s)

    def _sweep(self) -> None:
        """Compare the account with the ledger now and then, as Dagster's sensor does, since there may be no Dagster."""
        if self._sweep_pace.due():
            with self._sweep_pace:
                report = sweep_account(self._deployment)
            for error in report.errors:
                self._report(ServiceUnavailableError(error))
            self._sweep_pace.wait(self._deployment.settings.sweep_s)

    def _collect(self) -> None:
        for chunk_key in self._due("collect"):
            try:
                collect_chunk(self._deployment, self._queue, chunk_key)
            except JobProblemError:
                continue  # the job, which is final now, has it as its error_message
            except Exception as error:  # whatever it is, it concerns this chunk alone
                self._failed("collect", chunk_key, error)

    def _retry(self) -> None:
        for dataset in self._due("retry"):
            try:
                start_retry_round(self._deployment, self._queue, dataset)
            except Exception as error:  # whatever it is, it concerns this dataset alone
                self._failed("retry", dataset, error)

    def _failed(self, kind: Kind, key: str, error: Exception) -> None:
        """Report an error; what it concerns is due after everything else."""
        self._report(error)
        self._deployment.ledger.run_leases.renew(kind, self._queue.name, key, timedelta(0))

    def _record_final(self) -> None:
        record_final_jobs(self._deployment, [self._queue.name], self._report)


class _Pace:
    """When a part of a step may be tried again; after errors with the growing delays of `throttle_backoff`."""

    def __init__(self, deployment: Deployment) -> None:
        self._backoff = deployment.settings.throttle_backoff
        self._system = deployment.system
        self._failures = 0
        self._next = self._system.monotonic()

    def due(self) -> bool:
        return self._system.monotonic() >= self._next

    def wait(self, seconds: float) -> None:
        self._next = self._system.monotonic() + seconds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failures = self._failures + 1 if kind else 0
        wait = delay(self._failures, self._backoff, self._system.rng) if self._failures else timedelta(0)
        self.wait(wait.total_seconds())
