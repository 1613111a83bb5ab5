"""Runs that died with an earlier daemon.

What belongs here: telling Dagster so. A killed run would otherwise hold a place in the run queue until the run
monitor notices, minutes later.
"""

import dagster as dg

_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_leftover_runs() -> int:
    """Mark every run that is said to be working as failed; returns how many there were.

    Only for an instance (`DAGSTER_HOME`) all of whose runs are children of this machine's processes, before its
    daemon is started.
    """
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=_WORKING))
        for run in runs:
            instance.report_run_failed(
                run, "The process of this run was killed; what it did is safe, and is asked for again."
            )
        return len(runs)
