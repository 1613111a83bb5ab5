"""What the judge is shown when a simulation has ended, and how it reads it.

What belongs here: the history, the emulator's own record and what is in S3. Nothing of the product is imported.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import pyarrow.parquet as pq

from bedrock_pipeline_tests.simulation.history import History, Line

#: Lines of the history: the ledger is copied, and that copy replaces it.
BACKUP: Final = "BACKUP of the ledger"
RESTORE: Final = "RESTORE of the backup"


@dataclass(frozen=True)
class Evidence:
    """One simulation, as it ended.

    Attributes:
        history: every effect.
        jobs: every job that Bedrock has ever had, by its own record.
        objects: what is in S3, by bucket and key.
        datasets: final rows: dataset, version, state, published_version, results_uri, cancelled.
        chunks: final rows: chunk_id, chunk_key, version, status.
        waits: what the product's `status` says that a dataset waits for.
        max_jobs: jobs at once that the product may have.
        caps: US dollars that a version of a dataset may cost.
        prices: US dollars of an input and an output token.
        settled: whether everything came to its end.
        queue: name of the queue; empty where there is none.
        tasks: what waits in the queue: record_id, prompt.
        queue_jobs: as a program sees them: job_id, chunk_key, final, waits, results.
        replaces_tasks: whether a task replaces a waiting one of the same record id.
        fewest_tasks: as many as are flushed in any case.
        orphans: ARNs of jobs that the product reports as belonging to no chunk.
    """

    history: History
    jobs: list[dict[str, Any]]
    objects: dict[tuple[str, str], bytes]
    datasets: list[dict[str, Any]]
    chunks: list[dict[str, Any]]
    waits: dict[str, list[str]]
    max_jobs: int
    caps: dict[str, float]
    prices: tuple[float, float]
    settled: bool
    queue: str = ""
    tasks: Sequence[dict[str, str]] = ()
    queue_jobs: Sequence[dict[str, Any]] = ()
    replaces_tasks: bool = False
    fewest_tasks: int = 1
    orphans: Sequence[str] = ()

    @cached_property
    def restore(self) -> tuple[int, int] | None:
        """The steps of the backup and of its restore; None where nothing was restored."""
        steps = {line.what: line.ended for line in self.history if line.what in (BACKUP, RESTORE)}
        return (steps[BACKUP], steps[RESTORE]) if RESTORE in steps else None

    def was_lost(self, step: int) -> bool:
        """Whether what was committed at this step is not in the backup that was restored later."""
        return self.restore is not None and self.restore[0] < step <= self.restore[1]

    def object(self, uri: str) -> bytes:
        """An object in S3."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.objects[bucket, key]

    def published(self, uri: str) -> list[dict[str, Any]]:
        """The rows in a folder of results."""
        bucket, _, folder = uri.removeprefix("s3://").partition("/")
        return [
            row
            for (place, key), content in sorted(self.objects.items())
            if place == bucket and key.startswith(folder) and key.endswith(".parquet")
            for row in pq.read_table(io.BytesIO(content)).to_pylist()
        ]

    def output(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The lines of a job's output that can be read."""
        bucket, _, prefix = (
            job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"].removeprefix("s3://").partition("/")
        )
        folder = f"{prefix.strip('/')}/{job['id']}/"
        for (place, key), content in sorted(self.objects.items()):
            if place == bucket and key.startswith(folder) and key.endswith(".jsonl.out"):
                for line in content.splitlines():
                    try:
                        yield json.loads(line)
                    except ValueError:
                        continue

    def cost_of(self, job: dict[str, Any]) -> float:
        """US dollars that a job's answers cost; a line that is there twice is one answer, and paid for once."""
        answers = {
            line["recordId"]: line["modelOutput"] for line in self.output(job) if line.get("modelOutput")
        }
        usages = [answer["usage"] for answer in answers.values()]
        prices = zip(("input_tokens", "output_tokens"), self.prices, strict=True)
        return float(sum(usage[kind] * price for kind, price in prices for usage in usages))

    def accepted_launches(self, *, lost: bool = False) -> list[Line]:
        """The launches that took effect, in the order of their commits, also where no acknowledgement arrived.

        Args:
            lost: also those that a restored backup does not have.
        """
        commits = self.commits()
        found = [
            line
            for line in self.history
            if "launch" in line.facts
            and line.task in commits
            and (lost or not self.was_lost(commits[line.task].ended))
        ]
        return sorted(found, key=lambda line: commits[line.task].ended)

    def commits(self) -> dict[str, Line]:
        """The last commit of each task that took effect; of a task that nothing stopped, its end."""
        found: dict[str, Line] = {}
        for line in self.history:
            if line.what == "COMMIT" and line.how in ("ok", "answer lost"):
                found[line.task] = line
            elif line.what.startswith("ends to ") and line.how == "ok":
                found.setdefault(line.task, line)
        return found


def answer_to(prompt: str) -> str:
    """The emulated model's answer to a prompt: its hash and its last words."""
    return f"Summary {hashlib.sha256(prompt.encode()).hexdigest()[:8]}: {' '.join(prompt.split()[-12:])}"


def prompt_of(body: dict[str, Any]) -> str:
    """The prompt in a request's body."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "\n".join(block.get("text", "") for block in content)
