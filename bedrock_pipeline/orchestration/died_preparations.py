"""Preparations that somebody began in Dagster without a launch, and whose run died: what of them is requested again.

A launch is due until it is carried out, whatever becomes of its runs; of such a run the ledger has only the lease. What it
was to materialize, and whether somebody terminated it, stands in Dagster.
"""

from collections.abc import Mapping
from typing import Final

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WorkItem
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import PREPARATION

#: Of a run that has yet to begin, or to end.
_AWAITED: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.CANCELING,
)
#: Of a run after which nothing is to be done.
_ENDED: Final = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.CANCELED)


def died_preparations(
    instance: dg.DagsterInstance, opened: Deployment, names: Mapping[str, Names], limit: int
) -> dict[WorkItem, list[dg.AssetKey]]:
    """What is prepared again, each with the assets that its run was to materialize: no more than somebody wanted.

    A run that was terminated is not repeated, nor one that Dagster does not know any more.
    """
    found = {}
    for pipeline, dataset in opened.ledger.run_leases.died_preparations(list(names), limit):
        run, assets = _last_run(instance, names[pipeline], dataset)
        if run is None or run.status in _ENDED:
            opened.ledger.run_leases.release("prepare", pipeline, dataset)
        elif run.status not in _AWAITED:
            found[WorkItem("prepare", pipeline, dataset)] = assets
    return found


def _last_run(
    instance: dg.DagsterInstance, names: Names, dataset: str
) -> tuple[dg.DagsterRun | None, list[dg.AssetKey]]:
    """The last run that was to prepare a dataset, and the assets that it was to materialize."""
    planned = [
        (one.storage_id, one.run_id, key)
        for key in map(names.asset, PREPARATION)
        if (one := instance.get_latest_planned_materialization_info(key, names.partition(dataset)))
    ]
    if not planned:
        return None, []
    _, run_id, _ = max(planned, key=lambda one: one[0])
    return instance.get_run_by_id(run_id), [key for _, of_run, key in planned if of_run == run_id]
