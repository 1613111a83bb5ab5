"""The path that users take, from rows to chunks in S3 and from outputs in S3 to published parquet, beside DuckDB and Polars.

What belongs here: running each in a process of its own, in turn, over one embedded stack. The data is in `data.py`, the
measured processes are `ours.py` and `peers.py`, the table is in `report.py`. Run by `make bench`.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data import write_input, write_outputs
from report import OURS, Run, write_report

from bedrock_pipeline.local import environment
from bedrock_pipeline.local.stack import Stack, StackConfig

_HERE = Path(__file__).parent
_PEERS = ("duckdb", "polars")
_THREADS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class Workload:
    """A table of inputs and what its jobs respond.

    Attributes:
        records: number of rows.
        kind: of the responses; None: it is only prepared.
        duplicates: whether some rows repeat a request, and some are rejected.
        who: who is measured.
        rounds: runs of each.
        measures_prepare: whether preparing is measured, or only done.
    """

    name: str
    records: int
    kind: str | None
    who: tuple[str, ...]
    rounds: int
    duplicates: bool = False
    measures_prepare: bool = True


@dataclass(slots=True)
class Bench:
    """Runs over one stack.

    Attributes:
        folder: for data.
        stack: the embedded stack.
        pause: seconds before each measured process.
        runs: what was measured.
    """

    folder: Path
    stack: Stack
    pause: float
    runs: list[Run] = field(default_factory=list)
    _datasets: Iterator[int] = field(default_factory=itertools.count)

    def measure(self, workload: Workload, threads: int) -> None:
        """All runs of a workload; whoever is first in one round is last in the next."""
        source, outputs = self._written(workload)
        for turn in range(workload.rounds):
            first = turn % len(workload.who)
            order = [*workload.who[first:], *workload.who[:first]]
            dataset = f"d{next(self._datasets)}"
            ours = [workload.kind or "text", dataset, str(source)]
            self._prepare(workload, order, ours, threads)
            if outputs is not None:
                self._start(["ours.py", "end", *ours], threads, {"OUTPUTS": str(outputs)})
                self._collect(workload, order, ours, outputs, threads)
            for stored in (Path(self.stack.endpoints.s3_root) / self.stack.endpoints.bucket).iterdir():
                shutil.rmtree(stored)
        source.unlink()
        if outputs is not None:
            shutil.rmtree(outputs)

    def _prepare(self, workload: Workload, order: Sequence[str], ours: list[str], threads: int) -> None:
        for who in order:
            if not workload.measures_prepare:
                if who == OURS:
                    self._start(["ours.py", "prepare", *ours], threads)
            elif who == OURS:
                self._run(workload, "prepare", who, ["ours.py", "prepare", *ours], threads)
            else:
                self._peer(workload, "prepare", who, ["prepare", ours[-1]], threads)

    def _collect(
        self, workload: Workload, order: Sequence[str], ours: list[str], outputs: Path, threads: int
    ) -> None:
        for who in order:
            if who == OURS:
                self._run(workload, "collect and publish", who, ["ours.py", "collect", *ours], threads)
            else:
                self._peer(workload, "collect and publish", who, [ours[0], str(outputs)], threads)

    def _peer(self, workload: Workload, task: str, who: str, arguments: list[str], threads: int) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            self._run(workload, task, who, ["peers.py", who, *arguments, out], threads)

    def _run(self, workload: Workload, task: str, who: str, command: list[str], threads: int) -> None:
        time.sleep(self.pause)
        used, report = self._start(command, threads)
        self.runs.append(Run.of(workload.name, task, who, workload.records, threads, used, report))
        print(self.runs[-1], file=sys.stderr, flush=True)  # noqa: T201  # progress

    def _start(
        self, command: Sequence[str], threads: int, more: Mapping[str, str] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Run a process on as many cores, to its end; what the system counted, and what it printed."""
        script, *arguments = command
        own = {"POLARS_MAX_THREADS": str(threads), "TMPDIR": str(self.folder)}
        process = subprocess.Popen(
            [sys.executable, str(_HERE / script), *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, **environment(self.stack.endpoints), **own, **(more or {})},
        )
        os.sched_setaffinity(process.pid, _cores()[:threads])
        assert process.stdout is not None
        output = process.stdout.read()
        # The system counts by itself; looking at /proc again and again would take a part of a core.
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
        return used, json.loads(output.splitlines()[-1])

    def _written(self, workload: Workload) -> tuple[Path, Path | None]:
        """Data from a process of its own: what this one holds, the system counts to the peak of those that it starts."""
        source, outputs = self.folder / "input.parquet", self.folder / "outputs"
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(write_input, (source, workload.records), {"duplicates": workload.duplicates})
            if workload.kind is None:
                return source, None
            pool.apply(write_outputs, (source, outputs, workload.kind))
        return source, outputs


def main() -> None:
    """Measure, and write the table."""
    options = _options()
    cores = len(_cores())
    missing = [threads for threads in _THREADS if threads > cores]
    notes = [f"SKIPPED: {', '.join(map(str, missing))} threads: this machine has {cores} cores."]
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder,
        Stack(StackConfig(Path(folder) / "home")) as stack,
    ):
        bench = Bench(Path(folder), stack, options.pause)
        try:
            for threads in (threads for threads in _THREADS if threads <= max(cores, 2)):
                for workload in _workloads(options, first=threads == _THREADS[0]):
                    bench.measure(workload, threads)
        finally:  # what was measured before an interruption was measured
            write_report(bench.runs, notes if missing else [])


def _workloads(options: argparse.Namespace, *, first: bool) -> Iterator[Workload]:
    """All of them, and other numbers of threads for the first alone."""
    who = (OURS, *_PEERS)
    records, rounds = options.records, options.rounds
    every = [
        Workload("text", records, "text", who, rounds),
        Workload("duplicates", records, None, (OURS,), rounds, duplicates=True),
        Workload("structured", records // 20, "structured", who, rounds, measures_prepare=False),
        Workload("embeddings", records // 20, "embeddings", who, rounds, measures_prepare=False),
        *(Workload("text", number, None, (OURS,), 1) for number in options.alone),
    ]
    for workload in every if first else every[:1]:
        if not options.only or workload.name in options.only:
            yield workload


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--records",
        type=int,
        default=1_000_000,
        help="a twentieth of it for structured responses and vectors",
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument(
        "--alone",
        type=int,
        nargs="*",
        default=[10_000_000],
        help="further numbers of rows, prepared by this package alone",
    )
    parser.add_argument(
        "--only",
        nargs="*",
        default=[],
        help="workloads: text, duplicates, structured, embeddings; all without it",
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


if __name__ == "__main__":
    main()
