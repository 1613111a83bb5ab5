"""Submit a chunk: at most one job for it, ever.

What belongs here: the order of intent, check, Create and record (`docs/submitting.md`). What happens to a
submission whose outcome stayed unknown stands in `reconcile.py`.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from bedrock_pipeline.aws.errors import AwsError, Verdict, classify
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.stages.backoff import delay
from bedrock_pipeline.stages.context import Context


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


Outcome = Submitted | PutBack | Unclear | NotNow


def submit_chunk(
    context: Context,
    pipeline: str,
    chunk_key: str,
    *,
    chance: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Submit a chunk where it has no job and a slot is free; otherwise say why not.

    Raises:
        SubmissionRefusedError: Bedrock refused for a reason that waiting does not cure.
        SubmissionBlockedError: a person must say what happened (`docs/operating.md`).
    """
    chunk = context.ledger.chunks.by_key(pipeline, chunk_key)
    if chunk.job_arn:
        return Submitted(chunk, chunk.job_arn)
    if chunk.status == "blocked":
        raise SubmissionBlockedError(
            f"Chunk {chunk_key} is blocked: {chunk.status_message}", "See docs/operating.md, 'Blocked'."
        )
    if chunk.status == "failed":
        raise _refused(chunk_key, chunk.status_message or "refused")
    deadline = monotonic() + context.settings.lease_s
    intent = context.ledger.submissions.intend(
        chunk.chunk_id, uuid4(), request=chunk.request, lease=context.settings.lease
    )
    if isinstance(intent, NotNow):
        return intent
    return create_job(context, intent, deadline=deadline, chance=chance or random.Random())  # noqa: S311  # jitter


def create_job(context: Context, intent: Intent, *, deadline: float, chance: random.Random) -> Outcome:
    """Steps 2 to 5 of the protocol: check the input, send one Create, record what came of it."""
    submissions = context.ledger.submissions
    chunk = intent.chunk
    try:
        problem = _input_problem(context, chunk)
    except AwsError as error:
        return _put_back(context, chunk, intent.epoch, str(error), chance)
    if problem:
        submissions.refuse(chunk.chunk_id, intent.epoch, reason=problem)
        raise _refused(chunk.chunk_key, problem)
    try:
        job_arn = context.jobs.create(intent.request, intent.token, deadline=deadline)
    except Exception as error:  # sorted here: whatever it is, the ledger must learn of it
        return _after_error(context, intent, classify(error), chance)
    if not submissions.record_accepted(chunk.chunk_id, intent.epoch, job_arn):
        return NotNow(f"Another process has taken chunk {chunk.chunk_key} over meanwhile.")
    return Submitted(context.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key), job_arn)


def _after_error(context: Context, intent: Intent, verdict: Verdict, chance: random.Random) -> Outcome:
    submissions = context.ledger.submissions
    chunk = intent.chunk
    if verdict.meaning in ("throttled", "broken"):
        return _put_back(context, chunk, intent.epoch, str(verdict), chance)
    if verdict.meaning == "refused":
        submissions.refuse(chunk.chunk_id, intent.epoch, reason=str(verdict))
        raise _refused(chunk.chunk_key, str(verdict))
    submissions.mark_unclear(chunk.chunk_id, intent.epoch, reason=str(verdict))
    return Unclear(
        f"It is not known whether Bedrock accepted the job ({verdict}); it is looked up with List."
    )


def _put_back(
    context: Context, chunk: ChunkRow, epoch: int, reason: str, chance: random.Random
) -> PutBack | NotNow:
    wait = delay(chunk.attempts, context.settings.throttle_backoff, chance)
    context.ledger.submissions.put_back(chunk.chunk_id, epoch, reason=reason, delay=wait)
    now = context.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    return PutBack(reason, now.next_attempt_at)


def _input_problem(context: Context, chunk: ChunkRow) -> str | None:
    """Why the chunk's input in S3 is not what was packed; None where it is."""
    for file in chunk.input_files:
        found = context.objects.head(file.uri)
        if found is None:
            return f"input file {file.uri} does not exist"
        if found.size != file.bytes:
            return f"input file {file.uri} has {found.size} bytes, not {file.bytes}"
    return None


def _refused(chunk_key: str, reason: str) -> SubmissionRefusedError:
    return SubmissionRefusedError(
        f"Chunk {chunk_key} was not accepted: {reason}.",
        "Cure the cause, then `bedrock-pipeline retry`; nothing was paid for.",
    )
