"""Runs at the begin and end of a Dagster that lives and dies with one command.

What belongs here: waiting for runs at the end; and telling Dagster of those that died with an earlier daemon,
which would otherwise hold a place in the run queue until the run monitor notices, minutes later.
"""

import dagster as dg

from bedrock_pipeline.system import SYSTEM, System

_KILLED = (
    "The process of this run was killed. What it did is safe; the sensors ask again for what is missing."
)
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_leftover_runs() -> list[str]:
    """Mark every run that is said to be working as failed; returns the run keys that they were asked for with.

    Only for an instance (`DAGSTER_HOME`) all of whose runs are children of this machine's processes, before its
    daemon is started.
    """
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=_WORKING))
        for run in runs:
            instance.report_run_failed(run, _KILLED)
        return [run.tags["dagster/run_key"] for run in runs if "dagster/run_key" in run.tags]


def wait_for_runs(seconds: float, system: System = SYSTEM) -> None:
    """Wait until no run is working, at the most so long."""
    deadline = system.monotonic() + seconds
    with dg.DagsterInstance.get() as instance:
        while instance.get_runs_count(dg.RunsFilter(statuses=_WORKING)) and system.monotonic() < deadline:
            system.sleep(0.2)
