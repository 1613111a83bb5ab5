"""Bedrock's batch operations.

When they are called, and what follows, is decided in `submit`.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bedrock_pipeline.aws.errors import AwsError, Classification, LeaseOverError, classify, translated
from bedrock_pipeline.aws.responses import server_time
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.records.job_names import is_job_of
from bedrock_pipeline.system import SYSTEM

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


_LIST_IS_NEEDED = "bedrock:ListModelInvocationJobs is needed; nothing is submitted without it."


class JobMissingError(AwsError):
    """Bedrock does not know the job."""


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as List or Get show it; counts are Bedrock's, 0 before processing has begun."""

    arn: str
    name: str
    model_id: str
    token: str | None
    status: str
    message: str | None
    submitted_at: datetime
    total: int
    processed: int
    succeeded: int
    errors: int


@dataclass(frozen=True, slots=True)
class Found:
    """What List shows for a chunk.

    Attributes:
        server_time: AWS's clock, from the response's Date header; None without one.
    """

    jobs: list[JobSummary]
    server_time: datetime | None


class BedrockJobs:
    """The jobs of one account and region.

    The creating client sends one HTTP attempt (`clients.creating_client`), the reading client retries.
    """

    def __init__(
        self,
        creating: "BedrockClient",
        reading: "BedrockClient",
        monotonic: Callable[[], float] = SYSTEM.monotonic,
    ) -> None:
        self._creating = creating
        self._reading = reading
        self._monotonic = monotonic
        self._sending = threading.local()
        creating.meta.events.register("before-send.bedrock.CreateModelInvocationJob", self._check_lease)

    def create(self, request: dict[str, Any], token: str, *, deadline: float) -> str:
        """Send one Create, unless the monotonic clock has passed `deadline` just before the bytes leave.

        Returns:
            The job's ARN.

        Raises:
            LeaseOverError: nothing was sent.
            AwsError: there is no ARN; whether there is a job follows from the error's kind.
        """
        self._sending.deadline = deadline
        try:
            response = self._creating.create_model_invocation_job(**request, clientRequestToken=token)
            return response["jobArn"]
        except LeaseOverError:
            raise
        except Exception as error:  # whatever it is, a job may exist
            classification = classify(error)
            raise AwsError(f"Create failed: {classification}.", "", classification) from error

    def _check_lease(self, **_: object) -> None:
        if self._monotonic() >= self._sending.deadline:
            raise LeaseOverError(
                "The lease ended before the request could be sent.",
                "It is submitted again automatically.",
                Classification(ErrorKind.TRANSIENT, "LeaseOver", "nothing was sent"),
            )

    def list(
        self, *, since: datetime | None = None, name_contains: str | None = None
    ) -> Iterator[JobSummary]:
        """List the jobs that were submitted after `since`, oldest first; each once, though pages may repeat one.

        Raises:
            AwsError: List is denied or AWS cannot be reached.
        """
        filters: dict[str, Any] = {"maxResults": 1000, "sortBy": "CreationTime", "sortOrder": "Ascending"}
        if since:
            filters["submitTimeAfter"] = since
        if name_contains:
            filters["nameContains"] = name_contains
        shown: set[str] = set()
        with translated("list Bedrock's jobs", _LIST_IS_NEEDED):
            for page in self._reading.get_paginator("list_model_invocation_jobs").paginate(**filters):
                for job in page.get("invocationJobSummaries", []):
                    if job["jobArn"] not in shown:
                        shown.add(job["jobArn"])
                        yield _summary(job)

    def find(self, chunk_id: UUID) -> Found:
        """List the jobs with a chunk's name, each once, and AWS's time; the prefix of names may have been another.

        Raises:
            AwsError: List is denied or AWS cannot be reached.
        """
        found: dict[str, JobSummary] = {}
        at: datetime | None = None
        with translated("list Bedrock's jobs", _LIST_IS_NEEDED):
            filters: dict[str, Any] = {"nameContains": str(chunk_id), "maxResults": 100}
            for page in self._reading.get_paginator("list_model_invocation_jobs").paginate(**filters):
                found |= {
                    job["jobArn"]: _summary(job)
                    for job in page.get("invocationJobSummaries", [])
                    if is_job_of(job["jobName"], chunk_id)
                }
                at = server_time(page["ResponseMetadata"]["HTTPHeaders"])
        return Found(list(found.values()), at)

    def get(self, job_arn: str) -> JobSummary:
        """Get one job.

        Raises:
            JobMissingError: it does not exist.
            AwsError: Get is denied or AWS cannot be reached.
        """
        fix = "Compare its ARN with those that Bedrock lists."
        with translated(f"get job {job_arn}", fix, not_found=JobMissingError):
            return _summary(self._reading.get_model_invocation_job(jobIdentifier=job_arn))

    def stop(self, job_arn: str) -> None:
        """Stop a job, unless it has ended.

        Raises:
            AwsError: Stop is denied or AWS cannot be reached.
        """
        try:
            with translated(f"stop job {job_arn}"):
                self._reading.stop_model_invocation_job(jobIdentifier=job_arn)
        except AwsError as error:
            if error.kind is not ErrorKind.CONFLICT and "State was" not in error.classification.message:
                raise


def _summary(job: Any) -> JobSummary:
    return JobSummary(
        arn=job["jobArn"],
        name=job["jobName"],
        model_id=job["modelId"],
        token=job.get("clientRequestToken"),
        status=job["status"],
        message=job.get("message"),
        submitted_at=job["submitTime"],
        total=job.get("totalRecordCount", 0),
        processed=job.get("processedRecordCount", 0),
        succeeded=job.get("successRecordCount", 0),
        errors=job.get("errorRecordCount", 0),
    )
