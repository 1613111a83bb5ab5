"""The four batch operations.

What belongs here: what Create, Get, List and Stop do and answer. HTTP is `server.py`'s.
"""

import base64
import binascii
import random
import re
import string
from datetime import datetime, timedelta
from typing import Any

from bedrock_pipeline.emulator import answers
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.store import TERMINAL, Job, Store

_ALPHABET = string.ascii_lowercase + string.digits
_PRIVATE = ("id", "statusTime", "records", "files")
#: What distinguishes two requests that carry the same token.
_ASKED = ("jobName", "roleArn", "modelId", "inputDataConfig", "outputDataConfig", "timeoutDurationInHours")


class Service:
    """Bedrock's batch inference in one account and region."""

    def __init__(self, store: Store, clock: Clock, *, region: str, account: str, max_jobs: int) -> None:
        self._store = store
        self._clock = clock
        self._arn = f"arn:aws:bedrock:{region}:{account}:model-invocation-job/"
        self._max_jobs = max_jobs
        self._chance = random.SystemRandom()

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """CreateModelInvocationJob; a token that is known gives the job that it gave before."""
        check("CreateModelInvocationJob", request)
        if not answers.supports(request["modelId"]):
            raise invalid("Batch inference is not supported for the requested model")
        with self._store.lock:
            token = request.get("clientRequestToken") or self._id(36)
            known = self._store.by_token(token)
            if known:
                if any(known.get(name) != request.get(name, known.get(name)) for name in _ASKED):
                    raise ServiceError(
                        "ConflictException", "The clientRequestToken was used with other parameters"
                    )
                return {"jobArn": known["jobArn"]}
            if self._store.in_flight(request["modelId"]) >= self._max_jobs:
                raise ServiceError(
                    "ServiceQuotaExceededException",
                    f"The number of jobs in progress for {request['modelId']} has reached the quota of {self._max_jobs}",
                )
            job = self._new(request, token)
            self._store.add(job)
        return {"jobArn": job["jobArn"]}

    def get(self, identifier: str) -> dict[str, Any]:
        """GetModelInvocationJob, by ARN or id."""
        return self._shown(self._find(identifier))

    def stop(self, identifier: str) -> dict[str, Any]:
        """StopModelInvocationJob; a job that has ended refuses."""
        job = self._find(identifier)
        if job["status"] in TERMINAL:
            raise invalid(f"The job cannot be stopped. State was: {job['status']}")
        self._store.update(job["id"], status="Stopping", statusTime=self._clock.now().isoformat())
        return {}

    def list(self, query: dict[str, str]) -> dict[str, Any]:
        """ListModelInvocationJobs: filtered, sorted, paged."""
        check("ListModelInvocationJobs", _typed(query))
        jobs = [job for job in self._store.all() if _matches(job, query)]
        if query.get("sortOrder") != "Ascending":
            jobs.reverse()
        start, size = _offset(query.get("nextToken")), int(query.get("maxResults", "100"))
        page = {"invocationJobSummaries": [self._shown(job) for job in jobs[start : start + size]]}
        if start + size < len(jobs):
            page["nextToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()  # type: ignore[assignment]  # a page is JSON
        return page

    def _new(self, request: dict[str, Any], token: str) -> Job:
        job_id, now = self._id(12), self._clock.now()
        hours = request.get("timeoutDurationInHours", 24)
        return {
            **request,
            "id": job_id,
            "jobArn": self._arn + job_id,
            "clientRequestToken": token,
            "status": "Submitted",
            "submitTime": now.isoformat(),
            "lastModifiedTime": now.isoformat(),
            "statusTime": now.isoformat(),
            "timeoutDurationInHours": hours,
            "jobExpirationTime": (now + timedelta(hours=hours)).isoformat(),
            "totalRecordCount": 0,
            "processedRecordCount": 0,
            "successRecordCount": 0,
            "errorRecordCount": 0,
        }

    def _find(self, identifier: str) -> Job:
        if not re.fullmatch(
            r"(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]+:\d{12}:model-invocation-job/)?[a-z0-9]{12}", identifier
        ):
            raise invalid(
                "1 validation error detected: Value at 'jobIdentifier' failed to satisfy constraint"
            )
        job = self._store.get(identifier.rpartition("/")[2])
        if job is None or (identifier.startswith("arn:") and job["jobArn"] != identifier):
            raise ServiceError("ResourceNotFoundException", "Could not find the model invocation job")
        return job

    def _id(self, length: int) -> str:
        return "".join(self._chance.choice(_ALPHABET) for _ in range(length))

    @staticmethod
    def _shown(job: Job) -> dict[str, Any]:
        return {name: value for name, value in job.items() if name not in _PRIVATE and value is not None}


def _typed(query: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(query)
    if "maxResults" in values:
        if not values["maxResults"].isdigit():
            raise invalid(
                "1 validation error detected: Value at 'maxResults' failed to satisfy constraint: Member must be a number"
            )
        values["maxResults"] = int(values["maxResults"])
    return values


def _matches(job: Job, query: dict[str, str]) -> bool:
    submitted = datetime.fromisoformat(job["submitTime"])
    return (
        ("submitTimeAfter" not in query or submitted > _time(query["submitTimeAfter"]))
        and ("submitTimeBefore" not in query or submitted < _time(query["submitTimeBefore"]))
        and query.get("statusEquals", job["status"]) == job["status"]
        and query.get("nameContains", "") in job["jobName"]
    )


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Timestamp {text!r} is not ISO 8601") from None


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        raise invalid("The nextToken is not valid") from None
