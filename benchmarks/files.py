"""Packing and parsing compared with DuckDB and Polars, in turn, in one run. Run by `make bench`.

What belongs here: measuring the commands `pack` and `parse`, which run the code of datasets, and the report. The data is
in `data.py`, the peers are in `peers.py`.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from data import write_data

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
OURS = "bedrock-pipeline"
REPORT = Path(__file__).parent.parent / "reports" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run.

    Attributes:
        seconds: of the work, without starting Python.
        peak_mb: peak resident megabytes, as the system counts them.
        cpu_seconds: of all its threads, starting Python included.
    """

    task: str
    who: str
    records: int
    seconds: float
    peak_mb: float
    cpu_seconds: float


def main() -> None:
    """Measure, print and write the table."""
    options = _options()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        for number, records in enumerate([options.records, *options.alone]):
            source, outputs = _written(Path(folder), records)
            peers = ["duckdb", "polars"] if number == 0 else []
            rounds = options.rounds if number == 0 else 1
            orders = list(itertools.permutations((OURS, *peers)))
            for turn in range(rounds):
                for task, given in (("pack", source), ("parse", outputs)):
                    for who in orders[turn % len(orders)]:
                        time.sleep(options.pause)
                        runs.append(_run(task, who, given, Path(folder) / "out", records))
                        print(runs[-1], file=sys.stderr, flush=True)  # noqa: T201  # progress
            source.unlink()
            shutil.rmtree(outputs)
    table = _table(runs)
    print(table)  # noqa: T201  # the result
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table + "\n")
    REPORT.with_suffix(".json").write_text(
        json.dumps({**_machine(), "runs": [asdict(run) for run in runs]}, indent=1)
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="records of the comparison")
    parser.add_argument("--rounds", type=int, default=6, help="runs of each; with 6 in every order")
    parser.add_argument(
        "--alone", type=int, nargs="*", default=[5_000_000], help="further numbers of records, ours alone"
    )
    parser.add_argument(
        "--pause",
        type=float,
        default=5,
        help="seconds before each run: a virtual machine returns memory to its host within two, and a process that starts "
        "earlier gets the memory of the one before it cheaper",
    )
    parser.add_argument(
        "--folder", default=None, help="folder for the data; the system's for temporary files"
    )
    return parser.parse_args()


def _written(folder: Path, records: int) -> tuple[Path, Path]:
    """Data from a process of its own: what this one holds, the system counts to the peak of those that it starts."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(write_data, (folder, records))


def _run(task: str, who: str, source: Path, out: Path, records: int) -> Run:
    command = _command(task, who, source, out)
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read()
    # The system counts by itself; looking at /proc again and again would take a part of a core. None has children.
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    report = json.loads(output.splitlines()[-1])
    for file in (out, out.with_suffix(".parquet")):
        shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    peak_mb, cpu_seconds = used.ru_maxrss * 1024 / 1e6, used.ru_utime + used.ru_stime
    return Run(task, who, records, round(report["seconds"], 2), round(peak_mb), round(cpu_seconds, 1))


def _command(task: str, who: str, source: Path, out: Path) -> list[str]:
    if who != OURS:
        return [sys.executable, str(Path(__file__).parent / "peers.py"), who, task, str(source), str(out)]
    ours = [sys.executable, "-m", "bedrock_pipeline", task]
    if task == "parse":
        files = [str(file) for file in sorted(source.iterdir())]
        return [*ours, *files, "--model", MODEL, "--out", str(out.with_suffix(".parquet")), "--json"]
    wanted = ["--prompt", "{{ text }}", "--record-id", "id", "--model", MODEL]
    return [*ours, str(source), *wanted, "--out", str(out), "--json"]


def _table(runs: Sequence[Run]) -> str:
    """Medians, and ratios to ours."""
    machine = _machine()
    names = ("processor", "cores", "memory_gb", "python", "duckdb", "polars")
    lines = [
        ", ".join(f"{name} {machine[name]}" for name in names),
        "",
        "| task | records | who | median s | of the runs | times ours | CPU s | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, records, who in dict.fromkeys((run.task, run.records, run.who) for run in runs):
        own, ours = _of(runs, task, records, who), _of(runs, task, records, OURS)
        median = statistics.median(run.seconds for run in own)
        lines.append(
            f"| {task} | {records:,} | {who} | {median:.2f} | {', '.join(f'{run.seconds:.2f}' for run in own)} "
            f"| {median / statistics.median(run.seconds for run in ours):.2f} "
            f"| {statistics.median(run.cpu_seconds for run in own):.1f} | {max(run.peak_mb for run in own):.0f} |"
        )
    return "\n".join(lines)


def _of(runs: Sequence[Run], task: str, records: int, who: str) -> list[Run]:
    return [run for run in runs if (run.task, run.records, run.who) == (task, records, who)]


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "processor": next(_processor(), platform.machine()),
        "duckdb": version("duckdb"),
        "polars": version("polars"),
    }


def _processor() -> Iterator[str]:
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()


if __name__ == "__main__":
    main()
