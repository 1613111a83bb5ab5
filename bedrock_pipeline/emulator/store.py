"""Jobs, in memory and on disk.

What belongs here: the emulator's state. SQLite keeps it, so that it survives a kill; what is read comes from memory.
"""

import json
import sqlite3
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Expired", "Stopped")
Job = dict[str, Any]
_FILE: Final = "jobs.sqlite"


class Store:
    """The jobs; safe to use from several threads. What it gives out are copies.

    Args:
        folder: where they are kept; None for in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / _FILE).touch(mode=0o600)  # as SQLite makes the files beside it
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            folder / _FILE if folder else ":memory:", check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        # Survives the death of the process, which is what is promised; not that of the machine.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute(
            """CREATE TABLE IF NOT EXISTS jobs (
                   number INTEGER PRIMARY KEY, id TEXT UNIQUE, document TEXT)"""
        )
        self._database.execute("CREATE TABLE IF NOT EXISTS peaks (model TEXT PRIMARY KEY, jobs INTEGER)")
        self._jobs: dict[str, Job] = {}
        self._latest_of_token: dict[str, str] = {}
        self._names: set[str] = set()
        self._active: dict[str, None] = {}
        self._in_flight: Counter[str] = Counter()
        self._peaks: dict[str, int] = dict(self._database.execute("SELECT model, jobs FROM peaks"))
        for (document,) in self._database.execute("SELECT document FROM jobs ORDER BY number"):
            self._keep(json.loads(document))

    @property
    def lock(self) -> threading.RLock:
        """Hold it over a look and the act that follows."""
        return self._lock

    def add(self, job: Job) -> None:
        """Enter a new job, and keep the most that were ever in flight for its model."""
        with self._lock:
            self._database.execute(
                "INSERT INTO jobs (id, document) VALUES (?, ?)", (job["id"], json.dumps(job))
            )
            self._keep(dict(job))
            model = job["modelId"]
            if self._in_flight[model] > self._peaks.get(model, 0):
                self._peaks[model] = self._in_flight[model]
                self._database.execute(
                    "INSERT OR REPLACE INTO peaks VALUES (?, ?)", (model, self._peaks[model])
                )

    def update(self, job_id: str, **changes: Any) -> Job:
        """Change a job; one that has ended stays as it is."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job["status"] in TERMINAL:
                return dict(job or {})
            job.update(changes)
            self._database.execute("UPDATE jobs SET document = ? WHERE id = ?", (json.dumps(job), job_id))
            if job["status"] in TERMINAL:
                del self._active[job_id]
                self._in_flight[job["modelId"]] -= 1
            return dict(job)

    def get(self, job_id: str) -> Job | None:
        """A job by its 12-character id."""
        with self._lock:
            job = self._jobs.get(job_id)
            return dict(job) if job else None

    def status(self, job_id: str) -> str | None:
        """A job's status."""
        with self._lock:
            job = self._jobs.get(job_id)
            return job["status"] if job else None

    def by_token(self, token: str) -> Job | None:
        """The latest job of a token."""
        with self._lock:
            job_id = self._latest_of_token.get(token)
            return self.get(job_id) if job_id else None

    def has_name(self, name: str) -> bool:
        """Whether a job has this name, ended or not."""
        with self._lock:
            return name in self._names

    def all(self) -> list[Job]:
        """Every job, in the order of creation."""
        with self._lock:
            return [dict(job) for job in self._jobs.values()]

    def active(self) -> list[str]:
        """The ids of the jobs that have not ended, in the order of creation."""
        with self._lock:
            return list(self._active)

    def in_flight(self, model: str) -> int:
        """How many jobs of a model have not ended."""
        with self._lock:
            return self._in_flight[model]

    def ahead(self, job_id: str) -> int:
        """How many unfinished jobs of the same model were created before this one."""
        with self._lock:
            model, count = self._jobs[job_id]["modelId"], 0
            for other in self._active:
                if other == job_id:
                    break
                count += self._jobs[other]["modelId"] == model
            return count

    def peaks(self) -> dict[str, int]:
        """The most jobs that were ever in flight at once, by model."""
        with self._lock:
            return dict(self._peaks)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._database.execute("DELETE FROM jobs")
            self._database.execute("DELETE FROM peaks")
            for kept in (
                self._jobs,
                self._latest_of_token,
                self._names,
                self._active,
                self._in_flight,
                self._peaks,
            ):
                kept.clear()

    def _keep(self, job: Job) -> None:
        self._jobs[job["id"]] = job
        self._latest_of_token[job["clientRequestToken"]] = job["id"]
        self._names.add(job["jobName"])
        if job["status"] not in TERMINAL:
            self._active[job["id"]] = None
            self._in_flight[job["modelId"]] += 1
