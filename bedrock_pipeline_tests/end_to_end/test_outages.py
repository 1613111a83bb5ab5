"""Postgres, S3 and Bedrock are away for a while under the real daemon, one after the other."""

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from bedrock_pipeline.cli.services import Running, running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline_tests.end_to_end.webserver import runs
from bedrock_pipeline_tests.waiting import until

_PIPELINE = "own_files"
#: Parts of the stack that must neither end nor be started again.
_LIVING = ("code", "daemon", "webserver")
#: A line of our warnings: time, level, sensor and message. A failed run has its own lines, at most one run a minute.
_WARNING = re.compile(r"(WARNING|ERROR)\S* - (?:__repository__ - )?(?P<what>\w+ - .*|.*)")
_OF_RUNS = ("STEP_FAILURE", "RUN_FAILURE", "STEP_UP_FOR_RETRY")


@pytest.mark.end_to_end
@pytest.mark.timeout(3600)
@pytest.mark.faults  # ten minutes, of which the outages are the smaller part
@pytest.mark.parametrize("seconds", [30, 300])
def test_an_outage_is_a_line_a_minute_and_nothing_is_stuck(tmp_path: Path, seconds: int) -> None:
    home = tmp_path / "home"
    with (
        running(home, module="bedrock_pipeline.definitions", speed=500, poll_seconds=1) as services,
        open_deployment(services.settings) as deployment,
        ExitStack() as restarted,
    ):
        living = [_process(home, name) for name in _LIVING]
        for name, away in _AWAY.items():
            _launch(deployment, tmp_path, name)
            logs = _Logs(home)
            with away(services, restarted):
                time.sleep(seconds)
                lines, failed = logs.warnings()
            minutes = seconds // 60 + 1
            assert not lines or max(lines.values()) <= minutes, (name, lines)
            assert failed <= 4 * minutes, (name, "runs failed again and again")
            until(lambda name=name: _published(deployment, name), f"{name} is published")  # type: ignore[misc]
        until(lambda: {"STARTED", "STARTING", "QUEUED"}.isdisjoint(runs(services.url)), "no run is stuck")
        assert all(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in living)


class _Logs:
    """What the daemon and the code server log from now on."""

    def __init__(self, home: Path) -> None:
        self._paths = [home / "logs" / f"{name}.log" for name in ("code", "daemon")]
        self._begin = {path: path.stat().st_size for path in self._paths}

    def warnings(self) -> tuple[Counter[str], int]:
        """Each warning of ours without its varying parts, and how often it came; and the number of failed runs."""
        lines: Counter[str] = Counter()
        failed = 0
        for path in self._paths:
            for line in path.read_bytes()[self._begin[path] :].decode(errors="replace").splitlines():
                failed += "RUN_FAILURE" in line
                if (found := _WARNING.search(line)) and not any(event in line for event in _OF_RUNS):
                    lines[found["what"].partition(": ")[0]] += 1
        return lines, failed


def _launch(deployment: Deployment, folder: Path, dataset: str) -> None:
    """A dataset, until it is in the middle of its work."""
    path = folder / f"{dataset}.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"r{n}", "text": f"{dataset} {n}"}) + "\n" for n in range(1100))
    )
    request = {"source": str(path), "prompt": "{{ text }}", "record_id": "id", "carry": []}
    deployment.ledger.datasets.request(_PIPELINE, dataset, request, launch=True)
    until(
        lambda: any(chunk.job_arn for chunk in deployment.ledger.chunks.of_dataset(_PIPELINE, dataset, 1)),
        f"{dataset} has a job",
    )


def _published(deployment: Deployment, dataset: str) -> bool:
    row = deployment.ledger.datasets.get(_PIPELINE, dataset)
    return bool(row and row.results_uri)


_Away = Callable[[Running, ExitStack], AbstractContextManager[None]]


@contextmanager
def _without_the_ledger(services: Running, _: ExitStack) -> Iterator[None]:
    """Its database accepts no connection; Dagster's own storage, in another database, stays."""
    with psycopg.connect(services.endpoints.dsn("postgres"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE bedrock_pipeline ALLOW_CONNECTIONS false")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'bedrock_pipeline'"
        )
        yield
        connection.execute("ALTER DATABASE bedrock_pipeline ALLOW_CONNECTIONS true")


def _without(name: str) -> _Away:
    @contextmanager
    def stopped(services: Running, restarted: ExitStack) -> Iterator[None]:
        """The server ends, and is started again as it was."""
        process = _process(services.endpoints.home, name)
        command, environment = process.cmdline(), process.environ()
        process.terminate()
        yield
        again = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        restarted.callback(again.wait)
        restarted.callback(again.terminate)

    return stopped


_AWAY: dict[str, _Away] = {
    "postgres": _without_the_ledger,
    "s3": _without("s3"),
    "bedrock": _without("emulator"),
}


def _process(home: Path, name: str) -> psutil.Process:
    return psutil.Process(int((home / "run" / f"{name}.pid").read_text().split()[0]))
