"""Dagster: versions that fit together, a daemon that is alive, sensors that are on, a queue of runs.

What belongs here: judging what `orchestration/instance_facts.py` has read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bedrock_pipeline.doctor.finding import Finding, fail, ok, warn

#: Without these no run is requested or started.
_NEEDED: Final = ("SENSOR", "QUEUED_RUN_COORDINATOR")
#: The sensors that request every run.
SENSORS: Final = ("poll_jobs", "reconcile_jobs")


@dataclass(frozen=True)
class DagsterFacts:
    """What was read of Dagster and its instance.

    Attributes:
        versions: of the installed packages of Dagster, by name.
        storage: the class of the storage of runs.
        daemons: seconds since the last heartbeat of each daemon that the instance needs; None: never.
        errors: the daemons whose last heartbeat has an error.
        tolerance_s: after how many seconds Dagster counts a daemon as dead.
        stopped_sensors: the sensors that were turned off in the UI.
        queued: whether runs wait in a queue.
        max_runs: how many runs may go at once; None: no limit.
        monitored: whether runs whose process has died are noticed.
    """

    versions: Mapping[str, str]
    storage: str
    daemons: Mapping[str, float | None]
    errors: frozenset[str]
    tolerance_s: float
    stopped_sensors: frozenset[str]
    queued: bool
    max_runs: int | None
    monitored: bool


def judge_dagster(facts: DagsterFacts) -> list[Finding]:
    """What the facts mean."""
    return [*_versions(facts.versions), *_daemons(facts), *_sensors(facts), *_runs(facts), *_storage(facts)]


def _versions(versions: Mapping[str, str]) -> Iterator[Finding]:
    core = versions["dagster"]
    wanted = {name: _fitting(name, core) for name in versions}
    if wrong := {name: version for name, version in versions.items() if version != wanted[name]}:
        shown = ", ".join(f"{name} {version}" for name, version in sorted(wrong.items()))
        pins = " ".join(f"'{name}=={wanted[name]}'" for name in sorted(wrong))
        yield fail(
            "dagster versions",
            f"dagster is {core}, and beside it is {shown}.",
            "Packages of Dagster of different releases do not work together.",
            f"pip install {pins}",
        )
    else:
        yield ok("dagster versions", f"dagster {core}, and its packages fit it.")


def _fitting(name: str, core: str) -> str:
    """The version of a package that was released with one of Dagster: integrations are numbered 0.(16 + minor)."""
    major, minor, patch = core.split(".")[:3]
    integrations = ("dagster-aws", "dagster-postgres")
    return f"0.{int(minor) + 16}.{patch}" if name in integrations and major == "1" else core


def _daemons(facts: DagsterFacts) -> Iterator[Finding]:
    needed = {name: age for name, age in facts.daemons.items() if name in _NEEDED}
    dead = sorted(name for name, age in needed.items() if age is None or age > facts.tolerance_s)
    if dead:
        ages = [age for name in dead if (age := needed[name]) is not None]
        since = f"since {min(ages) / 60:.0f} minutes" if ages else "at all"
        yield fail(
            "dagster daemon",
            f"No heartbeat {since} of {', '.join(dead)}.",
            "No job is polled, and no run is requested or started.",
            "dagster-daemon run",
        )
    else:
        yield ok("dagster daemon", f"{', '.join(sorted(needed)) or 'No daemon'} had a heartbeat just now.")
    if failing := sorted(facts.errors & needed.keys()):
        yield warn(
            "dagster daemon errors",
            f"The last heartbeat of {', '.join(failing)} has an error.",
            "Some ticks fail: a code location may not be loaded.",
            "See Deployment, Daemons in Dagster's UI.",
        )


def _sensors(facts: DagsterFacts) -> Iterator[Finding]:
    if off := sorted(name for name in facts.stopped_sensors if name.endswith(SENSORS)):
        yield fail(
            "dagster sensors",
            f"{', '.join(off)} {'is' if len(off) == 1 else 'are'} off.",
            "Jobs are not polled, and nothing that is due is requested.",
            f"dagster sensor start {off[0]}",
        )
    else:
        yield ok("dagster sensors", f"Neither {' nor '.join(SENSORS)} was turned off.")


def _runs(facts: DagsterFacts) -> Iterator[Finding]:
    if not facts.queued:
        yield warn(
            "dagster run queue",
            "Runs are started at once, without a queue.",
            "A large dataset can start more runs than the machine holds.",
            "Take run_coordinator and concurrency from deploy/dagster.yaml.",
        )
    elif facts.max_runs is None or facts.max_runs < 0:
        yield warn(
            "dagster run queue",
            "The queue of runs has no limit.",
            "A large dataset can start more runs than the machine holds.",
            "Set concurrency.runs.max_concurrent_runs, as in deploy/dagster.yaml.",
        )
    else:
        yield ok("dagster run queue", f"Runs are queued; {facts.max_runs} may go at once.")
    if not facts.monitored:
        yield warn(
            "dagster run monitoring",
            "Runs are not monitored.",
            "A run whose process has died keeps its place in the queue for ever.",
            "Set run_monitoring.enabled, as in deploy/dagster.yaml.",
        )


def _storage(facts: DagsterFacts) -> Iterator[Finding]:
    if "Sqlite" in facts.storage:
        yield warn(
            "dagster storage",
            "Dagster keeps its runs in SQLite.",
            "Several processes that write to it wait for each other, and it stays on one machine.",
            "Use Postgres, as in deploy/dagster.yaml.",
        )
    else:
        yield ok("dagster storage", f"Dagster keeps its runs in {facts.storage}.")
