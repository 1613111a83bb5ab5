"""The life of jobs.

What belongs here: which status follows which, when, and how a job ends; one unit of work at a time, without a thread.
What is read and written on the way is in `run.py`, `work.py` and `output.py`.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from bedrock_pipeline.emulator.behaviour import Behaviour, OverQuota, Quota, StoppedOutput
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.faults import Faults
from bedrock_pipeline.emulator.models import ModelCard, Models
from bedrock_pipeline.emulator.models.catalog import arns_invoked
from bedrock_pipeline.emulator.objects import ObjectError, ObjectStore
from bedrock_pipeline.emulator.roles import Role, RoleError, Roles, key_arn, put_rejected
from bedrock_pipeline.emulator.run import End, Run
from bedrock_pipeline.emulator.store import TERMINAL, Job, Store
from bedrock_pipeline.emulator.work import Counts, Input, InputRejectedError, JobLimits, split_uri

_LOG = logging.getLogger(__name__)
#: The most records of one unit of work; between two, a job sees that it was stopped.
_RECORDS = 200
#: A model that nothing is known about.
_UNKNOWN = ModelCard("", "own", min_records=0)


@dataclass(frozen=True)
class Durations:
    """Seconds at the service in each status, before the speed."""

    submitted: float = 20
    validating: float = 40
    scheduled: float = 120
    in_progress: float = 600
    stopping: float = 10

    def of(self, status: str) -> float:
        """Seconds before a job leaves the status."""
        return {
            "Submitted": self.submitted,
            "Validating": self.validating,
            "Scheduled": self.scheduled,
            "Stopping": self.stopping,
        }.get(status, 0.0)


class Runner:
    """Moves jobs along until they have ended; two threads may advance two jobs at once, but not the same."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        objects: ObjectStore,
        *,
        limits: JobLimits,
        durations: Durations,
        behaviour: Behaviour,
        models: Models,
        faults: Faults,
        quota: Quota,
        roles: Roles,
        region: str,
        account: str,
    ) -> None:
        self._store, self._clock, self._objects = store, clock, objects
        self._roles, self._region, self._account = roles, region, account
        self._limits, self._durations, self._behaviour = limits, durations, behaviour
        self._models, self._faults, self._quota = models, faults, quota
        self._runs: dict[str, Run] = {}

    def step(self) -> bool:
        """One unit of work of every job that is due, in the order of creation; whether there was one."""
        due = self.due()
        for job_id in due:
            self.advance(job_id)
        return bool(due)

    def due(self) -> list[str]:
        """The jobs that have something to do now, in the order of creation."""
        active = self._store.active()
        for job_id in self._runs.keys() - set(active):  # of jobs that were forgotten meanwhile
            self._runs.pop(job_id, None)
        return [job_id for job_id in active if self.is_due(job_id)]

    def is_due(self, job_id: str) -> bool:
        """Whether a job has something to do now."""
        job = self._store.get(job_id)
        if job is None or job["status"] in TERMINAL:
            return False
        if self._late(job):
            return True
        run = self._runs.get(job_id)
        if run and job["status"] == "InProgress":
            return run.is_due
        if job["status"] == "Submitted" and self._is_queued(job):
            return False
        return self._age(job) >= self._clock.lasts(self._durations.of(job["status"]))

    def advance(self, job_id: str) -> None:
        """One unit of a job's work: its next status, or some of its records."""
        job = self._store.get(job_id)
        if job is None or job["status"] in TERMINAL:
            return
        try:
            self._advance(job)
        except Exception:
            _LOG.exception("job %s failed in the emulator", job_id)
            self._finish(job_id, End("Failed", "Internal error of the emulator", keeps_output=False))

    def _advance(self, job: Job) -> None:
        status = job["status"]
        if status == "Stopping":
            kept = self._behaviour.stopped_output is StoppedOutput.KEPT
            self._finish(job["id"], End("Stopped", None, keeps_output=kept))
        elif status == "InProgress":
            self._run(job)
        elif self._late(job):
            self._finish(
                job["id"], End("Expired", "The job did not start before its timeout.", keeps_output=False)
            )
        elif status == "Submitted":
            self._enter(job["id"], "Validating")
        elif status == "Validating":
            self._validate(job)
        elif status == "Scheduled":
            self._enter(job["id"], "InProgress")

    def _validate(self, job: Job) -> None:
        role, card = self._roles.get(job["roleArn"]), self._models.card(job["modelId"])
        known, limits = card or _UNKNOWN, self._limits
        least = known.min_records if limits.min_records is None else limits.min_records
        most = known.max_records if limits.max_records is None else limits.max_records
        records = range(least, most + 1)
        try:
            files, total = Input(self._objects, job, role).validate(limits, records, self._behaviour)
            self._check_output(job, role)
            if job.get("vpcConfig"):
                role.check_network()
        except (InputRejectedError, RoleError) as error:
            self._finish(job["id"], End("Failed", str(error), keeps_output=False))
        else:
            self._store.update(job["id"], records=total, files=files)
            self._enter(job["id"], "Scheduled")

    def _check_output(self, job: Job, role: Role) -> None:
        output = job["outputDataConfig"]["s3OutputDataConfig"]
        bucket, prefix = split_uri(output["s3Uri"])
        if output.get("s3BucketOwner", self._account) != self._account:
            raise put_rejected(bucket, prefix)
        role.check_put(bucket, prefix)
        if key := output.get("s3EncryptionKeyId"):
            role.check_key(bucket, prefix, key_arn(key, self._region, self._account))
        try:
            self._objects.check_bucket(bucket)
        except ObjectError as error:
            raise put_rejected(bucket, prefix) from error

    def _run(self, job: Job) -> None:
        run = self._runs.get(job["id"])
        if run is None:
            run = self._runs[job["id"]] = self._begun(job)
        if self._late(job):
            end: End | None = End("PartiallyCompleted", "The job reached its timeout.", keeps_output=True)
        else:
            end = run.advance(_RECORDS)
        if (
            run.counts.processed >= job["processedRecordCount"]
        ):  # after a restart, it shows no less than before
            self._store.update(job["id"], **_shown(run.counts))
        if end:
            self._finish(job["id"], end)

    def _begun(self, job: Job) -> Run:
        role = self._roles.get(job["roleArn"])
        arns = arns_invoked(job["modelId"], self._region, self._account)
        return Run(
            job,
            self._objects,
            self._models,
            self._faults,
            self._clock,
            self._behaviour,
            self._clock.lasts(self._durations.in_progress),
            role,
            may_invoke=role.may_invoke(arns),
        )

    def _is_queued(self, job: Job) -> bool:
        waits = self._behaviour.over_quota is OverQuota.QUEUED
        most = self._models.max_jobs(job["modelId"], self._quota)
        return waits and self._store.ahead(job["id"]) >= most

    def _age(self, job: Job) -> timedelta:
        return self._clock.now() - datetime.fromisoformat(job["statusTime"])

    def _late(self, job: Job) -> bool:
        return self._clock.now() >= datetime.fromisoformat(job["jobExpirationTime"])

    def _enter(self, job_id: str, status: str) -> None:
        now = self._clock.now().isoformat()
        with self._store.lock:
            if self._store.status(job_id) != "Stopping":
                self._store.update(job_id, status=status, statusTime=now, lastModifiedTime=now)

    def _finish(self, job_id: str, end: End) -> None:
        run = self._runs.pop(job_id, None)
        shown: dict[str, int] = {}
        if run:
            run.finish(end)
            shown = _shown(run.counts)
        now = self._clock.now().isoformat()
        self._store.update(
            job_id,
            **shown,
            status=end.status,
            statusTime=now,
            lastModifiedTime=now,
            endTime=now,
            message=end.message,
        )


def _shown(counts: Counts) -> dict[str, int]:
    return {
        "totalRecordCount": counts.total,
        "processedRecordCount": counts.processed,
        "successRecordCount": counts.succeeded,
        "errorRecordCount": counts.errors,
    }
