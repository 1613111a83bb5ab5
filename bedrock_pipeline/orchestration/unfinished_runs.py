"""Runs at the start and end of a Dagster that lives only as long as one command: `dev`, `demo`."""

import time

import dagster as dg

_KILLED = "The process of this run was killed. What it did is safe; the sensors request the rest again."
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_unfinished_runs() -> list[str]:
    """Mark every run with the status of a working one as failed.

    For the start of an instance (`DAGSTER_HOME`) whose runs are all children of this machine's processes, before its
    daemon starts: their places in the run queue are free at once, not when the run monitor notices.

    Returns:
        The run keys with which they were requested.
    """
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=_WORKING))
        for run in runs:
            instance.report_run_failed(run, _KILLED)
        return [run.tags["dagster/run_key"] for run in runs if "dagster/run_key" in run.tags]


def wait_for_runs(seconds: float) -> None:
    """Wait until no run is working, at most this long."""
    deadline = time.monotonic() + seconds
    with dg.DagsterInstance.get() as instance:
        while instance.get_runs_count(dg.RunsFilter(statuses=_WORKING)) and time.monotonic() < deadline:
            time.sleep(0.2)
