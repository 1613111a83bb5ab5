"""Make the ledger and Bedrock agree again.

What belongs here: step 6 of the protocol (`docs/submitting.md`), for submissions whose response was lost; and the
sweep over all jobs of the account, for jobs that only one of the two sides knows.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.jobs import JobMissingError, JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, InvalidInputError, StateError
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import ENDED, FROM_BEDROCK
from bedrock_pipeline.models.quota_group import JobPlace, QuotaGroup, base_model, others_by_group
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.job_names import chunk_of_job, is_job_of
from bedrock_pipeline.submit.reconcile_incarnation import reconcile_incarnation
from bedrock_pipeline.submit.submit_chunk import (
    LOOK_BACK,
    NeedsResolutionError,
    SubmissionRejectedError,
    Submitted,
    create_job,
)


@dataclass(slots=True)
class ReconcileReport:
    """Chunk keys, or ARNs of jobs, by outcome.

    Attributes:
        errors: of single jobs, and of regions of earlier settings.
        restored: what shows that the ledger was restored from a backup.
    """

    adopted: list[str] = field(default_factory=list)
    sent_again: list[str] = field(default_factory=list)
    still_in_doubt: list[str] = field(default_factory=list)
    needs_resolution: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unknown_to_bedrock: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        outcomes = {name: getattr(self, name) for name in self.__slots__}
        return "; ".join(
            f"{name.replace('_', ' ')}: {', '.join(keys)}" for name, keys in outcomes.items() if keys
        )


def reconcile_in_doubt(deployment: Deployment, *, limit: int = 50) -> ReconcileReport:
    """Settle submissions of any pipeline whose lease and consistency window have ended, where they were sent.

    One job of the name and token is adopted. If there is none, the same request is sent again with the same token.
    Anything else needs resolution by an operator. After an error that settles nothing the others wait for the next call: they
    would likely meet it too, each for as long as the SDK retries.
    """
    report = ReconcileReport()
    settings = deployment.settings
    for chunk in deployment.ledger.submissions.to_reconcile(
        settings.consistency_window, limit, settings.account
    ):
        _settle_chunk(deployment, chunk, report)
        if report.still_in_doubt:
            break
    return report


def _settle_chunk(deployment: Deployment, chunk: ChunkRow, report: ReconcileReport) -> None:
    deadline = deployment.system.monotonic() + deployment.settings.lease_s
    intent = deployment.ledger.submissions.intend_again(
        chunk.chunk_id,
        chunk.fence,
        deployment.system.new_id(),
        consistency_window=deployment.settings.consistency_window,
        lease=deployment.settings.lease,
    )
    if intent is None:
        return  # another process was quicker
    try:
        outcome = create_job(deployment, intent, deadline=deadline)
    except NeedsResolutionError:
        report.needs_resolution.append(chunk.chunk_key)
    except SubmissionRejectedError:
        report.rejected.append(chunk.chunk_key)
    else:
        if isinstance(outcome, Submitted):
            (report.adopted if outcome.adopted else report.sent_again).append(chunk.chunk_key)
        else:
            report.still_in_doubt.append(chunk.chunk_key)


def adopt_job(deployment: Deployment, chunk: ChunkRow, job_arn: str) -> None:
    """Record the job that an operator names as the chunk's.

    The token is not compared: that it differs is one of the reasons why a chunk needs resolution.

    Raises:
        StateError: the job is of another chunk or model, or the chunk has a job or results.
        AwsError: there is no such job, Get is denied, or AWS cannot be reached.
    """
    job = deployment.jobs_in(_region_of(job_arn)).get(job_arn)
    if not is_job_of(job.name, chunk.chunk_id) or base_model(job.model_id) != base_model(chunk.model_id):
        raise StateError(
            f"Job {job_arn} is {job.name} of model {job.model_id}; the name of the job of chunk {chunk.chunk_key} ends in "
            f"{chunk.chunk_id}, and it is of model {chunk.model_id}.",
            "Give the ARN of a job with such a name, or --no-job if there is none.",
        )
    if not deployment.ledger.interventions.adopt(chunk.chunk_id, job.arn, job.submitted_at):
        raise StateError(
            f"Chunk {chunk.chunk_key} already has a job or results.", "See `bedrock-pipeline status`."
        )


def give_up_job(deployment: Deployment, chunk: ChunkRow) -> None:
    """End a chunk whose job Bedrock does not know any more, or which is of another account than the settings.

    Where the settings do not reach the account or the region, it may also be a submission in doubt: only a List there
    shows whether it has a job.

    Raises:
        StateError: Bedrock has the job, or the chunk has none.
        AwsError: Get is denied or AWS cannot be reached.
    """
    if chunk.job_arn is None:
        if _can_look_up(deployment, chunk):
            raise StateError(
                f"Chunk {chunk.chunk_key} has no job.",
                "If it needs resolution, give --job ARN or --no-job; otherwise see `bedrock-pipeline status`.",
            )
        deployment.ledger.interventions.give_up_submission(chunk.chunk_id)
        return
    place = JobPlace.of(chunk.job_arn)
    if not deployment.reaches(place.account):
        deployment.ledger.interventions.give_up_job(chunk.chunk_id, chunk.job_arn)
        return
    try:
        status = deployment.jobs_in(place.region).get(chunk.job_arn).status
    except AwsError as error:
        if error.kind not in (ErrorKind.NOT_FOUND, ErrorKind.INVALID):  # an ARN of another region is invalid
            raise
        deployment.ledger.interventions.give_up_job(chunk.chunk_id, chunk.job_arn)
    else:
        raise StateError(
            f"Bedrock has job {chunk.job_arn}; it is {status}.",
            "A job that has ended is not lost: it is collected without a command."
            if FROM_BEDROCK.get(status) in ENDED
            else "Cancel the chunk with `bedrock-pipeline cancel`, or wait for its end.",
        )


def _can_look_up(deployment: Deployment, chunk: ChunkRow) -> bool:
    """Whether List shows, with these settings, the job that a chunk may have."""
    group = QuotaGroup.of(chunk.quota_group)
    if not deployment.reaches(group.account):
        return False
    if group.region == deployment.settings.region:
        return True
    try:
        deployment.jobs_in(group.region).find(chunk.chunk_id)
    except AwsError:
        return False
    return True


def sweep_account(deployment: Deployment) -> ReconcileReport:
    """Compare all jobs of the account with the ledger, in the settings' region and where chunks of earlier settings are.

    The one job with the name of a chunk that has none, as after a restored backup, is adopted. Several need resolution;
    where the chunk has another, they are recorded as orphans. Jobs that the ledger has and Bedrock does not are reported. Unfinished jobs of others are
    counted, since they use slots. A ledger that was restored is noticed.

    Raises:
        AwsError: List is denied in the settings' region, or AWS cannot be reached there.
    """
    report, home = ReconcileReport(), deployment.settings.region
    try:
        report.restored += filter(None, [reconcile_incarnation(deployment)])
    except AwsError as error:
        report.errors.append(str(error))
    incarnation = deployment.ledger.incarnations.current().number
    open_models = deployment.ledger.quota_groups.open_models()
    regions = {home} | {group.region for group, _ in open_models if deployment.reaches(group.account)}
    for region in sorted(regions, key=lambda region: region == home):
        try:
            _sweep_region(deployment, region, open_models, report)
        except AwsError as error:
            if region == home:
                raise
            report.errors.append(str(error))
    deployment.ledger.incarnations.record_sweep(incarnation)
    try:
        deployment.ledger.database.forget_commits()
    except BedrockPipelineError as error:
        report.errors.append(str(error))
    return report


def _sweep_region(
    deployment: Deployment, region: str, open_models: list[tuple[QuotaGroup, str]], report: ReconcileReport
) -> None:
    jobs = list(deployment.jobs_in(region).list(since=deployment.system.now() - LOOK_BACK))
    known = deployment.ledger.jobs.known([job.arn for job in jobs])
    unknown: defaultdict[UUID | None, list[JobSummary]] = defaultdict(list)
    deployment_id = deployment.ledger.deployment_id
    for job in jobs:
        if job.arn not in known:
            unknown[chunk_of_job(deployment_id, job.name)].append(job)
    not_ours = unknown.pop(None, [])
    unadopted, orphans = list[JobSummary](), list[JobSummary]()
    for chunk_id, found in unknown.items():
        match _assign(deployment, chunk_id, found, report):
            case "candidates":  # an operator, or a look at what is in doubt, decides which is the chunk's
                unadopted += found
            case "orphans":
                orphans += found
    others = Counter(
        base_model(job.model_id)
        for job in not_ours + unadopted + orphans
        if FROM_BEDROCK.get(job.status) not in ENDED  # an unknown status may use a slot
    )
    account = deployment.settings.account
    deployment.ledger.quota_groups.record_others(
        region, account, others_by_group(others, region, account, open_models)
    )
    _record_orphans(deployment, orphans, report)
    listed = {job.arn for job in jobs}
    for in_flight in deployment.ledger.jobs.in_flight():
        place = JobPlace.of(in_flight.job_arn)
        if in_flight.job_arn not in listed and place.region == region and deployment.reaches(place.account):
            _look_up(deployment, in_flight.job_arn, report)


def _assign(
    deployment: Deployment, chunk_id: UUID | None, jobs: list[JobSummary], report: ReconcileReport
) -> Literal["adopted", "candidates", "orphans"]:
    """Adopt the one job with the name of a chunk; of several, an operator says which it is."""
    chunk = deployment.ledger.chunks.by_id(chunk_id) if chunk_id else None
    if chunk is None or chunk.job_arn or chunk.collected_at:
        return "orphans"
    if chunk.status == "needs-resolution":
        return "candidates"
    if len(jobs) > 1:
        # What is in doubt comes to the same by `settle`.
        if deployment.ledger.interventions.need_resolution(
            chunk.chunk_id,
            chunk.fence,
            reason=f"jobs of this name that may be the chunk's: {', '.join(job.arn for job in jobs)}",
        ):
            report.needs_resolution.append(chunk.chunk_key)
        return "candidates"
    [job] = jobs
    # A chunk that was rejected, or stopped, may have been sent again since a backup, corrected and so with another token.
    if not chunk.ended and chunk.token is not None and job.token not in (None, chunk.token):
        return "candidates"
    if not deployment.ledger.interventions.adopt(chunk.chunk_id, job.arn, job.submitted_at):
        return "candidates"  # it was settled meanwhile
    report.adopted.append(chunk.chunk_key)
    return "adopted"


def _record_orphans(deployment: Deployment, orphans: list[JobSummary], report: ReconcileReport) -> None:
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


def _look_up(deployment: Deployment, job_arn: str, report: ReconcileReport) -> None:
    try:
        deployment.jobs_in(_region_of(job_arn)).get(job_arn)
    except JobMissingError:
        report.unknown_to_bedrock.append(job_arn)
    except AwsError as error:
        if error.classification.no_connection:
            raise
        report.errors.append(str(error))


def _region_of(job_arn: str) -> str:
    """The region of a job whose ARN an operator may have typed.

    Raises:
        InvalidInputError: it is not the ARN of a job.
    """
    try:
        return JobPlace.of(job_arn).region
    except ValueError:
        raise InvalidInputError(
            f"{job_arn!r} is not the ARN of a job.",
            "It begins with arn:aws:bedrock: (arn:aws-us-gov:bedrock: in GovCloud) and a region.",
        ) from None
