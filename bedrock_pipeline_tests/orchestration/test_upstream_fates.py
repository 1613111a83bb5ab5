"""A run or backfill that was to prepare the dataset with its upstream asset, and did not: the sensor launches it after all."""

from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.tags import BACKFILL_ID_TAG
from dagster._core.test_utils import create_run_for_test

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline_tests.orchestration.test_upstream import (
    DAILY,
    KEY,
    Shelf,
    definitions,
    launched,
    tick,
)

_DAY = "2026-11-23"
_End = Callable[[str], None]
_BOTH = frozenset({KEY, Names("p").asset("input_dataset")})


def begin_run(instance: dg.DagsterInstance) -> _End:
    """A run that has materialized the upstream asset, and goes on with the dataset."""
    run = create_run_for_test(instance, asset_selection=_BOTH, status=dg.DagsterRunStatus.STARTED)
    reported(instance, run)
    ends: dict[str, Callable[[], object]] = {
        "SUCCESS": lambda: instance.report_dagster_event(
            dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run.run_id
        ),
        "FAILURE": lambda: instance.report_run_failed(run),
        "CANCELED": lambda: instance.report_run_canceled(run),
        "deleted": lambda: instance.run_storage.delete_run(run.run_id),
    }

    def with_end(end: str) -> None:
        ends[end]()

    return with_end


def backfill_of(status: BulkActionStatus) -> PartitionBackfill:
    return PartitionBackfill(
        backfill_id="b",
        status=status,
        from_failure=False,
        tags={},
        backfill_timestamp=0.0,
        asset_selection=[*_BOTH],
    )


def begin_backfill(instance: dg.DagsterInstance) -> _End:
    """A backfill whose first run has materialized the upstream asset, and whose second prepares the dataset."""
    instance.add_backfill(backfill_of(BulkActionStatus.REQUESTED))
    run = create_run_for_test(
        instance,
        asset_selection=frozenset({KEY}),
        tags={BACKFILL_ID_TAG: "b"},
        status=dg.DagsterRunStatus.SUCCESS,
    )
    reported(instance, run)
    statuses = {
        "SUCCESS": BulkActionStatus.COMPLETED_SUCCESS,
        "FAILURE": BulkActionStatus.COMPLETED_FAILED,
        "CANCELED": BulkActionStatus.CANCELED,
    }
    return lambda end: instance.update_backfill(backfill_of(statuses[end]))


def reported(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    event = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        run.job_name,
        event_specific_data=StepMaterializationData(dg.AssetMaterialization(KEY, partition=_DAY)),
    )
    instance.report_dagster_event(event, run.run_id)


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        (begin_run, "SUCCESS", set()),
        (begin_run, "FAILURE", {_DAY}),
        (begin_run, "CANCELED", set()),
        (begin_run, "deleted", {_DAY}),
        (begin_backfill, "SUCCESS", set()),
        (begin_backfill, "FAILURE", {_DAY}),
        (begin_backfill, "CANCELED", set()),
    ],
)
@pytest.mark.parametrize("meanwhile", [True, False], ids=["awaited", "at once"])
def test_what_a_run_was_to_prepare_and_did_not_is_launched(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    begin: Callable[[dg.DagsterInstance], _End],
    end: str,
    wanted: set[str],
    meanwhile: bool,
) -> None:
    defs = definitions(Shelf(), DAILY, own=DAILY)
    _, cursor = tick(defs, instance, None)
    ends = begin(instance)
    if meanwhile:
        for _ in range(2):
            _, cursor = tick(defs, instance, cursor)
        assert launched(deployment) == set(), "it may prepare the dataset yet"
    ends(end)
    _, cursor = tick(defs, instance, cursor)
    assert launched(deployment) == wanted
    assert tick(defs, instance, cursor)[0] == "No upstream asset was materialized."
