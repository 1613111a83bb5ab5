"""The queue's own motor: what Dagster's sensors ask for, done in this process.

What belongs here: one step of the stages, for one queue. It is safe beside others, Dagster's daemon among them: the
ledger holds that a chunk is submitted once, and reading results twice gives the same. The day's results are published by
Dagster alone, whose assets they feed.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.tasks import Waiting
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue.flush_queue import due_to_flush, flush_queue
from bedrock_pipeline.queue.job_results import settle_jobs
from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import NeedsResolutionError, SubmissionRejectedError, submit_chunk

#: Chunks that one step submits or collects at the most.
_MOST = 20
#: Ids of jobs that are remembered until somebody asks for them, the last ones: 10 MB.
_MOST_MADE = 100_000


class Driver:
    """Steps of one queue; not to be stepped by two threads at once.

    Args:
        deployment: the deployment.
        pipeline: the queue.
        poll_s: seconds between two looks at Bedrock.
        report: is told of errors; what they concern is tried again in a later step.
    """

    def __init__(
        self,
        deployment: Deployment,
        pipeline: Pipeline,
        *,
        poll_s: float,
        report: Callable[[Exception], None],
    ) -> None:
        self._deployment = deployment
        self._pipeline = pipeline
        self._poll_s = poll_s
        self._report = report
        self._made: deque[str] = deque(maxlen=_MOST_MADE)
        self._flush_pace = _Pace(deployment)
        self._poll_pace = _Pace(deployment)

    def step(self) -> None:
        """Do what is due, from flushing to telling what is final. An error in one part stops no other."""
        for part in (
            self.flush_if_due,
            self._submit,
            self._poll,
            self._collect,
            self._roll_over,
            self._settle,
        ):
            try:
                part()
            except Exception as error:  # whatever it is, a later step may go well
                self._report(error)

    def flush_if_due(self) -> Waiting:
        """Flush where count, bytes or age ask for it and nobody else does; after an error, not at once again.

        Returns:
            What was waiting before.
        """
        waiting, why = due_to_flush(self._deployment, self._pipeline)
        if why and self._flush_pace.due():
            with self._flush_pace:
                self.flush(wait=False)
        return waiting

    def flush(self, *, wait: bool) -> None:
        """Make jobs of everything that waits; with `wait` also where another process is just flushing.

        Any number of threads may.
        """
        for flushed in flush_queue(self._deployment, self._pipeline, wait=wait):
            self._made.extend(str(chunk.chunk_id) for chunk in flushed.chunks)

    def take_made(self) -> list[str]:
        """Ids of the jobs that were made here, oldest first; each is told once."""
        made = []
        with suppress(IndexError):
            while True:
                made.append(self._made.popleft())
        return made

    def _submit(self) -> None:
        reconcile_in_doubt(self._deployment, [self._pipeline.name])
        for chunk in self._deployment.ledger.submissions.due([self._pipeline.name], _MOST):
            try:
                submit_chunk(self._deployment, self._pipeline.name, chunk.chunk_key)
            except (SubmissionRejectedError, NeedsResolutionError) as error:
                self._report(error)

    def _poll(self) -> None:
        if self._poll_pace.due():
            with self._poll_pace:
                poll_jobs(self._deployment, [self._pipeline.name])
            self._poll_pace.wait(self._poll_s)

    def _collect(self) -> None:
        for chunk in self._deployment.ledger.chunks.to_collect([self._pipeline.name], _MOST):
            try:
                collect_chunk(self._deployment, self._pipeline, chunk.chunk_key)
            except JobProblemError:
                continue  # it is told with the job, which is final now
            except BedrockPipelineError as error:
                self._report(error)

    def _roll_over(self) -> None:
        for row in self._deployment.ledger.retry_rounds.due([self._pipeline.name], _MOST):
            start_retry_round(self._deployment, self._pipeline, row.dataset)

    def _settle(self) -> None:
        settle_jobs(self._deployment, [self._pipeline.name])


class _Pace:
    """When a part of a step may be tried again: after errors with waits that grow, as the settings say."""

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
