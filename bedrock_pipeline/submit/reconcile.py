"""Make ledger and Bedrock agree again.

What belongs here: step 6 of the protocol (`docs/submitting.md`), for submissions whose answer was lost; and the
sweep over all jobs of the account, for what neither side should know alone.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

from bedrock_pipeline.aws.jobs import JobMissingError, JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import ENDED, FROM_BEDROCK
from bedrock_pipeline.records.job_names import chunk_of_job, job_name
from bedrock_pipeline.submit.submit_chunk import (
    CLOCKS,
    Clocks,
    NeedsResolutionError,
    SubmissionRejectedError,
    Submitted,
    create_job,
)

#: A job lives for a week at the most; a sweep looks back a little further.
_LOOK_BACK = timedelta(days=8)


@dataclass(slots=True)
class ReconcileReport:
    """Chunk keys, or ARNs of jobs, by what was found."""

    adopted: list[str] = field(default_factory=list)
    sent_again: list[str] = field(default_factory=list)
    still_in_doubt: list[str] = field(default_factory=list)
    needs_resolution: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unknown_to_bedrock: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = {name: getattr(self, name) for name in self.__slots__}
        return "; ".join(
            f"{name.replace('_', ' ')}: {', '.join(keys)}" for name, keys in found.items() if keys
        )


def reconcile_in_doubt(
    deployment: Deployment,
    pipelines: list[str],
    *,
    limit: int = 50,
    rng: random.Random | None = None,
    clocks: Clocks = CLOCKS,
) -> ReconcileReport:
    """Settle submissions whose lease and consistency window are over.

    One job of the name and token: it is adopted. None: the same request is sent again with the same token.
    Anything else: in need of resolution, for a person.
    """
    report = ReconcileReport()
    for chunk in deployment.ledger.submissions.to_reconcile(
        pipelines, deployment.settings.consistency_window, limit
    ):
        _settle_chunk(deployment, chunk, report, rng or random.Random(), clocks)  # noqa: S311  # jitter
    return report


def _settle_chunk(
    deployment: Deployment, chunk: ChunkRow, report: ReconcileReport, rng: random.Random, clocks: Clocks
) -> None:
    deadline = clocks.monotonic() + deployment.settings.lease_s
    intent = deployment.ledger.submissions.intend_again(
        chunk.chunk_id,
        chunk.fence,
        uuid4(),
        consistency_window=deployment.settings.consistency_window,
        lease=deployment.settings.lease,
    )
    if intent is None:
        return  # another process was quicker
    before = len(deployment.jobs.find(intent.request["jobName"]).jobs)
    try:
        outcome = create_job(deployment, intent, deadline=deadline, rng=rng, clocks=clocks)
    except NeedsResolutionError:
        report.needs_resolution.append(chunk.chunk_key)
    except SubmissionRejectedError:
        report.refused.append(chunk.chunk_key)
    else:
        if isinstance(outcome, Submitted):
            (report.adopted if before else report.sent_again).append(chunk.chunk_key)
        else:
            report.still_in_doubt.append(chunk.chunk_key)


def sweep_account(
    deployment: Deployment, pipelines: list[str], *, clocks: Clocks = CLOCKS
) -> ReconcileReport:
    """Look at every job of the account and region, oldest first.

    Jobs with the name of one of our chunks that the ledger does not know are adopted where the chunk waits for
    one, as after a database was restored; the rest are kept as orphans. Jobs that we know and Bedrock does not are
    reported.
    Unfinished jobs of others are counted, since they use slots.

    Raises:
        AwsError: List is denied or AWS cannot be reached.
    """
    report = ReconcileReport()
    jobs = list(deployment.jobs.list(since=clocks.now() - _LOOK_BACK))
    known = deployment.ledger.jobs.known([job.arn for job in jobs])
    strangers: Counter[str] = Counter()
    orphans: list[JobSummary] = []
    deployment_id = deployment.ledger.deployment_id
    for job in jobs:
        if job.arn in known:
            continue
        chunk_id = chunk_of_job(deployment_id, job.name)
        if chunk_id is None or not _adopt(deployment, chunk_id, job, report):
            if chunk_id:
                orphans.append(job)
            if FROM_BEDROCK[job.status] not in ENDED:
                strangers[job.model_id] += 1
    deployment.ledger.jobs.record_others(dict(strangers))
    _keep_orphans(deployment, orphans, report)
    listed = {job.arn for job in jobs}
    for flying in deployment.ledger.jobs.in_flight(pipelines):
        if flying.job_arn not in listed and not _exists(deployment, flying.job_arn):
            report.unknown_to_bedrock.append(flying.job_arn)
    return report


def _adopt(deployment: Deployment, chunk_id: UUID, job: JobSummary, report: ReconcileReport) -> bool:
    chunk = deployment.ledger.chunks.by_id(chunk_id)
    if (
        chunk is None
        or job.name != job_name(chunk.pipeline, chunk.chunk_id)
        or chunk.status == "needs-resolution"
    ):
        return False
    if chunk.token is not None and job.token not in (None, chunk.token):
        return False
    if not deployment.ledger.interventions.adopt(chunk.chunk_id, job.arn):
        return False
    report.adopted.append(chunk.chunk_key)
    return True


def _keep_orphans(deployment: Deployment, orphans: list[JobSummary], report: ReconcileReport) -> None:
    report.orphans = [job.arn for job in orphans]
    deployment.ledger.interventions.record_orphans(
        [
            {
                "job_arn": job.arn,
                "job_name": job.name,
                "status": job.status,
                "submitted_at": job.submitted_at.isoformat(),
            }
            for job in orphans
        ]
    )


def _exists(deployment: Deployment, job_arn: str) -> bool:
    try:
        deployment.jobs.get(job_arn)
    except JobMissingError:
        return False
    return True
