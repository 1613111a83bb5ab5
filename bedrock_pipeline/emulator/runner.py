"""The life of jobs.

What belongs here: which status follows which, and when; the work itself is `work.py`.
"""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bedrock_pipeline.emulator.clock import Clock
from bedrock_pipeline.emulator.store import Job, Store
from bedrock_pipeline.emulator.work import Counts, InputRefusedError, JobLimits, StoppedError, Work

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.05


@dataclass(frozen=True)
class Durations:
    """Seconds at the service in each status, before the speed."""

    submitted: float = 20
    validating: float = 40
    scheduled: float = 120
    in_progress: float = 600


class Runner:
    """Moves every job along until it has ended."""

    def __init__(
        self, store: Store, clock: Clock, s3: "S3Client", limits: JobLimits, durations: Durations
    ) -> None:
        self._store = store
        self._clock = clock
        self._s3 = s3
        self._limits = limits
        self._durations = durations
        self._busy: set[str] = set()
        self._end = threading.Event()
        self._workers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="job")
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
            for job in self._store.active():
                if job["id"] not in self._busy:
                    self._busy.add(job["id"])
                    self._workers.submit(self._advance, job["id"])

    def _advance(self, job_id: str) -> None:
        try:
            job = self._store.get(job_id)
            if job is not None:
                self._step(job)
        except StoppedError:
            pass
        except Exception:
            _LOG.exception("job %s failed in the emulator", job_id)
            self._finish(job_id, "Failed", "Internal error of the emulator")
        finally:
            self._busy.discard(job_id)

    def _step(self, job: Job) -> None:
        age = self._clock.now() - datetime.fromisoformat(job["statusTime"])
        match job["status"]:
            case "Stopping":
                self._finish(job["id"], "Stopped", None)
            case "Submitted" if age >= self._clock.lasts(self._durations.submitted):
                self._enter(job["id"], "Validating")
            case "Validating" if age >= self._clock.lasts(self._durations.validating):
                self._validate(job)
            case "Scheduled" if age >= self._clock.lasts(self._durations.scheduled):
                self._enter(job["id"], "InProgress")
            case "InProgress":
                self._run(job)

    def _validate(self, job: Job) -> None:
        try:
            counts = Work(self._s3, job, self._limits).validate()
        except InputRefusedError as error:
            self._finish(job["id"], "Failed", str(error))
        else:
            self._store.update(job["id"], records=counts.total, files=counts.files)
            self._enter(job["id"], "Scheduled")

    def _run(self, job: Job) -> None:
        began = datetime.fromisoformat(job["statusTime"])
        lasts = self._clock.lasts(self._durations.in_progress)

        def report(counts: Counts) -> None:
            self._must_go_on(job["id"])
            self._store.update(job["id"], **_counted(counts))
            self._wait_until(job["id"], began + lasts * (counts.processed / max(counts.total, 1)))

        counts = Counts(total=job["records"], files=job["files"])
        Work(self._s3, job, self._limits).run(counts, report)
        self._wait_until(job["id"], began + lasts)
        self._store.update(job["id"], **_counted(counts))
        self._finish(job["id"], "Completed", None)

    def _wait_until(self, job_id: str, due: datetime) -> None:
        while self._clock.now() < due:
            self._must_go_on(job_id)
            self._clock.sleep(min(_TICK_SECONDS, max(0.0, (due - self._clock.now()) / timedelta(seconds=1))))

    def _must_go_on(self, job_id: str) -> None:
        job = self._store.get(job_id)
        if self._end.is_set() or job is None or job["status"] != "InProgress":
            raise StoppedError

    def _enter(self, job_id: str, status: str) -> None:
        now = self._clock.now().isoformat()
        self._store.update(job_id, status=status, statusTime=now, lastModifiedTime=now)

    def _finish(self, job_id: str, status: str, message: str | None) -> None:
        now = self._clock.now().isoformat()
        self._store.update(
            job_id, status=status, statusTime=now, lastModifiedTime=now, endTime=now, message=message
        )


def _counted(counts: Counts) -> dict[str, int]:
    return {
        "totalRecordCount": counts.total,
        "processedRecordCount": counts.processed,
        "successRecordCount": counts.succeeded,
        "errorRecordCount": counts.errors,
    }
