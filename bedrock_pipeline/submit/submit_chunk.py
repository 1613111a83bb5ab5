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
from bedrock_pipeline.submit.invoke_on_demand import Answered, CallsRefused, answer_chunk


class SubmissionRefusedError(BedrockPipelineError):
    """Bedrock said no for a reason that a person must cure; there is no job."""


class SubmissionBlockedError(BedrockPipelineError):
    """Nobody but a person can tell whether a job exists."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Bedrock has the chunk's job."""

    chunk: ChunkRow
    job_arn: str


@dataclass(frozen=True, slots=True)
class PutBack:
    """The chunk has no job and will be submitted later; its partition stays missing."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Unclear:
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
Outcome = Submitted | Answered | PutBack | Unclear | NotNow


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
        SubmissionRefusedError: Bedrock refused for a reason that waiting does not cure, or for too long.
        SubmissionBlockedError: a person must say what happened (`docs/operating.md`).
    """
    chunk = deployment.ledger.chunks.by_key(pipeline, chunk_key)
    if chunk.job_arn:
        return Submitted(chunk, chunk.job_arn)
    if chunk.status == "blocked":
        raise _blocked(chunk_key, chunk.status_message or "")
    if chunk.status == "failed":
        raise _refused(chunk_key, chunk.status_message or "refused")
    rng = rng or random.Random()  # noqa: S311  # jitter
    if chunk.mode == "on-demand":
        outcome = answer_chunk(deployment, chunk, rng=rng)
        if isinstance(outcome, CallsRefused):
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
        return _put_back(deployment, intent, str(error), rng, hold_group=False)
    if found.jobs:
        return settle(deployment, intent, found.jobs)
    if chunk.cancel_requested_at:  # wished while it was unclear, and now it is known that there is no job
        return _put_back(deployment, intent, "cancelled", rng, hold_group=False)
    if skew := _skew(found.server_time, clocks.now()):
        return _put_back(deployment, intent, skew, rng, hold_group=True)
    if problem:
        deployment.ledger.submissions.refuse(chunk.chunk_id, intent.fence, reason=problem)
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
        SubmissionBlockedError: there are several, or the token is another.
    """
    ours = [job for job in jobs if job.token in (None, intent.token)]
    if len(jobs) == 1 and len(ours) == 1:
        return _record(deployment, intent, jobs[0].arn)
    reason = f"jobs of this name that may be the chunk's: {', '.join(job.arn for job in jobs)}"
    deployment.ledger.submissions.block(intent.chunk.chunk_id, intent.fence, reason=reason)
    raise _blocked(intent.chunk.chunk_key, reason)


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
        return _put_back(
            deployment, intent, str(classification), rng, hold_group=classification.code != "LeaseOver"
        )
    if classification.meaning == "refused":
        submissions.refuse(chunk.chunk_id, intent.fence, reason=str(classification))
        raise _refused(chunk.chunk_key, str(classification))
    if classification.code == "ConflictException":
        # The token belongs to a request that is not this one, and List showed no job of the name.
        submissions.block(chunk.chunk_id, intent.fence, reason=str(classification))
        raise _blocked(chunk.chunk_key, str(classification))
    submissions.mark_unclear(chunk.chunk_id, intent.fence, reason=str(classification))
    return Unclear(
        f"It is not known whether Bedrock accepted the job ({classification}); it is looked up with List."
    )


def _put_back(
    deployment: Deployment, intent: Intent, reason: str, rng: random.Random, *, hold_group: bool
) -> Outcome:
    chunk, settings = intent.chunk, deployment.settings
    result = deployment.ledger.submissions.put_back(
        chunk.chunk_id,
        intent.fence,
        reason=reason,
        wait=lambda refusals: delay(refusals, settings.throttle_backoff, rng),
        hold_group=hold_group,
        give_up_after=settings.give_up_after,
    )
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if result == "given up":
        raise _refused(chunk.chunk_key, now.status_message or reason)
    return (
        PutBack(reason, now.next_attempt_at)
        if result == "put back"
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


def _blocked(chunk_key: str, reason: str) -> SubmissionBlockedError:
    return SubmissionBlockedError(
        f"Chunk {chunk_key} is blocked: {reason}.",
        "Look, then `bedrock-pipeline resolve` (docs/operating.md, 'Blocked').",
    )


def _refused(chunk_key: str, reason: str) -> SubmissionRefusedError:
    return SubmissionRefusedError(
        f"Chunk {chunk_key} was not accepted: {reason}.",
        "Cure the cause, then `bedrock-pipeline retry`; nothing was paid for.",
    )
