"""The four batch operations.

What belongs here: what Create, Get, List and Stop do and answer. HTTP is `routes.py`'s.
"""

import base64
import binascii
import random
import string
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from bedrock_pipeline.emulator.behaviour import (
    Behaviour,
    FirstCheck,
    JobIds,
    JobNames,
    LegacyModels,
    OtherRequest,
    OverQuota,
    Quota,
    SameToken,
    UnlistedBatch,
)
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.constraints import check
from bedrock_pipeline.emulator.errors import ServiceError, invalid
from bedrock_pipeline.emulator.faults import Faults, Kind
from bedrock_pipeline.emulator.models import Models, parse_model_id
from bedrock_pipeline.emulator.models.catalog import partition_of
from bedrock_pipeline.emulator.store import TERMINAL, Job, Store

_ALPHABET = string.ascii_lowercase + string.digits
_MOST_TAGS = 50
_PRIVATE = ("id", "createdAt", "statusTime", "records", "files", "tags")
_BEFORE = {
    "Validating": "Submitted",
    "Scheduled": "Validating",
    "InProgress": "Scheduled",
    "Completed": "InProgress",
}
#: What distinguishes two requests that carry the same token.
_ASKED = ("jobName", "roleArn", "modelId", "inputDataConfig", "outputDataConfig", "timeoutDurationInHours")


class Service:
    """Bedrock's batch inference in one account and region.

    Args:
        rng: makes the ids.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        region: str,
        account: str,
        quota: Quota,
        behaviour: Behaviour,
        models: Models,
        faults: Faults,
        rng: random.Random,
    ) -> None:
        self._store, self._clock = store, clock
        self._region, self._account = region, account
        self._arn = f"arn:{partition_of(region)}:bedrock:{region}:{account}:model-invocation-job/"
        self._quota, self._behaviour, self._models, self._faults = quota, behaviour, models, faults
        self._rng = rng

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """CreateModelInvocationJob; a token that is known makes no second job."""
        check("CreateModelInvocationJob", request)
        self._check_role(request["roleArn"])
        model_id = request["modelId"]
        self._check_model(model_id)
        _check_tags(request.get("tags") or [])
        with self._store.lock:
            token = request.get("clientRequestToken") or self._id(36)
            known = self._known(token)
            if known is None or self._behaviour.first_check is FirstCheck.NAME:
                self._check_name(request["jobName"])
            if known:
                return self._again(known, request)
            most = self._models.max_jobs(model_id, self._quota)
            full = self._store.in_flight(model_id) >= most
            if full and self._behaviour.over_quota is OverQuota.REJECTED:
                raise ServiceError(
                    "ServiceQuotaExceededException",
                    f"The number of jobs in progress for {model_id} has reached the quota of {most}",
                )
            job = self._new(request, token)
            self._store.add(job)
        return {"jobArn": job["jobArn"]}

    def get(self, identifier: str) -> dict[str, Any]:
        """GetModelInvocationJob."""
        return self._shown(self._find(identifier))

    def stop(self, identifier: str) -> dict[str, Any]:
        """StopModelInvocationJob; a job that has ended rejects."""
        with self._store.lock:
            job = self._find(identifier)
            if job["status"] in TERMINAL:
                raise invalid(f"The job cannot be stopped. State was: {job['status']}")
            if job["status"] != "Stopping":
                now = self._clock.now().isoformat()
                self._store.update(job["id"], status="Stopping", statusTime=now, lastModifiedTime=now)
        return {}

    def list(self, query: dict[str, str]) -> dict[str, Any]:
        """ListModelInvocationJobs: filtered, sorted, paged."""
        check("ListModelInvocationJobs", _typed(query))
        jobs = [job for job in self._store.all() if _matches(job, query) and not self._hidden(job)]
        if query.get("sortOrder") != "Ascending":
            jobs.reverse()
        start, size = _offset(query.get("nextToken")), int(query.get("maxResults", "100"))
        if self._faults.strike(Kind.LIST_EMPTY_PAGE):
            return {"invocationJobSummaries": [], **_next(start, len(jobs))}
        shown = [self._shown(job) for job in jobs[start : start + size]]
        if self._faults.strike(Kind.LIST_REPEATED):
            shown = (shown + shown)[:1000]
        return {"invocationJobSummaries": shown, **_next(start + size, len(jobs))}

    def _check_role(self, arn: str) -> None:
        if arn.split(":")[4] != self._account:
            raise ServiceError("AccessDeniedException", "Cross-account pass role is not allowed.")

    def _check_model(self, model_id: str) -> None:
        named, card = parse_model_id(model_id), self._models.card(model_id)
        if named.region and named.region != self._region:
            raise invalid("The provided ARN is invalid for the service region.")
        unlisted = self._behaviour.unlisted_batch
        if (
            card is None
            or card.batch == "no"
            or (card.batch == "not found" and unlisted is UnlistedBatch.REJECTED)
        ):
            raise invalid("Batch inference is not supported for the requested model.")
        if not (
            self._models.takes_profile(card, named, self._region)
            if named.geography
            else self._models.takes_bare(card, self._region)
        ):
            raise invalid(f"Batch inference is not supported for model {model_id} in region {self._region}.")
        if card.legacy and self._behaviour.legacy_models is LegacyModels.REJECTED:
            raise ServiceError(
                "ResourceNotFoundException",
                "Access denied. This Model is marked by provider as Legacy and you have not been actively using the "
                "model in the last 30 days. Please upgrade to an active model on Amazon Bedrock",
            )

    def _check_name(self, name: str) -> None:
        names = self._behaviour.job_names
        if names is JobNames.REPEATABLE or not self._store.has_name(name):
            return
        code = "ConflictException" if names is JobNames.CONFLICT else "ValidationException"
        raise ServiceError(code, "The provided job name is currently in use.")

    def _known(self, token: str) -> Job | None:
        known = self._store.by_token(token)
        lifetime = self._behaviour.token_lifetime
        if known is None or lifetime is None:
            return known
        age = self._clock.now() - _instant(known["submitTime"])
        return known if age < timedelta(seconds=lifetime) else None

    def _again(self, known: Job, request: dict[str, Any]) -> dict[str, Any]:
        other = any(known.get(name) != request.get(name, known.get(name)) for name in _ASKED)
        if other and self._behaviour.other_request is OtherRequest.CONFLICT:
            raise ServiceError("ConflictException", "The clientRequestToken was used with other parameters")
        if self._behaviour.same_token is SameToken.SILENT:
            return {}
        return {"jobArn": known["jobArn"]}

    def _hidden(self, job: Job) -> bool:
        """List lags behind Create, in wall time."""
        fault = self._faults.standing(Kind.LIST_LAG, job["jobName"])
        return fault is not None and self._clock.wall().timestamp() < job["createdAt"] + fault.delay

    def _new(self, request: dict[str, Any], token: str) -> Job:
        job_id, now = self._id(12), self._clock.now()
        hours = request.get("timeoutDurationInHours", 24)
        return {
            **request,
            "id": job_id,
            "createdAt": self._clock.wall().timestamp(),
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
        check("GetModelInvocationJob", {"jobIdentifier": identifier})
        if not identifier.startswith("arn:") and self._behaviour.job_ids is JobIds.ARN:
            raise invalid("The provided ARN is invalid.")
        job = self._store.get(identifier.rpartition("/")[2])
        if job is None or (identifier.startswith("arn:") and job["jobArn"] != identifier):
            raise ServiceError("ResourceNotFoundException", "Could not find the model invocation job")
        return job

    def _id(self, length: int) -> str:
        return "".join(self._rng.choice(_ALPHABET) for _ in range(length))

    def _shown(self, job: Job) -> dict[str, Any]:
        shown = {name: value for name, value in job.items() if name not in _PRIVATE and value is not None}
        if self._faults.standing(Kind.STATUS_BACKWARDS, job["jobName"]) and job["status"] in _BEFORE:
            self._faults.strike(Kind.STATUS_BACKWARDS, job_name=job["jobName"])
            shown["status"] = _BEFORE[job["status"]]
        return shown


def _check_tags(tags: list[dict[str, str]]) -> None:
    """What every service of AWS asks of tags ("Tagging your AWS resources"); the words of Bedrock are not known."""
    keys = [tag["key"] for tag in tags]
    if len(keys) > _MOST_TAGS:
        raise invalid(f"The number of tags exceeds the limit of {_MOST_TAGS}")
    if len(set(keys)) < len(keys):
        raise invalid("Duplicate tag keys are not allowed")
    if any(key.lower().startswith("aws:") for key in keys):
        raise invalid("Tag keys that begin with aws: are reserved")


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
    return (
        query.get("nameContains", "") in job["jobName"]
        and query.get("statusEquals", job["status"]) == job["status"]
        and ("submitTimeAfter" not in query or _instant(job["submitTime"]) > _time(query["submitTimeAfter"]))
        and (
            "submitTimeBefore" not in query or _instant(job["submitTime"]) < _time(query["submitTimeBefore"])
        )
    )


_instant = lru_cache(maxsize=100_000)(datetime.fromisoformat)


def _next(offset: int, count: int) -> dict[str, str]:
    if offset >= count:
        return {}
    return {"nextToken": base64.urlsafe_b64encode(str(offset).encode()).decode()}


def _time(text: str) -> datetime:
    try:
        moment = _instant(text)
    except ValueError:
        raise invalid(f"Timestamp {text!r} is not ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _offset(token: str | None) -> int:
    if token is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        raise invalid("The nextToken is not valid") from None
