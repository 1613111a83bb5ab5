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
        ("reconciler", "reconciler", "clicker"),
        ("reconciler", "user", "clicker"),
        ("reconciler", "operator", "clicker"),
    ),
    # a submission was rejected
    "rejected": (("operator", "user", "clicker"), ("operator", "clicker", "daemon")),
    # jobs have ended
    "ended": (("daemon", "daemon"), ("clicker", "clicker", "daemon"), ("daemon", "user", "operator")),
    # all jobs are collected, and records are to be sent again
    "retryable": (
        ("retrier", "retrier", "daemon"),
        ("retrier", "user", "clicker"),
        ("retrier", "operator", "user"),
    ),
    # all is to be published
    "collected": (
        ("publisher", "publisher"),
        ("publisher", "publisher", "user"),
        ("publisher", "publisher", "daemon", "operator"),
    ),
}
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
            lose=0.0 if calm else rng.choice((0.0, 0.01, 0.05)),
            suspend=rng.choice((0.0, 0.01, 0.04)),
        ),
        faults=tuple(faults),
        switches=tuple((name, rng.choice(_SWITCHES[name])) for name in switched),
        skew_s=rng.choice((0.0, 0.0, 0.0, 100.0, 600.0)),
        job_s=rng.choice((60, 1000, 4000)),
        two_codes=rng.random() < 0.3,
    )
