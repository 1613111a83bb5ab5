"""Jobs on disk.

What belongs here: the emulator's state in SQLite, which survives a kill.
"""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Expired", "Stopped")
Job = dict[str, Any]


class Store:
    """The jobs; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            folder / "jobs.sqlite", check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.execute(
            """CREATE TABLE IF NOT EXISTS jobs (
                   number INTEGER PRIMARY KEY, id TEXT UNIQUE, token TEXT, status TEXT, model TEXT, document TEXT)"""
        )
        self._database.execute("CREATE INDEX IF NOT EXISTS by_token ON jobs (token)")
        self._database.execute("CREATE INDEX IF NOT EXISTS by_status ON jobs (status)")
        self._database.execute("CREATE TABLE IF NOT EXISTS peaks (model TEXT PRIMARY KEY, jobs INTEGER)")

    @property
    def lock(self) -> threading.RLock:
        """Hold it over a look and the act that follows."""
        return self._lock

    def add(self, job: Job) -> None:
        """Enter a new job, and keep the most that were ever in flight for its model."""
        with self._lock:
            self._database.execute(
                "INSERT INTO jobs (id, token, status, model, document) VALUES (?, ?, ?, ?, ?)",
                (job["id"], job["clientRequestToken"], job["status"], job["modelId"], json.dumps(job)),
            )
            self._database.execute(
                "INSERT INTO peaks VALUES (?, ?) ON CONFLICT (model) DO UPDATE SET jobs = max(jobs, excluded.jobs)",
                (job["modelId"], self.in_flight(job["modelId"])),
            )

    def update(self, job_id: str, **changes: Any) -> Job:
        """Change a job; one that has ended stays as it is."""
        with self._lock:
            job = self.get(job_id)
            if job is None or job["status"] in TERMINAL:
                return job or {}
            job.update(changes)
            self._database.execute(
                "UPDATE jobs SET status = ?, document = ? WHERE id = ?",
                (job["status"], json.dumps(job), job_id),
            )
            return job

    def get(self, job_id: str) -> Job | None:
        """A job by its 12-character id."""
        return self._one("SELECT document FROM jobs WHERE id = ?", job_id)

    def by_token(self, token: str) -> Job | None:
        """The first job of a token."""
        return self._one("SELECT document FROM jobs WHERE token = ? ORDER BY number LIMIT 1", token)

    def all(self) -> list[Job]:
        """Every job, in the order of creation."""
        with self._lock:
            return [
                json.loads(row[0])
                for row in self._database.execute("SELECT document FROM jobs ORDER BY number")
            ]

    def active(self) -> list[Job]:
        """The jobs that have not ended."""
        marks = ", ".join("?" for _ in TERMINAL)
        with self._lock:
            rows = self._database.execute(
                f"SELECT document FROM jobs WHERE status NOT IN ({marks}) ORDER BY number",  # noqa: S608  # marks only
                TERMINAL,
            )
            return [json.loads(row[0]) for row in rows]

    def in_flight(self, model: str) -> int:
        """How many jobs of a model have not ended."""
        return sum(job["modelId"] == model for job in self.active())

    def peaks(self) -> dict[str, int]:
        """The most jobs that were ever in flight at once, by model."""
        with self._lock:
            return dict(self._database.execute("SELECT model, jobs FROM peaks"))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._database.execute("DELETE FROM jobs")
            self._database.execute("DELETE FROM peaks")

    def _one(self, query: str, value: str) -> Job | None:
        with self._lock:
            row = self._database.execute(query, (value,)).fetchone()
        return json.loads(row[0]) if row else None
