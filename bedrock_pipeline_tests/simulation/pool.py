"""Processes that simulate seeds beside each other, each over a database of its own.

What belongs here: the embedded Postgres, the processes, and what comes back from them.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import conninfo, sql

from bedrock_pipeline.ledger.migrations import migrate
from bedrock_pipeline.local.endpoints import loopback_dsn
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline_tests.simulation.scenario import drawn
from bedrock_pipeline_tests.simulation.shrink import shrunk
from bedrock_pipeline_tests.simulation.simulate import simulate
from bedrock_pipeline_tests.simulation.story import story_of
from bedrock_pipeline_tests.simulation.world import Machine

_DATABASE = "simulated_{}"


@dataclass(frozen=True)
class Report:
    """The outcome of one seed.

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
            _trust_everybody(home, found[0])
            found = [conninfo.make_conninfo(dsn, require_auth="none") for dsn in found]
            with psycopg.connect(
                conninfo.make_conninfo(found[0], dbname="postgres"), autocommit=True
            ) as all_of_them:
                for name in names[1:]:
                    all_of_them.execute(
                        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                            sql.Identifier(name), sql.Identifier(names[0])
                        )
                    )
            yield found
        finally:
            child.end()


def _trust_everybody(home: Path, dsn: str) -> None:
    """A password costs more than the rest of a connection; this server listens on the loopback alone, for minutes."""
    (home / "postgres" / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")


_machine: Machine | None = None


def _open(dsns: "multiprocessing.Queue[str]") -> None:
    """A machine of this process's own."""
    global _machine  # one for each process of the pool
    _machine = Machine(dsns.get())


def run(seed: int, steps: int) -> Report:
    """Simulate a seed."""
    assert _machine is not None  # made by `_open`
    result = simulate(_machine, drawn(seed, steps))
    broken = [(one.promise, one.what) for one in result.violations]
    return Report(seed, result.steps, len(result.evidence.jobs), result.counts, broken)


def story(seed: int, steps: int, runs: int) -> str:
    """Simulate a seed that fails and shrink it within this number of runs; its story."""
    assert _machine is not None  # made by `_open`
    result = simulate(_machine, drawn(seed, steps))
    return "\n".join(story_of(shrunk(_machine, result, most_runs=runs) if runs else result))


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """Processes for `run` and `story`."""
    with postgres(processes) as dsns:
        context = multiprocessing.get_context("spawn")
        places = context.Queue()
        for dsn in dsns:
            places.put(dsn)
        with ProcessPoolExecutor(processes, context, _open, (places,)) as pool:
            yield pool
