"""Bedrock's batch operations.

What belongs here: Create, List, Get and Stop of model invocation jobs, as typed calls. When they are made, and
what follows, stands in `stages`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_pipeline.aws.errors import AwsError, LeaseOverError, classify

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient


class JobMissingError(AwsError):
    """Bedrock does not know the job."""


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job as List or Get tell it; counts are Bedrock's, 0 before processing has begun."""

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
    """What List shows of a name.

    Attributes:
        server_time: AWS's clock, from the answer's Date header; None where it has none.
    """

    jobs: list[JobSummary]
    server_time: datetime | None


class BedrockJobs:
    """The jobs of one account and region.

    Args:
        creating: a client that sends one HTTP attempt (`clients.creating_client`).
        reading: a client that retries.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        creating: "BedrockClient",
        reading: "BedrockClient",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._creating = creating
        self._reading = reading
        self._monotonic = monotonic
        self._sending = threading.local()
        creating.meta.events.register("before-send.bedrock.CreateModelInvocationJob", self._hold_back)

    def create(self, request: dict[str, Any], token: str, *, deadline: float) -> str:
        """Send one Create, unless `deadline` on the monotonic clock is over just before the bytes leave.

        Returns:
            The job's ARN.

        Raises:
            botocore's exceptions, unsorted: `errors.classify` says what they mean.
            LeaseOverError: nothing was sent.
        """
        self._sending.deadline = deadline
        answer = self._creating.create_model_invocation_job(**request, clientRequestToken=token)
        return answer["jobArn"]

    def _hold_back(self, **_: object) -> None:
        if self._monotonic() >= self._sending.deadline:
            raise LeaseOverError(
                "The lease was over before the request could be sent.", "It will be tried again."
            )

    def list(
        self, *, since: datetime | None = None, name_contains: str | None = None
    ) -> Iterator[JobSummary]:
        """Every job that was submitted after `since`, oldest first.

        Raises:
            AwsError: List is denied or AWS cannot be reached.
        """
        filters: dict[str, Any] = {"maxResults": 1000, "sortBy": "CreationTime", "sortOrder": "Ascending"}
        if since:
            filters["submitTimeAfter"] = since
        if name_contains:
            filters["nameContains"] = name_contains
        try:
            for page in self._reading.get_paginator("list_model_invocation_jobs").paginate(**filters):
                for job in page.get("invocationJobSummaries", []):
                    yield _summary(job)
        except (ClientError, BotoCoreError) as error:
            raise _not_listed(error) from error

    def find(self, name: str) -> Found:
        """Every job of exactly this name, and what time it is at AWS.

        Raises:
            AwsError: List is denied or AWS cannot be reached.
        """
        found: list[JobSummary] = []
        try:
            filters: dict[str, Any] = {"nameContains": name, "maxResults": 100}
            for page in self._reading.get_paginator("list_model_invocation_jobs").paginate(**filters):
                found += [
                    _summary(job) for job in page.get("invocationJobSummaries", []) if job["jobName"] == name
                ]
                date = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        except (ClientError, BotoCoreError) as error:
            raise _not_listed(error) from error
        return Found(found, parsedate_to_datetime(date) if date else None)

    def get(self, job_arn: str) -> JobSummary:
        """One job.

        Raises:
            JobMissingError: it does not exist.
            AwsError: Bedrock refused, or cannot be reached.
        """
        try:
            return _summary(self._reading.get_model_invocation_job(jobIdentifier=job_arn))
        except (ClientError, BotoCoreError) as error:
            classification = classify(error)
            kind = JobMissingError if classification.code == "ResourceNotFoundException" else AwsError
            raise kind(f"Could not look at job {job_arn}: {classification}.") from error

    def stop(self, job_arn: str) -> None:
        """Ask Bedrock to stop a job; one that has ended is no error.

        Raises:
            AwsError: Bedrock refused for another reason, or cannot be reached.
        """
        try:
            self._reading.stop_model_invocation_job(jobIdentifier=job_arn)
        except (ClientError, BotoCoreError) as error:
            classification = classify(error)
            if classification.code == "ConflictException" or "State was" in classification.message:
                return
            raise AwsError(f"Could not stop job {job_arn}: {classification}.") from error


def _not_listed(error: Exception) -> AwsError:
    return AwsError(
        f"Could not list Bedrock's jobs: {classify(error)}.",
        "bedrock:ListModelInvocationJobs is needed; nothing is submitted without it.",
    )


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
