"""What orchestration costs beside the work itself, through the real daemon. Run by `make bench-orchestration`.

What belongs here: measuring; what is promised of runs and sensors stands in the tests. This module is also the code
location that is measured.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psutil
import psycopg

from bedrock_pipeline.carry_out import carry_out
from bedrock_pipeline.cli.services import Running, running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.due_work import due_work
from bedrock_pipeline.local.postgres import dagster_runs
from bedrock_pipeline.orchestration import build_definitions
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs

RECORDS, SLOTS, REST_S, PATIENCE_S = 200, 20, 60.0, 3_600.0
#: The processes whose time is orchestration's, with the runs that they start; the others are the work's.
_DAGSTER: Final = ("daemon", "code", "webserver")
#: Dagster's names for the states of runs that have not ended.
_UNENDED: Final = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
_PIPELINE: Final = Pipeline(
    name="bench",
    model_id="anthropic.claude-3-haiku-20240307-v1:0",
    prompt="{{ text }}",
    limits=Limits(max_records=RECORDS, max_jobs=SLOTS),
)
defs: dg.Definitions = build_definitions([_PIPELINE])


def main() -> None:
    """Print the figures as one JSON object; seconds, and seconds of a core."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument(
        "--rest", type=float, default=REST_S, help="seconds for which Dagster is measured at rest"
    )
    parser.add_argument("--only-rest", action="store_true", help="measure Dagster at rest alone")
    chunks, rest, only_rest = vars(parser.parse_args()).values()
    figures: dict[str, Any] = {"cores": os.cpu_count(), "at_rest": _with_and_without(rest)}
    if not only_rest:
        figures |= _at_work(chunks)
    print(json.dumps(figures))  # noqa: T201  # the result


def _with_and_without(seconds: float) -> dict[str, dict[str, float]]:
    """The share of a core that each process takes with nothing to do, polled as often as `dev` does."""
    shares = {}
    for name in ("orchestration", "nothing"):
        with (
            tempfile.TemporaryDirectory() as folder,
            running(Path(folder) / "home", module=f"benchmarks.{name}", speed=1000, poll_seconds=5),
        ):
            shares[name] = _at_rest(Path(folder) / "home", seconds)
    return shares


def _at_work(chunks: int) -> dict[str, Any]:
    """What a dataset of this many chunks takes, through the daemon and without it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        rows = (json.dumps({"text": f"model_request {n}"}) + "\n" for n in range(chunks * RECORDS))
        path.write_text("".join(rows))
        home = Path(folder) / "home"
        with (
            running(home, module="benchmarks.orchestration", speed=1000, poll_seconds=1) as services,
            open_deployment(services.settings) as deployment,
        ):
            through = _through_dagster(services, deployment, home, path, chunks)
            itself = _directly(deployment, path)
    beside = (through["dagster_s"] - itself) / chunks
    return {
        "chunks": chunks,
        "slots": SLOTS,
        **through,
        "work_itself_s": round(itself, 1),
        "a_chunk_s": round(beside, 2),
    }


def _at_rest(home: Path, seconds: float) -> dict[str, float]:
    """The share of a core that each process takes."""
    time.sleep(10)  # until what the start left is done
    before, began = _used(home), time.monotonic()
    time.sleep(seconds)
    after, took = _used(home), time.monotonic() - began
    return {name: round((after[name] - before[name]) / took, 3) for name in _DAGSTER}


def _through_dagster(
    services: Running, deployment: Deployment, home: Path, path: Path, chunks: int
) -> dict[str, Any]:
    before, began, memory = _used(home), time.monotonic(), _Memory(home)
    deployment.ledger.datasets.request(_PIPELINE.name, "d", {"source": str(path)}, launch=True)
    _until(lambda: memory.seen() and _published(deployment))
    took = time.monotonic() - began
    _until(lambda: not dagster_runs(services.endpoints, _UNENDED))
    used = {name: seconds - before[name] for name, seconds in _used(home).items()}
    row = deployment.ledger.datasets.ensure(_PIPELINE.name, "d")
    assert len(deployment.ledger.chunks.of_dataset(_PIPELINE.name, "d", row.version)) == chunks
    return {
        "published_after_s": round(took, 1),
        "dagster_s": round(sum(used[name] for name in _DAGSTER), 1),
        "used_s": {name: round(seconds, 1) for name, seconds in used.items()},
        **_runs_and_ticks(services),
        "memory_mb": memory.quarters(),
    }


class _Memory:
    """What the daemon and the code server have in memory while a dataset is processed."""

    def __init__(self, home: Path) -> None:
        self._processes = {name: _process(home, name) for name in ("daemon", "code")}
        self._seen: dict[str, list[int]] = {name: [] for name in self._processes}

    def seen(self) -> bool:
        """Look once more."""
        for name, process in self._processes.items():
            self._seen[name].append(process.memory_info().rss // 1_000_000)
        return True

    def quarters(self) -> dict[str, list[int]]:
        """The most MB in each quarter of the looks."""
        return {
            name: [max(seen[len(seen) * n // 4 : len(seen) * (n + 1) // 4], default=0) for n in range(4)]
            for name, seen in self._seen.items()
        }


def _runs_and_ticks(services: Running) -> dict[str, int]:
    """How many there were, by Dagster's storage."""
    with psycopg.connect(services.endpoints.dsn(services.endpoints.dagster_database)) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM job_ticks)"
        ).fetchone()
    assert row is not None
    return {"runs": row[0], "ticks": row[1]}


def _directly(deployment: Deployment, path: Path) -> float:
    """The time of this process for the same work without Dagster, over a pipeline of another name."""
    pipeline = _PIPELINE.model_copy(update={"name": "direct", "source": str(path)})
    began = time.process_time()
    take_snapshot(deployment, pipeline, "d")
    pack_dataset(deployment, pipeline, "d")
    while deployment.ledger.datasets.ensure("direct", "d").state != "published":
        poll_jobs(deployment)
        for item in due_work(deployment.ledger, [pipeline], limit=SLOTS):
            carry_out(deployment, pipeline, item)
    return time.process_time() - began


def _published(deployment: Deployment) -> bool:
    row = deployment.ledger.datasets.get(_PIPELINE.name, "d")
    return bool(row and row.published_at)


def _used(home: Path) -> dict[str, float]:
    """Seconds of a core that each process has used, with its children that ended and those that live."""
    return {name: _seconds(_process(home, name)) for name in (*_DAGSTER, "postgres", "s3", "emulator")}


def _process(home: Path, name: str) -> psutil.Process:
    return psutil.Process(int((home / "run" / f"{name}.pid").read_text().split()[0]))


def _seconds(process: psutil.Process) -> float:
    try:
        children = sum(map(_seconds, process.children()))
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it has ended meanwhile, and is counted with its parent
        return 0.0
    ended = times.children_user + times.children_system
    return float(times.user + times.system + ended) + children


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not done within {PATIENCE_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
