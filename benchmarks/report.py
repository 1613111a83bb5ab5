"""The figures of `throughput.py` as a table: medians, and ratios to the cheaper peer."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import psutil

OURS = "bedrock-pipeline"
REPORT = Path(__file__).parent.parent / "reports" / "benchmarks.md"
_HEAD = [
    "| path | records | threads | who | runs | CPU s | times the cheaper peer | wall s | fastest to slowest | peak MB |",
    "|---|---|---|---|---|---|---|---|---|---|",
]


@dataclass(frozen=True, slots=True)
class Run:
    """One measured process.

    Attributes:
        seconds: of the work, without starting Python.
        cpu_seconds: of all its threads and children, starting Python included.
        peak_mb: peak resident megabytes, as the system counts them.
        report: what the process printed.
    """

    workload: str
    task: str
    who: str
    records: int
    threads: int
    seconds: float
    cpu_seconds: float
    peak_mb: int
    report: dict[str, Any]

    @classmethod
    def of(
        cls, workload: str, task: str, who: str, records: int, threads: int, used: Any, report: dict[str, Any]
    ) -> Self:
        """From what the system counted and the process printed."""
        cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6
        seconds = round(report["seconds"], 2)
        return cls(workload, task, who, records, threads, seconds, round(cpu, 2), round(peak), report)

    @property
    def row(self) -> tuple[str, str, int, int]:
        """What is compared with each other."""
        return self.workload, self.task, self.records, self.threads


def write_report(runs: Sequence[Run], notes: Sequence[str]) -> None:
    """Print the table, and write it with every run to `reports/`."""
    table = "\n".join(_table(runs, notes))
    print(table)  # noqa: T201  # the result
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table + "\n")
    found = {**_machine(), "notes": list(notes), "runs": [asdict(run) for run in runs]}
    REPORT.with_suffix(".json").write_text(json.dumps(found, indent=1))


def _table(runs: Sequence[Run], notes: Sequence[str]) -> Iterator[str]:
    yield f"`{' '.join(['python', *sys.argv])}`: {', '.join(f'{name} {value}' for name, value in _machine().items())}"
    yield ""
    yield from _HEAD
    for row in dict.fromkeys(run.row for run in runs):
        own = [run for run in runs if run.row == row]
        peers = [_cpu(own, who) for who in dict.fromkeys(run.who for run in own) if who != OURS]
        for who in dict.fromkeys(run.who for run in own):
            yield _line(own, who, min(peers, default=None))
    yield ""
    yield from notes


def _line(own: Sequence[Run], who: str, cheaper: float | None) -> str:
    runs = [run for run in own if run.who == who]
    workload, task, records, threads = runs[0].row
    cpu, seconds = _cpu(own, who), [run.seconds for run in runs]
    cells = [
        f"{task}, {workload}",
        f"{records:,}",
        str(threads),
        who,
        str(len(runs)),
        f"{cpu:.1f}",
        f"{cpu / cheaper:.2f}" if cheaper else "",
        f"{statistics.median(seconds):.1f}",
        f"{min(seconds):.1f} to {max(seconds):.1f}",
        str(max(run.peak_mb for run in runs)),
    ]
    return f"| {' | '.join(cells)} |"


def _cpu(runs: Sequence[Run], who: str) -> float:
    return statistics.median(run.cpu_seconds for run in runs if run.who == who)


def _machine() -> dict[str, object]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": next(_processor(), platform.machine()),
        "cores": os.cpu_count(),
        "memory GB": round(psutil.virtual_memory().total / 1e9),
        "load at the end": round(os.getloadavg()[0], 1),
        "Python": platform.python_version(),
        "DuckDB": version("duckdb"),
        "Polars": version("polars"),
    }


def _processor() -> Iterator[str]:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()
