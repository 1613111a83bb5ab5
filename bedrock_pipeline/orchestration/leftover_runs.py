"""Runs at the begin and end of a Dagster that lives and dies with one command.

What belongs here: waiting for runs at the end; and telling Dagster of those that died with an earlier daemon,
which would otherwise hold a place in the run queue until the run monitor notices, minutes later. It is run as a
process, `python -m bedrock_pipeline.orchestration.leftover_runs end` or `wait`, in the environment of that Dagster.
"""

import sys
import time

import dagster as dg

from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.orchestration.run_leases import release_run_lease
from bedrock_pipeline.settings import Settings

_KILLED = (
    "The process of this run was killed. What it did is safe; the sensors ask again for what is missing."
)
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
#: How long runs that are under way at the end may take to finish.
_WAIT_SECONDS = 20.0


def end_leftover_runs() -> None:
    """Mark every run that is said to be working as failed, and release its lease.

    Only for an instance (`DAGSTER_HOME`) all of whose runs are children of this machine's processes, before its
    daemon is started.
    """
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=_WORKING))
        for run in runs:
            instance.report_run_failed(run, _KILLED)
    with open_deployment(Settings.resolve()) as deployment:
        for run in runs:
            if key := run.tags.get("dagster/run_key"):
                release_run_lease(deployment, key)


def wait_for_runs(seconds: float) -> None:
    """Wait until no run is working, at the most so long."""
    deadline = time.monotonic() + seconds
    with dg.DagsterInstance.get() as instance:
        while instance.get_runs_count(dg.RunsFilter(statuses=_WORKING)) and time.monotonic() < deadline:
            time.sleep(0.2)


if __name__ == "__main__":
    if sys.argv[1:] == ["end"]:
        end_leftover_runs()
    elif sys.argv[1:] == ["wait"]:
        wait_for_runs(_WAIT_SECONDS)
    else:
        sys.exit("usage: python -m bedrock_pipeline.orchestration.leftover_runs end|wait")
