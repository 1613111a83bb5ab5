"""The life of jobs.

What belongs here: which status follows which, when, and how a job ends. What is read and written on the way is in
`work.py` and `output.py`.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bedrock_pipeline.emulator.behaviour import Behaviour, OverQuota, Quota, StoppedOutput
from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.faults import Faults, Kind
from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.emulator.output import Output
from bedrock_pipeline.emulator.store import Job, Store
from bedrock_pipeline.emulator.work import Answers, Counts, Input, InputRefusedError, JobLimits

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.05
_REPORT_SECONDS = 0.2
#: A job that takes its time holds a thread, so there are more of them than jobs are likely to run at once.
_WORKERS = 256


@dataclass(frozen=True)
class Durations:
    """Seconds at the service in each status, before the speed."""

    submitted: float = 20
    validating: float = 40
    scheduled: float = 120
    in_progress: float = 600
    stopping: float = 10


@dataclass(frozen=True)
class _End:
    """How a job ends before its last record."""

    status: str
    message: str | None
    keeps_output: bool


class _EmulatorEndsError(Exception):
    """The emulator ends; the job goes on at its next start."""


class Runner:
    """Moves every job along until it has ended."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        s3: "S3Client",
        *,
        limits: JobLimits,
        durations: Durations,
        behaviour: Behaviour,
        models: Models,
        faults: Faults,
        quota: Quota,
    ) -> None:
        self._store, self._clock, self._s3 = store, clock, s3
        self._limits, self._durations, self._behaviour = limits, durations, behaviour
        self._models, self._faults, self._quota = models, faults, quota
        self._busy: set[str] = set()
        self._end = threading.Event()
        self._workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="job")
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begin, with the jobs that an earlier process left unfinished."""
        self._thread.start()

    def stop(self) -> None:
        """End; unfinished jobs go on at the next start."""
        self._end.set()
        self._thread.join()
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _loop(self) -> None:
        while not self._end.wait(_TICK_SECONDS):
            for job_id in self._store.active():
                if job_id not in self._busy and self._is_due(job_id):
                    self._busy.add(job_id)
                    self._workers.submit(self._advance, job_id)

    def _is_due(self, job_id: str) -> bool:
        job = self._store.get(job_id)
        if job is None:
            return False
        seconds: float = getattr(self._durations, job["status"].lower(), 0.0)
        return self._late(job) or self._age(job) >= self._clock.lasts(seconds)

    def _advance(self, job_id: str) -> None:
        try:
            job = self._store.get(job_id)
            if job is not None:
                self._step(job)
        except _EmulatorEndsError:
            pass
        except Exception:
            _LOG.exception("job %s failed in the emulator", job_id)
            self._finish(job_id, _End("Failed", "Internal error of the emulator", keeps_output=False))
        finally:
            self._busy.discard(job_id)

    def _step(self, job: Job) -> None:
        status = job["status"]
        if status == "Stopping":
            self._finish(job["id"], _End("Stopped", None, keeps_output=False))
        elif status != "InProgress" and self._late(job):
            self._finish(
                job["id"], _End("Expired", "The job did not start before its timeout.", keeps_output=False)
            )
        elif status == "Submitted":
            queued = self._behaviour.over_quota is OverQuota.QUEUED
            if not queued or self._store.ahead(job["id"]) < self._quota.max_jobs:
                self._enter(job["id"], "Validating")
        elif status == "Validating":
            self._validate(job)
        elif status == "Scheduled":
            self._enter(job["id"], "InProgress")
        elif status == "InProgress":
            self._run(job)

    def _validate(self, job: Job) -> None:
        try:
            files, total = Input(self._s3, job).validate(self._limits, self._behaviour)
        except InputRefusedError as error:
            self._finish(job["id"], _End("Failed", str(error), keeps_output=False))
        else:
            self._store.update(job["id"], records=total, files=files)
            self._enter(job["id"], "Scheduled")

    def _run(self, job: Job) -> None:
        counts = Counts(total=job["records"])
        faults = self._faults.of_job(job["jobName"])
        answers = Answers(job, self._models, faults, counts)
        source, output = Input(self._s3, job), Output(self._s3, job, faults)
        end: _End | None = None
        go_on = self._watch(job, counts)
        for key in job["files"]:
            file = output.file(key)
            try:
                for line in source.lines(key):
                    end = go_on()
                    if end:
                        break
                    file.add(*answers.line(line))
                else:
                    end = go_on(at_end=key == job["files"][-1])
            except BaseException:
                file.discard()
                raise
            if end and not end.keeps_output:
                file.discard()
            else:
                file.finish()
            if end:
                break
        self._store.update(job["id"], **_shown(counts))
        if end is None or end.keeps_output:
            output.write_manifest(counts)
        self._finish(job["id"], end or _End("Completed", None, keeps_output=True))

    def _watch(self, job: Job, counts: Counts) -> "Callable[..., _End | None]":
        """What is asked before each record: whether the job ends here. It also keeps the job's pace and counts."""
        began = datetime.fromisoformat(job["statusTime"])
        lasts = self._clock.lasts(self._durations.in_progress)
        fault = self._faults.standing(Kind.JOB_ENDS, job["jobName"])
        stops_at = round(fault.at * counts.total) if fault else None
        reported = 0.0

        def go_on(*, at_end: bool = False) -> _End | None:
            nonlocal reported
            if counts.processed == stops_at:
                struck = self._faults.strike(Kind.JOB_ENDS, job_name=job["jobName"])
                if struck:
                    return _End(struck.status, struck.message, struck.status != "Expired")
            due = began + lasts * (counts.processed / max(counts.total, 1))
            now = time.monotonic()
            if now >= reported + _REPORT_SECONDS or at_end:
                reported = now
                if counts.processed >= job["processedRecordCount"]:  # run again, it shows no less than before
                    self._store.update(job["id"], **_shown(counts))
            elif self._clock.now() >= due:
                return None
            return self._wait_until(job["id"], due)

        return go_on

    def _wait_until(self, job_id: str, due: datetime) -> _End | None:
        """Let the job take its time; tells where it ends meanwhile."""
        while True:
            if self._end.is_set():
                raise _EmulatorEndsError
            job = self._store.get(job_id)
            if job is None or job["status"] == "Stopping":
                kept = self._behaviour.stopped_output is StoppedOutput.KEPT
                return _End("Stopped", None, keeps_output=kept)
            if self._late(job):
                return _End("PartiallyCompleted", "The job reached its timeout.", keeps_output=True)
            if self._clock.now() >= due:
                return None
            self._clock.sleep(min(_TICK_SECONDS, max(0.0, (due - self._clock.now()) / timedelta(seconds=1))))

    def _age(self, job: Job) -> timedelta:
        return self._clock.now() - datetime.fromisoformat(job["statusTime"])

    def _late(self, job: Job) -> bool:
        return self._clock.now() >= datetime.fromisoformat(job["jobExpirationTime"])

    def _enter(self, job_id: str, status: str) -> None:
        now = self._clock.now().isoformat()
        with self._store.lock:
            if self._store.status(job_id) != "Stopping":
                self._store.update(job_id, status=status, statusTime=now, lastModifiedTime=now)

    def _finish(self, job_id: str, end: _End) -> None:
        now = self._clock.now().isoformat()
        self._store.update(
            job_id,
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
