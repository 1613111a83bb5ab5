"""Poll Bedrock once for all jobs in flight.

What belongs here: List, compared with the ledger. What follows from a job's end is decided in `collect`.
"""

from dataclasses import dataclass
from datetime import timedelta

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.aws.jobs import JobSummary
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.jobs import InFlight, Observation
from bedrock_pipeline.ledger.rows import ChunkRow
from bedrock_pipeline.ledger.status import FROM_BEDROCK

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
        unknown: ARNs of jobs that neither List nor Get showed.
    """

    in_flight: int
    listed: int
    changed: list[ChunkRow]
    unknown: list[str]


def poll_jobs(deployment: Deployment, pipelines: list[str]) -> PollReport:
    """Record Bedrock's status of every job in flight: one List (paged) and two statements.

    Jobs that were cancelled are stopped.

    Raises:
        AwsError: List is denied or AWS cannot be reached; nothing is recorded then.
    """
    waiting = deployment.ledger.jobs.in_flight(pipelines)
    if not waiting:
        return PollReport(0, 0, [], [])
    listed = {job.arn: job for job in deployment.jobs.list(since=waiting[0].submitted_at - _MARGIN)}
    jobs, unknown = _look_up(deployment, waiting, listed)
    changed = deployment.ledger.jobs.observe([_observation(job) for job in jobs])
    for job in waiting:
        if job.cancel_requested_at and job.status != "stopping":
            deployment.jobs.stop(job.job_arn)
    return PollReport(len(waiting), len(listed), changed, unknown)


def _look_up(
    deployment: Deployment, waiting: list[InFlight], listed: dict[str, JobSummary]
) -> tuple[list[JobSummary], list[str]]:
    """The jobs in flight as Bedrock shows them; and the ARNs of those that it does not."""
    jobs = [listed[job.job_arn] for job in waiting if job.job_arn in listed]
    unknown = []
    for job in [job for job in waiting if job.job_arn not in listed][:_MOST_GETS]:
        try:
            jobs.append(deployment.jobs.get(job.job_arn))
        except AwsError:
            unknown.append(job.job_arn)
    return jobs, unknown


def _observation(job: JobSummary) -> Observation:
    begun = job.total > 0
    return Observation(
        job_arn=job.arn,
        status=FROM_BEDROCK[job.status],
        message=job.message,
        total=job.total if begun else None,
        processed=job.processed if begun else None,
        succeeded=job.succeeded if begun else None,
        errors=job.errors if begun else None,
    )
