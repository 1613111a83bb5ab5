"""What a seed stands for: the content, the limits, the processes and the faults of one simulation.

What belongs here: drawing a scenario, and making it smaller.
"""

import random
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bedrock_pipeline_tests.simulation.choices import Chances

#: Where a simulation begins, and which processes there are then.
_CASTS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    # nothing is there yet
    "nothing": (("user", "user", "daemon"), ("user", "preparer", "preparer"), ("user", "daemon", "operator")),
    # what was launched has no input, so that its preparation fails
    "absent": (
        ("starter", "user"),
        ("starter", "starter", "user"),
        ("starter", "hasty user"),
        ("starter", "user", "operator"),
        ("daemon", "user"),
    ),
    # there is a snapshot of a launch, and nothing is packed; it may be launched again at any moment
    "snapshotted": (
        ("preparer", "hasty user", "clicker"),
        ("preparer", "preparer", "clicker"),
        ("preparer", "preparer", "hasty user", "clicker"),
        ("preparer", "hasty user", "daemon"),
    ),
    # a dataset is packed
    "packed": (
        ("clicker", "clicker"),
        ("clicker", "clicker", "clicker"),
        ("clicker", "clicker", "operator"),
        ("clicker", "daemon", "daemon"),
        ("clicker", "user", "preparer"),
        ("clicker", "user", "daemon", "operator"),
    ),
    # every slot has a job
    "submitted": (
        ("clicker", "daemon", "operator"),
        ("clicker", "clicker", "user"),
        ("daemon", "daemon", "user"),
    ),
    # code that was removed since has jobs
    "removed": (("clicker", "daemon"), ("daemon", "daemon"), ("clicker", "daemon", "operator")),
    # it is not known whether a submission made a job; List can be believed now
    "in doubt": (
        ("reconciler", "clicker"),
        ("reconciler", "clicker", "clicker"),
        ("reconciler", "reconciler", "clicker"),
        ("reconciler", "user", "clicker"),
        ("reconciler", "operator", "clicker"),
    ),
    # the same, and there is no job
    "in doubt without a job": (
        ("reconciler", "hasty user"),
        ("reconciler", "user", "clicker"),
        ("reconciler", "reconciler", "operator"),
        ("daemon", "hasty user", "operator"),
    ),
    # a submission was rejected
    "rejected": (("operator", "user", "clicker"), ("operator", "clicker", "daemon")),
    # jobs have ended
    "ended": (("daemon", "daemon"), ("clicker", "clicker", "daemon"), ("daemon", "user", "operator")),
    # all jobs are collected, and records are to be sent again
    "retryable": (
        ("retrier", "retrier", "daemon"),
        ("retrier", "hasty user", "clicker"),
        ("retrier", "hasty user", "daemon"),
        ("retrier", "operator", "user"),
    ),
    # all is to be published
    "collected": (
        ("publisher", "publisher"),
        ("publisher", "publisher", "user"),
        ("publisher", "publisher", "daemon", "operator"),
    ),
    # a dataset that is too small for a job is packed, one of whose requests is invalid
    "packed for calls": (
        ("clicker", "clicker"),
        ("clicker", "daemon", "daemon"),
        ("daemon", "user", "operator"),
    ),
    # a queue in which nothing waits
    "empty queue": (
        ("program", "program", "worker"),
        ("program", "program", "program"),
        ("program", "flusher", "daemon"),
        ("program", "worker", "operator"),
        ("program", "user", "daemon"),
    ),
    # tasks wait in a queue
    "tasks wait": (
        ("flusher", "flusher", "program"),
        ("flusher", "flusher", "flusher"),
        ("flusher", "daemon", "program", "operator"),
    ),
    # the tasks of a queue are in jobs
    "flushed": (
        ("worker", "worker", "program"),
        ("worker", "daemon", "operator"),
        ("daemon", "daemon", "program"),
    ),
    # tasks of collected jobs are to be sent again
    "tasks to retry": (("worker", "worker", "operator"), ("daemon", "program", "worker")),
}
STARTS: Final = tuple(_CASTS)
_QUEUES: Final = ("empty queue", "tasks wait", "flushed", "tasks to retry")
SERVICES: Final = ("Postgres", "S3", "Bedrock")
_FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "error", "error": "ThrottlingException", "rate": 0.2},
    {"kind": "error", "operation": "CreateModelInvocationJob", "error": "AccessDeniedException", "times": 1},
    {"kind": "error", "error": "InternalServerException", "rate": 0.1},
    {"kind": "error", "operation": "ListModelInvocationJobs", "rate": 0.3},
    {"kind": "error_after", "operation": "CreateModelInvocationJob", "rate": 0.3},
    {"kind": "answer_lost", "operation": "CreateModelInvocationJob", "rate": 0.3},
    {"kind": "delay", "delay": 90, "rate": 0.1},
    {"kind": "list_lag", "delay": 60},
    {"kind": "list_empty_page", "rate": 0.2},
    {"kind": "list_repeated", "rate": 0.3},
    {"kind": "status_backwards", "rate": 0.2},
    {"kind": "record_error", "rate": 0.2, "error_code": 429},
    {"kind": "record_error", "rate": 0.1, "error_code": 400},
    {"kind": "line_missing", "rate": 0.1},
    {"kind": "line_repeated", "rate": 0.2},
    {"kind": "line_cut", "rate": 0.1},
    {"kind": "line_extra", "rate": 0.2},
    {"kind": "manifest_missing", "times": 1},
    {"kind": "manifest_wrong", "times": 1},
    {"kind": "job_ends", "status": "Failed", "at": 0.5, "times": 1},
    {"kind": "job_ends", "status": "Expired", "at": 0.5, "times": 1},
    {"kind": "job_ends", "status": "Stopped", "at": 0.5, "times": 1},
    {"kind": "job_ends", "status": "PartiallyCompleted", "at": 0.5, "times": 1},
)
_SWITCHES: Final[dict[str, tuple[str, ...]]] = {
    "same_token": ("same-arn", "silent"),
    "other_request": ("conflict", "ignored"),
    "job_names": ("repeatable", "conflict", "invalid"),
    "first_check": ("token", "name"),
    "over_quota": ("rejected", "queued"),
    "output_appears": ("at-end", "growing"),
    "stopped_output": ("kept", "dropped"),
}


@dataclass(frozen=True)
class Scenario:
    """One simulation.

    Attributes:
        seed: decides everything that is drawn while it runs.
        steps: number of choices before everything is brought to its end.
        start: what is there when it begins.
        cast: the kinds of its processes.
        rows: rows of each content.
        max_jobs: jobs at once that the product may have.
        quota: jobs at once that Bedrock allows.
        capped: whether launches have a cost cap.
        chances: what may happen to a process.
        faults: of the emulator.
        switches: of the emulator's behaviour.
        skew_s: how far the clocks of processes may be from the true time.
        job_s: how long a job runs.
        two_codes: whether processes run two versions of the code.
        below_minimum: the queue's policy.
        on_duplicate: the queue's.
        backup: the choice after which the ledger is copied; None: never.
        restore: the choice after which all processes die and that copy replaces the ledger.
        outage: the service that is away for six hours, and the choice after which that begins.
    """

    seed: int
    steps: int
    start: str = "packed"
    cast: tuple[str, ...] = ("clicker", "clicker", "daemon")
    rows: int = 8
    max_jobs: int = 1
    quota: int = 5
    capped: bool = False
    chances: Chances = field(default_factory=Chances)
    faults: tuple[dict[str, Any], ...] = ()
    switches: tuple[tuple[str, str], ...] = ()
    skew_s: float = 0.0
    job_s: float = 60.0
    two_codes: bool = False
    below_minimum: str = "on_demand"
    on_duplicate: str = "reject"
    backup: int | None = None
    restore: int | None = None
    outage: tuple[str, int] | None = None

    @property
    def calls(self) -> bool:
        """Whether records are sent one by one, with whole request bodies."""
        return self.start == "packed for calls"

    @property
    def has_queue(self) -> bool:
        """Whether there is a queue."""
        return self.start in _QUEUES

    def with_seed(self, seed: int) -> "Scenario":
        """The same with another seed."""
        return replace(self, seed=seed)

    def smaller(self) -> list["Scenario"]:
        """Scenarios with less in them, the greatest savings first."""
        found = [replace(self, steps=steps) for steps in (self.steps // 2, self.steps * 3 // 4) if steps]
        found += [
            replace(self, cast=self.cast[:n] + self.cast[n + 1 :])
            for n in range(len(self.cast))
            if len(self.cast) > 1
        ]
        if self.faults:
            found += [replace(self, faults=())]
            found += [
                replace(self, faults=self.faults[:n] + self.faults[n + 1 :]) for n in range(len(self.faults))
            ]
        if self.switches:
            found.append(replace(self, switches=()))
        if self.two_codes:
            found.append(replace(self, two_codes=False))
        if self.outage:
            found.append(replace(self, outage=None))
        if self.restore is not None:
            found.append(replace(self, backup=None, restore=None))
        if self.skew_s:
            found.append(replace(self, skew_s=0.0))
        found += [
            replace(self, chances=self.chances.without(name))
            for name in ("die", "fail", "lose", "suspend")
            if getattr(self.chances, name)
        ]
        if self.rows > 4:
            found.append(replace(self, rows=self.rows // 2))
        return found


def drawn(seed: int, steps: int) -> Scenario:
    """The scenario of a seed."""
    rng = random.Random(f"scenario {seed}")
    calm = rng.random() < 0.1
    faults = rng.sample(_FAULTS, 0 if calm else rng.choice((0, 1, 2, 3)))
    switched = [name for name in _SWITCHES if rng.random() < 0.2]
    start = rng.choice(list(_CASTS))
    if start == "in doubt" and not calm and seed % 4:
        # What is in doubt is looked up once or twice, which else seldom fails.
        faults = [{"kind": "error", "operation": "ListModelInvocationJobs", "times": seed % 4}, *faults[1:]]
    incident = rng.random()
    backup = rng.randrange(steps // 2 + 1) if incident < 0.1 else None
    outage = (rng.choice(SERVICES), rng.randrange(steps)) if steps and incident > 0.94 else None
    return Scenario(
        seed=seed,
        steps=steps,
        start=start,
        cast=rng.choice(_CASTS[start]),
        rows=rng.choice((6, 8, 12, 16)),
        max_jobs=rng.choice((1, 1, 2)),
        quota=rng.choice((2, 5, 20)),
        capped=rng.random() < 0.15,
        chances=Chances(
            clock=rng.choice((0.02, 0.05, 0.1)),
            service=rng.choice((0.0, 0.03, 0.1)),
            die=0.0 if calm else rng.choice((0.0, 0.01, 0.03)),
            fail=0.0 if calm else rng.choice((0.0, 0.01, 0.05)),
            # Programs add tasks seldom: only much that is lost hits what they may not do twice.
            lose=0.0
            if calm
            else rng.choice((0.0, 0.01, 0.05, 0.15) if start in _QUEUES else (0.0, 0.01, 0.05)),
            suspend=rng.choice((0.0, 0.01, 0.04)),
        ),
        faults=tuple(faults),
        switches=tuple((name, rng.choice(_SWITCHES[name])) for name in switched),
        skew_s=rng.choice((0.0, 0.0, 0.0, 100.0, 600.0)),
        # A job that had ended when its submission is looked up could not show that its slot was given away.
        job_s=max(rng.choice((60, 1000, 4000)), 4000 if start == "in doubt" else 0),
        two_codes=rng.random() < (0.7 if start == "snapshotted" else 0.3),
        below_minimum=rng.choice(("on_demand", "on_demand", "pad", "hold")),
        on_duplicate=rng.choice(("reject", "replace")),
        backup=backup,
        restore=None if backup is None else rng.randrange(backup, steps),
        outage=outage,
    )
