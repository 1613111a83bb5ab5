"""Submit a chunk: at most one job for it, ever.

What belongs here: the order of intent, checks, Create and record (`docs/submitting.md`). Submissions whose outcome is
unknown are settled in `reconcile.py`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bedrock_pipeline.aws.errors import AwsError, LeaseOverError
from bedrock_pipeline.aws.jobs import BedrockJobs, JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import JobFailedError, JobStuckError
from bedrock_pipeline.frozen_settings import thaw
from bedrock_pipeline.job_options import settings_of_jobs
from bedrock_pipeline.ledger.requeue import RequeueResult
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.prepare.chunks.create_request import with_account_options
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.job_tags import default_tags
from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.submit.invoke_on_demand import Answered, CallsRejected, answer_chunk
from bedrock_pipeline.submit.poll_jobs import stop_jobs


class SubmissionRejectedError(JobFailedError):
    """Bedrock rejected the submission with a permanent error; there is no job."""


class NeedsResolutionError(JobStuckError):
    """Only an operator can find out whether a job exists."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """Bedrock has the chunk's job.

    Attributes:
        adopted: whether List showed the job, rather than Create having returned it now.
    """

    chunk: ChunkRow
    job_arn: str
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Requeued:
    """The chunk has no job and is submitted later; its partition stays missing."""

    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A job may exist; the slot is kept until List has shown whether it does."""

    reason: str


#: A job lives for at most a week; List looks back a little further.
LOOK_BACK: Final = timedelta(days=8)
#: AWS rejects signatures that are more than five minutes off.
_MAX_SKEW: Final = timedelta(minutes=4)
Outcome = Submitted | Answered | Requeued | InDoubt | NotNow


def submit_chunk(deployment: Deployment, pipeline: str, chunk_key: str) -> Outcome:
    """Submit a chunk that has no job, if a slot is free; otherwise say why not.

    The records of a chunk that is too small for a job are sent by on-demand calls instead (`invoke_on_demand.py`).

    Raises:
        SubmissionRejectedError: Bedrock returned a permanent error, or transient ones for too long.
        NeedsResolutionError: an operator must record what happened (`docs/submitting.md`).
    """
    chunk = _in_this_account(deployment, deployment.ledger.chunks.by_key(pipeline, chunk_key))
    if chunk.job_arn:
        return Submitted(chunk, chunk.job_arn)
    if chunk.status == "needs-resolution":
        raise _needs_resolution(chunk_key, chunk.status_message or "")
    if chunk.status == "failed":
        raise _rejected(chunk_key, chunk.status_message or "rejected")
    if chunk.mode == "on-demand":
        outcome = answer_chunk(deployment, chunk)
        if isinstance(outcome, CallsRejected):
            raise _rejected(chunk_key, outcome.reason)
        return outcome
    deadline = deployment.system.monotonic() + deployment.settings.lease_s
    intent = deployment.ledger.submissions.intend(
        chunk.chunk_id,
        deployment.system.new_id(),
        request=_request(deployment, chunk),
        lease=deployment.settings.lease,
    )
    if isinstance(intent, NotNow):
        return intent
    return create_job(deployment, intent, deadline=deadline)


def create_job(deployment: Deployment, intent: Intent, *, deadline: float) -> Outcome:
    """Steps 2 to 5 of the protocol: look the job up, check the input, send one Create, record the outcome.

    Raises:
        SubmissionRejectedError: Bedrock returned a permanent error, or transient ones for too long.
        NeedsResolutionError: an operator must record what happened.
    """
    chunk, bedrock = intent.chunk, _bedrock(deployment, intent.chunk)
    try:
        found = bedrock.find(chunk.chunk_id)
        # Before anything else takes time: both clocks are compared as they were when List responded.
        skew = _skew(found.server_time, deployment.system.now())
    except AwsError as error:  # the next chunk's List would fail as well
        return _postpone(deployment, intent, str(error), back_off_group=True)
    if found.jobs:
        return settle(deployment, intent, found.jobs)
    try:
        problem = _input_problem(deployment, chunk)
    except AwsError as error:
        return _postpone(deployment, intent, str(error), back_off_group=False)
    if intent.withdrawn:  # while it was in doubt; List has now shown that there is no job
        return _requeue(deployment, intent, "cancelled or replaced", back_off_group=False)
    if skew:
        return _postpone(deployment, intent, skew, back_off_group=True)
    if problem:
        deployment.ledger.submissions.reject(chunk.chunk_id, intent.fence, reason=problem)
        raise _rejected(chunk.chunk_key, problem)
    try:
        job_arn = bedrock.create(intent.request, intent.token, deadline=deadline)
    except LeaseOverError as error:
        return _postpone(deployment, intent, error.what, back_off_group=False)
    except AwsError as error:
        return _after_error(deployment, intent, error)
    return _record(deployment, intent, job_arn)


def settle(deployment: Deployment, intent: Intent, jobs: list[JobSummary]) -> Outcome:
    """Adopt the one job of the chunk's name and token; several jobs, or another token, need resolution.

    The name contains the chunk's UUID, so this also finds the job that a ledger lost when it was restored.

    Raises:
        NeedsResolutionError: there are several jobs, or the token is another.
    """
    ours = [job for job in jobs if job.token in (None, intent.token)]
    if len(jobs) == 1 and len(ours) == 1:
        return _record(deployment, intent, jobs[0].arn, adopted=jobs[0])
    reason = f"jobs of this name that may be the chunk's: {', '.join(job.arn for job in jobs)}"
    deployment.ledger.submissions.need_resolution(intent.chunk.chunk_id, intent.fence, reason=reason)
    raise _needs_resolution(intent.chunk.chunk_key, reason)


def _record(
    deployment: Deployment, intent: Intent, job_arn: str, *, adopted: JobSummary | None = None
) -> Outcome:
    chunk, submitted_at = intent.chunk, adopted.submitted_at if adopted else None
    if not deployment.ledger.submissions.record_accepted(chunk.chunk_id, intent.fence, job_arn, submitted_at):
        return NotNow(f"Another process has taken over chunk {chunk.chunk_key}.")
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if now.cancel_requested_at:
        stop_jobs(deployment, [job_arn])
    return Submitted(now, job_arn, adopted is not None)


def _after_error(deployment: Deployment, intent: Intent, error: AwsError) -> Outcome:
    submissions, chunk, reason = deployment.ledger.submissions, intent.chunk, str(error.classification)
    if error.kind is ErrorKind.TRANSIENT:
        return _requeue(deployment, intent, reason, back_off_group=True)
    if error.kind.permanent:
        submissions.reject(chunk.chunk_id, intent.fence, reason=reason)
        raise _rejected(chunk.chunk_key, reason)
    if error.kind is ErrorKind.CONFLICT:
        return _after_conflict(deployment, intent, reason)
    return _mark_in_doubt(deployment, intent, reason)


def _after_conflict(deployment: Deployment, intent: Intent, reason: str) -> Outcome:
    """Another job has the name, or another request the token: a complete List shows which, at the latest when it is believed.

    Raises:
        NeedsResolutionError: List shows several jobs, or, after the consistency window, none.
    """
    bedrock, token = _bedrock(deployment, intent.chunk), intent.token
    try:
        jobs = bedrock.find(intent.chunk.chunk_id).jobs or [
            job for job in bedrock.list(since=deployment.system.now() - LOOK_BACK) if job.token == token
        ]
    except AwsError as error:
        return _mark_in_doubt(deployment, intent, f"{reason}; {error}")
    if jobs:
        return settle(deployment, intent, jobs)
    if not intent.resent:
        return _mark_in_doubt(deployment, intent, reason)
    deployment.ledger.submissions.need_resolution(intent.chunk.chunk_id, intent.fence, reason=reason)
    raise _needs_resolution(intent.chunk.chunk_key, reason)


def _postpone(deployment: Deployment, intent: Intent, reason: str, *, back_off_group: bool) -> Outcome:
    """No Create was sent now. If one was sent before, an error must not close the submission."""
    if intent.resent:
        return _mark_in_doubt(deployment, intent, reason)
    return _requeue(deployment, intent, reason, back_off_group=back_off_group)


def _mark_in_doubt(deployment: Deployment, intent: Intent, reason: str) -> InDoubt:
    deployment.ledger.submissions.mark_in_doubt(intent.chunk.chunk_id, intent.fence, reason=reason)
    return InDoubt(f"It is not known whether Bedrock has the job ({reason}); it is looked up with List.")


def _requeue(deployment: Deployment, intent: Intent, reason: str, *, back_off_group: bool) -> Outcome:
    chunk, settings = intent.chunk, deployment.settings
    attempt = intent.throttles + 1 if back_off_group else chunk.submissions
    result = deployment.ledger.submissions.requeue(
        chunk.chunk_id,
        intent.fence,
        reason=reason,
        delay=delay(attempt, settings.throttle_backoff, deployment.system.rng),
        back_off_group=back_off_group,
        give_up_after=settings.give_up_after,
    )
    now = deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)
    if result is RequeueResult.GIVEN_UP:
        raise _rejected(chunk.chunk_key, now.status_message or reason)
    if result is RequeueResult.REQUEUED:
        return Requeued(reason, now.next_attempt_at)
    return NotNow(f"The chunk is {now.status}.")


def _in_this_account(deployment: Deployment, chunk: ChunkRow) -> ChunkRow:
    """The chunk; where the settings name another account since it was packed, with a slot there, for it has no job yet."""
    group, settings = QuotaGroup.of(chunk.quota_group), deployment.settings
    if chunk.status != "pending" or deployment.reaches(group.account):
        return chunk
    deployment.ledger.quota_groups.move(chunk, replace(group, account=settings.account))
    return deployment.ledger.chunks.by_key(chunk.pipeline, chunk.chunk_key)


def _request(deployment: Deployment, chunk: ChunkRow) -> dict[str, Any]:
    """The request with today's role, key and so on: those that were set when the chunk was packed may have been wrong."""
    tags = default_tags(deployment.ledger.deployment_id, chunk.pipeline, chunk.dataset, chunk.dataset_version)
    pipeline = thaw(deployment.ledger.versions.settings(chunk.settings_digest))
    settings = settings_of_jobs(deployment.settings, pipeline.job_options, chunk.pipeline)
    return with_account_options(settings, chunk.request, tags)


def _bedrock(deployment: Deployment, chunk: ChunkRow) -> BedrockJobs:
    """The jobs of the region for which the chunk was packed, whatever the settings are now."""
    return deployment.jobs_in(QuotaGroup.of(chunk.quota_group).region)


def _skew(server: datetime | None, here: datetime) -> str | None:
    """Why the clocks forbid a Create: lease and signature are checked by them."""
    if server is not None and abs(server - here) > _MAX_SKEW:
        return f"this machine's clock and AWS's are {abs(server - here)} apart; set the clock"
    return None


def _input_problem(deployment: Deployment, chunk: ChunkRow) -> str | None:
    """How the chunk's input in S3 differs from what was packed; None if it does not."""
    for file in chunk.input_files:
        info = deployment.objects.head(file.uri)
        if info is None:
            return f"input file {file.uri} does not exist"
        if info.size != file.bytes:
            return f"input file {file.uri} has {info.size} bytes, not {file.bytes}"
    return None


def _needs_resolution(chunk_key: str, reason: str) -> NeedsResolutionError:
    return NeedsResolutionError(
        f"Chunk {chunk_key} needs resolution: {reason}.",
        "Look at the jobs, then run `bedrock-pipeline resolve` (docs/submitting.md, 'Resolution by an operator').",
    )


def _rejected(chunk_key: str, reason: str) -> SubmissionRejectedError:
    return SubmissionRejectedError(
        f"Chunk {chunk_key} was not accepted: {reason}.",
        "Fix the cause, then run `bedrock-pipeline retry`; nothing was paid for.",
    )
