"""Runs that a Dagster left which lives only as long as one command (`dev`, `demo`).

Started as a process, `python -m bedrock_pipeline.orchestration.unfinished_runs`, in the environment of that Dagster,
since Dagster finds its storage by environment variables.
"""

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG

from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.settings import Settings

_KILLED = "The process of this run was ended. What it did is safe; the sensors request the rest again."
_KILLED_OF_OTHERS = (
    "The process of this run was ended, by the end of `dev`, say. Nothing starts it again by itself."
)
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_WORKING = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_unfinished_runs() -> None:
    """Mark every run with the status of a working one as failed, and expire its leases.

    For the start of an instance (`DAGSTER_HOME`) whose runs are all children of this machine's processes, before its
    daemon starts: their places in the run queue are free at once, not when the run monitor notices.
    """
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=_WORKING))
        for run in runs:
            instance.report_run_failed(run, _KILLED if RUN_KEY_TAG in run.tags else _KILLED_OF_OTHERS)
        waiting = instance.get_runs(dg.RunsFilter(statuses=_WAITING))
    leases = [run.tags.get(RUN_KEY_TAG, "").rpartition(":")[2] for run in waiting]
    with open_deployment(Settings.resolve()) as deployment:
        deployment.ledger.run_leases.expire(leases)


if __name__ == "__main__":
    end_unfinished_runs()
