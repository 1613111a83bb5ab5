"""Submit a chunk: at most one job for it, ever.

What belongs here: the order of intent, check, Create and record (`docs/submitting.md`). What happens to a
submission whose outcome stayed unknown stands in `reconcile.py`.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from bedrock_pipeline.aws.errors import AwsError, Classification, classify
from bedrock_pipeline.aws.jobs import JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.submit.invoke_on_demand import Answered, CallsRejected, answer_chunk


class SubmissionRejectedError(BedrockPipelineError):
    """Bedrock said no for a reason that a person must cure; there is no job."""


class NeedsResolutionError(BedrockPipelineError):
    """Nobody but a person can tell whether a job exists."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Bedrock has the chunk's job."""

    chunk: ChunkRow
    job_arn: str


@dataclass(frozen=True, slots=True)
class Requeued:
    """The chunk has no job and will be submitted later; its partition stays missing."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A job may exist; the slot is kept until List has told."""

    reason: str


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks of this machine: one that never goes back, in seconds; and the time of day."""

    monotonic: Callable[[], float]
    now: Callable[[], datetime]


CLOCKS = Clocks(time.monotonic, lambda: datetime.now(UTC))
#: AWS refuses signatures that are more than five minutes off.
_MOST_SKEW = timedelta(minutes=4)
Outcome = Submitted | Answered | Requeued | InDoubt | NotNow


def submit_chunk(
    deployment: Deployment,
    pipeline: str,
    chunk_key: str,
    *,
    rng: random.Random | None = None,
    clocks: Clocks = CLOCKS,
) -> Outcome:
    """Submit a chunk where it has no job and a slot is free; otherwise say why not.

    A chunk that is too small for a job is answered by on-demand calls instead (`on_demand.py`).

    Raises:
        SubmissionRejectedError: Bedrock refused for a reason that waiting does not cure, or for too long.
        NeedsResolutionError: a person must say what happened (`docs/operating.md`).
    """
    chunk = deployment.ledger.chunks.by_key(pipeline, chunk_key)
    if chunk.job_arn:
        return Submitted(chunk, chunk.job_arn)
    if chunk.status == "needs-resolution":
        raise _needs_resolution(chunk_key, chunk.status_message or "")
    if chunk.status == "failed":
        raise _refused(chunk_key, chunk.status_message or "refused")
    rng = rng or random.Random()  # noqa: S311  # jitter
    if chunk.mode == "on-demand":
        outcome = answer_chunk(deployment, chunk, rng=rng)
        if isinstance(outcome, CallsRejected):
            raise _refused(chunk_key, outcome.reason)
        return outcome
    deadline = clocks.monotonic() + deployment.settings.lease_s
    intent = deployment.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=deployment.settings.lease
    )
    if isinstance(intent, NotNow):
        return intent
    return create_job(deployment, intent, deadline=deadline, rng=rng, clocks=clocks)


def create_job(
    deployment: Deployment, intent: Intent, *, deadline: float, rng: random.Random, clocks: Clocks = CLOCKS
) -> Outcome:
    """Steps 2 to 5 of the protocol: look and check, send one Create, record what came of it."""
    chunk = intent.chunk
    try:
        found = deployment.jobs.find(intent.request["jobName"])
        problem = _input_problem(deployment, chunk)
    except AwsError as error:
        return _requeue(deployment, intent, str(error), rng, back_off_group=False)
    if found.jobs:
        return settle(deployment, intent, found.jobs)
    if chunk.cancel_requested_at:  # wished while it was in doubt, and now it is known that there is no job
        return _requeue(deployment, intent, "cancelled", rng, back_off_group=False)
    if skew := _skew(found.server_time, clocks.now()):
        return _requeue(deployment, intent, skew, rng, back_off_group=True)
    if problem:
        deployment.ledger.submissions.reject(chunk.chunk_id, intent.fence, reason=problem)
        raise _refused(chunk.chunk_key, problem)
    try:
        job_arn = deployment.jobs.create(intent.request, intent.token, deadline=deadline)
    except Exception as error:  # sorted here: whatever it is, the ledger must learn of it
        return _after_error(deployment, intent, classify(error), rng)
    return _record(deployment, intent, job_arn)


def settle(deployment: Deployment, intent: Intent, jobs: list[JobSummary]) -> Outcome:
    """Jobs of the chunk's name exist already: one of its token is its job; anything else is for a person.

    The name holds the chunk's UUID, so this also finds the job of a ledger that was restored from a backup.

    Raises:
        NeedsResolutionError: there are several, or the token is another.
    """
    ours = [job for job in jobs if job.token in (None, intent.token)]
    if len(jobs) == 1 and len(ours) == 1:
        return _record(deployment, intent, jobs[0].arn)
    reason = f"jobs of this name that may be the chunk's: {', '.join(job.arn for job in jobs)}"
    deployment.ledger.submissions.need_resolution(intent.chunk.chunk_id, intent.fence, reason=reason)
    raise _needs_resolution(intent.chunk.chunk_key, reason)


def _record(deployment: Deployment, intent: Intent, job_arn: str) -> Outcome:
    chunk = intent.chunk
    if not deployment.ledger.submissions.record_accepted(chunk.chunk_id, intent.fence, job_arn):
        return NotNow(f"Another process has taken chunk {chunk.chunk_key} over meanwhile.")
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if now.cancel_requested_at:
        deployment.jobs.stop(job_arn)
    return Submitted(now, job_arn)


def _after_error(
    deployment: Deployment, intent: Intent, classification: Classification, rng: random.Random
) -> Outcome:
    submissions, chunk = deployment.ledger.submissions, intent.chunk
    if classification.meaning in ("throttled", "broken"):
        return _requeue(
            deployment, intent, str(classification), rng, back_off_group=classification.code != "LeaseOver"
        )
    if classification.meaning == "refused":
        submissions.reject(chunk.chunk_id, intent.fence, reason=str(classification))
        raise _refused(chunk.chunk_key, str(classification))
    if classification.code == "ConflictException":
        # The token belongs to a request that is not this one, and List showed no job of the name.
        submissions.need_resolution(chunk.chunk_id, intent.fence, reason=str(classification))
        raise _needs_resolution(chunk.chunk_key, str(classification))
    submissions.mark_in_doubt(chunk.chunk_id, intent.fence, reason=str(classification))
    return InDoubt(
        f"It is not known whether Bedrock accepted the job ({classification}); it is looked up with List."
    )


def _requeue(
    deployment: Deployment, intent: Intent, reason: str, rng: random.Random, *, back_off_group: bool
) -> Outcome:
    chunk, settings = intent.chunk, deployment.settings
    result = deployment.ledger.submissions.requeue(
        chunk.chunk_id,
        intent.fence,
        reason=reason,
        wait=lambda throttles: delay(throttles, settings.throttle_backoff, rng),
        back_off_group=back_off_group,
        give_up_after=settings.give_up_after,
    )
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if result == "given up":
        raise _refused(chunk.chunk_key, now.status_message or reason)
    return (
        Requeued(reason, now.next_attempt_at)
        if result == "requeued"
        else NotNow(f"The chunk is {now.status}.")
    )


def _skew(server: datetime | None, here: datetime) -> str | None:
    """Why the clocks forbid a Create: the lease and the signature's life are reckoned by them."""
    if server is not None and abs(server - here) > _MOST_SKEW:
        return f"this machine's clock and AWS's are {abs(server - here)} apart; set the clock"
    return None


def _input_problem(deployment: Deployment, chunk: ChunkRow) -> str | None:
    """Why the chunk's input in S3 is not what was packed; None where it is."""
    for file in chunk.input_files:
        found = deployment.objects.head(file.uri)
        if found is None:
            return f"input file {file.uri} does not exist"
        if found.size != file.bytes:
            return f"input file {file.uri} has {found.size} bytes, not {file.bytes}"
    return None


def _needs_resolution(chunk_key: str, reason: str) -> NeedsResolutionError:
    return NeedsResolutionError(
        f"Chunk {chunk_key} is needs_resolution: {reason}.",
        "Look, then `bedrock-pipeline resolve` (docs/operating.md, 'NeedsResolution').",
    )


def _refused(chunk_key: str, reason: str) -> SubmissionRejectedError:
    return SubmissionRejectedError(
        f"Chunk {chunk_key} was not accepted: {reason}.",
        "Cure the cause, then `bedrock-pipeline retry`; nothing was paid for.",
    )
