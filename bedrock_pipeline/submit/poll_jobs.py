"""Poll Bedrock once for all jobs in flight.

What belongs here: List, compared with the ledger. What follows from a job's end is decided in `collect`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.jobs import JobMissingError, JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.ledger.jobs import InFlight, Observation
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import FROM_BEDROCK, Status

#: Clocks differ and Create takes a while, so List starts a little before the oldest job.
_MARGIN = timedelta(minutes=15)
#: Jobs that List did not show are fetched one by one, at most this many per poll.
_MOST_GETS = 20


@dataclass(frozen=True, slots=True)
class PollReport:
    """The result of a poll.

    Attributes:
        in_flight: jobs of the ledger that had not ended.
        listed: jobs that List showed.
        changed: chunks whose status or counts changed.
        unknown: ARNs of jobs that Bedrock does not have.
        errors: of calls for single jobs, and statuses that this version does not know; the job stays in flight.
    """

    in_flight: int
    listed: int
    changed: list[ChunkRow]
    unknown: list[str]
    errors: list[ServiceUnavailableError]


def poll_jobs(deployment: Deployment) -> PollReport:
    """Record Bedrock's status of every job in flight: one List (paged) and two statements.

    That includes jobs of pipelines and queues that this process does not know, since these hold slots as well.
    Jobs that were cancelled are stopped. A call for a single job that fails concerns that job alone.

    Raises:
        AwsError: List is denied or AWS cannot be reached.
    """
    waiting = deployment.ledger.jobs.in_flight()
    if not waiting:
        return PollReport(0, 0, [], [], [])
    listed = {job.arn: job for job in deployment.jobs.list(since=waiting[0].submitted_at - _MARGIN)}
    jobs, unknown, errors = _look_up(deployment, waiting, listed)
    observations = []
    for job in jobs:
        if status := FROM_BEDROCK.get(job.status):
            observations.append(_observation(job, status))
        else:
            errors.append(_unknown_status(job))
    changed = deployment.ledger.jobs.observe(observations)
    errors += stop_jobs(
        deployment,
        [job.job_arn for job in waiting if job.cancel_requested_at and job.status != "stopping"],
    )
    return PollReport(len(waiting), len(listed), changed, unknown, errors)


def stop_jobs(deployment: Deployment, job_arns: Iterable[str]) -> list[ServiceUnavailableError]:
    """Stop jobs whose cancellation is recorded; what fails is tried again by each poll.

    Returns:
        The errors of jobs that could not be stopped now.

    Raises:
        AwsError: AWS cannot be reached.
    """
    errors: list[ServiceUnavailableError] = []
    for job_arn in job_arns:
        try:
            deployment.jobs.stop(job_arn)
        except AwsError as error:
            if error.classification.no_connection:
                raise
            errors.append(error)
    return errors


def _look_up(
    deployment: Deployment, waiting: list[InFlight], listed: dict[str, JobSummary]
) -> tuple[list[JobSummary], list[str], list[ServiceUnavailableError]]:
    """The jobs in flight as Bedrock shows them; the ARNs of those that it does not have; and errors of Get."""
    jobs = [listed[job.job_arn] for job in waiting if job.job_arn in listed]
    unknown: list[str] = []
    errors: list[ServiceUnavailableError] = []
    missing = [job for job in waiting if job.job_arn not in listed]
    for job in deployment.system.rng.sample(missing, min(len(missing), _MOST_GETS)):  # each has its turn
        try:
            jobs.append(deployment.jobs.get(job.job_arn))
        except JobMissingError:
            unknown.append(job.job_arn)
        except AwsError as error:
            if error.classification.no_connection:
                raise
            errors.append(error)
    return jobs, unknown, errors


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
