"""A preparation that somebody began by hand, and whose run died, is requested again: as much of it as was wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.options import PREPARATION, AssetStep, DagsterOptions
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.orchestration.test_definitions import evaluate, tick


class _KilledError(BaseException):
    pass


@pytest.fixture
def dying() -> list[str]:
    """The steps that are killed."""
    return []


@pytest.fixture
def defs(tmp_path: Path, dying: list[str]) -> dg.Definitions:
    def execute(_: Any, step: AssetStep, work: Callable[[], Any]) -> Any:
        if step.name in dying:
            raise _KilledError
        return work()

    one: Pipeline = pipeline(tmp_path, [f"t{number}" for number in range(120)])
    return build_definitions([one.model_copy(update={"dagster": DagsterOptions(execute=execute)})])


def materialize(defs: dg.Definitions, instance: dg.DagsterInstance, assets: list[dg.AssetKey]) -> bool:
    return (
        defs.resolve_job_def("p_prepare")
        .execute_in_process(instance=instance, partition_key="d", asset_selection=assets)
        .success
    )


@pytest.mark.parametrize(
    ("begun", "died_at"),
    [
        (PREPARATION, "input_dataset"),
        (PREPARATION, "batch_chunks"),
        (("input_dataset",), "input_dataset"),
        (("batch_chunks",), "batch_chunks"),
    ],
)
@pytest.mark.parametrize("becomes", [None, dg.DagsterRunStatus.CANCELED])
def test_what_was_begun_by_hand_and_died_is_requested_again_unless_it_was_terminated(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    dying: list[str],
    begun: tuple[str, ...],
    died_at: str,
    becomes: dg.DagsterRunStatus | None,
) -> None:
    names = Names("p")
    names.register(instance, datasets=["d"])
    if begun == ("batch_chunks",):
        assert materialize(defs, instance, [names.asset("input_dataset")])
    dying.append(died_at)
    with pytest.raises(_KilledError):
        materialize(defs, instance, [names.asset(one) for one in begun])
    dying.clear()
    evaluate(defs, instance, "poll_jobs")  # the pipeline is served
    assert not tick(defs, instance), "its lease is valid"
    [status] = deployment.ledger.status_report.datasets("p")
    assert (status.why, status.next) == (None, "a run prepares it")
    if becomes:
        last = instance.get_runs(limit=1)[0]
        instance.report_run_canceled(last)
    move_clock(deployment, 301)
    requests = tick(defs, instance)
    [status] = deployment.ledger.status_report.datasets("p")
    if becomes:
        assert requests == []
        assert "bedrock-pipeline launch p d" in (status.why or "")
        return
    [request] = requests
    assert (request.job_name, request.partition_key) == ("p_prepare", "d")
    assert {*(request.asset_selection or ())} == {names.asset(one) for one in begun}
    assert not tick(defs, instance), "it is requested once"
    assert materialize(defs, instance, list(request.asset_selection or ()))
    [status] = deployment.ledger.status_report.datasets("p")
    assert status.state == ("snapshotted" if begun == ("input_dataset",) else "packed")
    assert not any(one.job_name == "p_prepare" for one in tick(defs, instance)), "it is done"


def test_status_says_that_nothing_is_requested_for_what_is_not_launched(
    deployment: Deployment, instance: dg.DagsterInstance, defs: dg.Definitions
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=False)
    [status] = deployment.ledger.status_report.datasets("p")
    assert (status.why, status.next) == (
        "it is not launched: materialize input_dataset and batch_chunks in Dagster, or bedrock-pipeline launch p d",
        None,
    )
    Names("p").register(instance, datasets=["d"])
    assert materialize(defs, instance, [Names("p").asset("input_dataset")])
    [status] = deployment.ledger.status_report.datasets("p")
    assert (status.why, status.next) == (
        "its input is read, and it is not launched: materialize batch_chunks in Dagster, or bedrock-pipeline launch p d",
        None,
    )
