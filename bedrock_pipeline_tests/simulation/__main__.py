"""Run many seeds: `make simulate SEEDS=300 STEPS=200`.

What belongs here: the embedded Postgres, the processes that share the seeds, and the report. It ends with 1 where a
seed fails, after the seed was shrunk and told as a story.
"""

import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg
from psycopg import sql

from bedrock_pipeline.ledger.migrations import migrate
from bedrock_pipeline.local.endpoints import loopback_dsn
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline_tests.simulation.scenario import drawn
from bedrock_pipeline_tests.simulation.shrink import shrunk
from bedrock_pipeline_tests.simulation.simulate import simulate
from bedrock_pipeline_tests.simulation.story import told
from bedrock_pipeline_tests.simulation.world import Machine

_DATABASE = "simulated_{}"


@dataclass(frozen=True)
class Report:
    """What became of one seed.

    Attributes:
        broken: promises, each with what happened.
    """

    seed: int
    steps: int
    jobs: int
    counts: dict[str, int]
    broken: list[tuple[str, str]]


@contextmanager
def postgres(databases: int) -> Iterator[list[str]]:
    """An embedded Postgres for the length of the block; the connection strings of databases with an empty ledger."""
    names = tuple(_DATABASE.format(number) for number in range(databases))
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        home, port = Path(folder), free_port()
        home.chmod(0o711)
        child = start_postgres(home, port, "simulated", "simulated", names[:1])
        try:
            found = [loopback_dsn(port, "simulated", "simulated", name) for name in names]
            migrate(found[0])
            with psycopg.connect(
                loopback_dsn(port, "simulated", "simulated", "postgres"), autocommit=True
            ) as connection:
                for name in names[1:]:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                            sql.Identifier(name), sql.Identifier(names[0])
                        )
                    )
            yield found
        finally:
            child.end()


_machine: Machine | None = None


def _open(dsns: "multiprocessing.Queue[str]") -> None:
    """A machine of this process's own."""
    global _machine  # one for each process of the pool
    _machine = Machine(dsns.get())


def _run(seed: int, steps: int) -> Report:
    assert _machine is not None  # made by `_open`
    result = simulate(_machine, drawn(seed, steps))
    broken = [(one.promise, one.what) for one in result.violations]
    return Report(seed, result.steps, len(result.evidence.jobs), result.counts, broken)


def _story(seed: int, steps: int, runs: int) -> str:
    assert _machine is not None  # made by `_open`
    result = simulate(_machine, drawn(seed, steps))
    return "\n".join(told(shrunk(_machine, result, most_runs=runs) if runs else result))


@click.command()
@click.option("--seeds", default=300, show_default=True, help="Number of seeds.")
@click.option("--steps", default=200, show_default=True, help="Choices of each seed before its end.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--processes", default=2, show_default=True, help="Seeds at once.")
@click.option(
    "--shrink", default=150, show_default=True, help="Runs for shrinking the first failure; 0: none."
)
@click.option("--stop/--go-on", default=False, help="Whether to end with the first failure.")
def main(*, seeds: int, steps: int, first: int, processes: int, shrink: int, stop: bool) -> None:
    """Simulate the whole life of datasets and queues, one seed after the other, and judge each."""
    with postgres(processes) as dsns:
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        for dsn in dsns:
            places.put(dsn)
        with ProcessPoolExecutor(processes, context, _open, (places,)) as pool:
            began = time.monotonic()
            reports = list(_reports(pool, range(first, first + seeds), steps, stop=stop))
            took = time.monotonic() - began
            failed = sorted((one for one in reports if one.broken), key=lambda one: one.seed)
            click.echo(_summary(reports, took))
            for one in failed:
                click.echo(
                    f"seed {one.seed}: " + "; ".join(f"{promise}: {what}" for promise, what in one.broken)
                )
            if failed:
                click.echo(pool.submit(_story, failed[0].seed, steps, shrink).result())
    sys.exit(1 if failed else 0)


def _reports(pool: ProcessPoolExecutor, seeds: range, steps: int, *, stop: bool) -> Iterator[Report]:
    running = [pool.submit(_run, seed, steps) for seed in seeds]
    for future in as_completed(running):
        report = future.result()
        yield report
        if report.broken and stop:
            for one in running:
                one.cancel()
            return


def _summary(reports: list[Report], took: float) -> str:
    counts: Counter[str] = Counter()
    for one in reports:
        counts.update(one.counts)
    steps, jobs = sum(one.steps for one in reports), sum(one.jobs for one in reports)
    failed = sum(bool(one.broken) for one in reports)
    shown = ", ".join(f"{count} {name}" for name, count in counts.items())
    return (
        f"{len(reports)} seeds, {failed} of them failed; {steps} steps, {jobs} jobs, {shown}; "
        f"{took:.0f} s: {len(reports) / took:.2f} seeds/s, {steps / took:.0f} steps/s"
    )


if __name__ == "__main__":
    main()
