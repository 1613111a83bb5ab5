"""Poll Bedrock once for all jobs in flight.

What belongs here: List, compared with the ledger. What follows from a job's end is decided in `collect`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.jobs import BedrockJobs, JobMissingError, JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger.jobs import InFlight, Observation
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import FROM_BEDROCK, Status
from bedrock_pipeline.models.quota_group import JobPlace

#: Clocks differ and Create takes a while, so List starts a little before the oldest job.
_MARGIN = timedelta(minutes=15)
#: Jobs that List did not show are fetched one by one, at most this many per poll.
_MOST_GETS = 20
#: And for this many seconds, since a poll is part of a sensor's tick.
_LOOK_UP_S = 20.0


@dataclass(slots=True)
class PollReport:
    """The result of a poll.

    Attributes:
        in_flight: jobs of the ledger that had not ended.
        listed: jobs that List showed.
        changed: chunks whose status or counts changed.
        unknown: ARNs of jobs that Bedrock does not have.
        unreachable: ARNs of jobs of an account that the settings are not of.
        errors: of regions other than the settings', of calls for single jobs, and statuses that this version does not know;
            the jobs stay in flight.
    """

    in_flight: int
    listed: int = 0
    changed: list[ChunkRow] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unreachable: list[str] = field(default_factory=list)
    errors: list[ServiceUnavailableError] = field(default_factory=list)


def poll_jobs(deployment: Deployment) -> PollReport:
    """Record Bedrock's status of every job in flight: for each region one List (paged) and one statement.

    That includes jobs of pipelines and queues that this process does not know, and of regions of earlier settings, since
    these hold slots as well. Jobs that were cancelled are stopped. A call for a single job that fails concerns that job
    alone, and a region that cannot be listed its own jobs.

    Raises:
        AwsError: List is denied in the settings' region, or AWS cannot be reached there.
    """
    waiting = deployment.ledger.jobs.in_flight()
    report = PollReport(len(waiting))
    regions: dict[str, list[InFlight]] = {}
    for job in waiting:
        place = JobPlace.of(job.job_arn)
        if deployment.reaches(place.account):
            regions.setdefault(place.region, []).append(job)
        else:
            report.unreachable.append(job.job_arn)
    for region in sorted(regions, key=lambda region: region == deployment.settings.region):
        try:
            _poll_region(deployment, region, regions[region], report)
        except AwsError as error:
            deployment.ledger.jobs.record_reached(region, str(error))
            if region == deployment.settings.region:
                raise
            report.errors.append(error)
        else:
            deployment.ledger.jobs.record_reached(region, None)
    return report


def jobs_to_stop(cancelled: Iterable[ChunkRow]) -> list[str]:
    """The ARNs of those jobs of cancelled chunks that run, and are not being stopped."""
    return [one.job_arn for one in cancelled if one.job_arn and not one.ended and one.status != "stopping"]


def stop_jobs(deployment: Deployment, job_arns: Iterable[str]) -> list[ServiceUnavailableError]:
    """Stop jobs whose cancellation is recorded; what fails is tried again by each poll.

    Returns:
        The errors of jobs that could not be stopped now.

    Raises:
        AwsError: AWS cannot be reached.
    """
    errors: list[ServiceUnavailableError] = []
    for job_arn in job_arns:
        place = JobPlace.of(job_arn)
        if not deployment.reaches(place.account):
            errors.append(_of_another_account(job_arn))
            continue
        try:
            deployment.jobs_in(place.region).stop(job_arn)
        except AwsError as error:
            if error.classification.no_connection:
                raise
            errors.append(error)
    return errors


def _poll_region(deployment: Deployment, region: str, waiting: list[InFlight], report: PollReport) -> None:
    bedrock = deployment.jobs_in(region)
    listed = {job.arn: job for job in bedrock.list(since=waiting[0].submitted_at - _MARGIN)}
    report.listed += len(listed)
    observations = []
    for job in [
        *(listed[job.job_arn] for job in waiting if job.job_arn in listed),
        *_look_up(deployment, bedrock, waiting, listed, report),
    ]:
        if status := FROM_BEDROCK.get(job.status):
            observations.append(_observation(job, status))
        else:
            report.errors.append(_unknown_status(job))
    report.changed += deployment.ledger.jobs.observe(observations)
    report.errors += stop_jobs(
        deployment,
        [job.job_arn for job in waiting if job.cancel_requested_at and job.status != "stopping"],
    )


def _look_up(
    deployment: Deployment,
    bedrock: BedrockJobs,
    waiting: list[InFlight],
    listed: dict[str, JobSummary],
    report: PollReport,
) -> Iterator[JobSummary]:
    """Jobs in flight that List did not show, by Get; reports those that Bedrock does not have, and errors."""
    missing = [job for job in waiting if job.job_arn not in listed]
    deadline = deployment.system.monotonic() + _LOOK_UP_S
    for job in deployment.system.rng.sample(missing, min(len(missing), _MOST_GETS)):  # each has its turn
        if deployment.system.monotonic() >= deadline:
            return
        try:
            yield bedrock.get(job.job_arn)
        except JobMissingError:
            report.unknown.append(job.job_arn)
        except AwsError as error:
            if error.classification.no_connection:
                raise
            report.errors.append(error)


def _of_another_account(job_arn: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"Job {job_arn} is of another account than these settings.",
        "Use the settings of that account, or give the job up with `bedrock-pipeline resolve --lost`.",
    )


def _unknown_status(job: JobSummary) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        f"Bedrock reports the status {job.status!r} of job {job.arn}, which this version does not know.",
        "The job counts as in flight.",
    )


def _observation(job: JobSummary, status: Status) -> Observation:
    begun = job.total > 0
    return Observation(
        job_arn=job.arn,
        status=status,
        message=job.message,
        total=job.total if begun else None,
        processed=job.processed if begun else None,
        succeeded=job.succeeded if begun else None,
        errors=job.errors if begun else None,
    )
