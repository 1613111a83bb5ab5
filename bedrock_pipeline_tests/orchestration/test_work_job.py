"""The job `work`: what it reports, which chunks turn red and green again, and what a run that dies leaves."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.run_leases import MOST_SHOWN
from bedrock_pipeline.orchestration import Names, build_definitions, steps, unfinished_runs, work_jobs
from bedrock_pipeline.orchestration.asset_checks import NO_OPERATOR_NEEDED
from bedrock_pipeline.orchestration.options import AssetStep, DagsterOptions
from bedrock_pipeline.orchestration.requests import next_worker
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.orchestration.test_definitions import evaluate, run, tick

CHUNKS = MOST_SHOWN + 2
KEYS = [f"d--{number:05}" for number in range(CHUNKS)]
_DENIED = {"operation": "CreateModelInvocationJob", "error": "ValidationException", "message": "not so"}


@pytest.fixture
def packed(deployment: Deployment, tmp_path: Path) -> Pipeline:
    one = pipeline(
        tmp_path,
        [f"t{number}" for number in range(100 * CHUNKS)],
        limits=Limits(min_records=50, max_records=100, max_jobs=20),
    )
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    return one


def materialized(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(Names("p").asset(asset)))


def red(instance: dg.DagsterInstance, asset: str) -> set[str]:
    """Partitions that were planned in a run that failed, and not materialized since."""
    key, found = Names("p").asset(asset), set[str]()
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        one = record.dagster_run
        if key in (one.asset_selection or ()) or (one.job_name == "p_submit" and asset == "submitted_jobs"):
            found.add(one.tags["dagster/partition"])
    return found - materialized(instance, asset)


def test_chunks_that_need_an_operator_turn_red_a_few_and_the_check_lists_all(
    deployment: Deployment, packed: Pipeline, instance: dg.DagsterInstance, control: Control
) -> None:
    definitions = build_definitions([packed])
    chunks = deployment.ledger.chunks.of_dataset("p", "d", 1)
    for chunk in chunks:
        control.add_fault("error", **_DENIED, job_name=chunk.request["jobName"])
    [request] = tick(definitions, instance)
    assert run(definitions, instance, request), "a work run never fails for a chunk's sake"
    own = tick(definitions, instance)
    assert {(one.job_name, one.partition_key) for one in own} == {
        ("p_submit", chunk.chunk_key) for chunk in chunks[:MOST_SHOWN]
    }
    assert tick(definitions, instance) == []
    for one in own:
        assert not run(definitions, instance, one, raises=False)
    assert red(instance, "submitted_jobs") == {chunk.chunk_key for chunk in chunks[:MOST_SHOWN]}
    assert tick(definitions, instance) == []
    checked = evaluate(definitions, instance, "reconcile_jobs")
    assert isinstance(checked, dg.SensorResult)
    [evaluation] = checked.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert (evaluation.check_name, evaluation.passed) == (NO_OPERATOR_NEEDED, False)
    assert evaluation.metadata["waiting"].value == len(chunks)
    assert all(chunk.chunk_key in str(evaluation.metadata["chunks"].value) for chunk in chunks)
    again = evaluate(definitions, instance, "reconcile_jobs", checked.cursor)
    assert isinstance(again, dg.SensorResult)
    assert not again.asset_events, "nothing changed"

    control.clear_faults()
    deployment.ledger.interventions.retry_rejected("p", "d")
    move_clock(deployment, 61)
    [request] = tick(definitions, instance)
    assert run(definitions, instance, request)
    assert red(instance, "submitted_jobs") == set()
    assert materialized(instance, "submitted_jobs") == {chunk.chunk_key for chunk in chunks}
    passed = evaluate(definitions, instance, "reconcile_jobs", again.cursor)
    assert isinstance(passed, dg.SensorResult)
    [evaluation] = passed.asset_events
    assert isinstance(evaluation, dg.AssetCheckEvaluation)
    assert evaluation.passed


def test_a_chunk_is_reported_as_submitted_before_it_is_as_parsed_and_clicks_work_afterwards(
    deployment: Deployment, packed: Pipeline, instance: dg.DagsterInstance
) -> None:
    definitions = build_definitions([packed])
    while not materialized(instance, "results"):
        poll_jobs(deployment)
        for request in tick(definitions, instance):
            assert run(definitions, instance, request)
    events = {
        asset: {
            str(record.partition_key): record.storage_id
            for record in instance.fetch_materializations(Names("p").asset(asset), limit=100).records
        }
        for asset in ("submitted_jobs", "parsed_results", "results")
    }
    assert all(events["submitted_jobs"][key] < parsed for key, parsed in events["parsed_results"].items())
    assert len(events["parsed_results"]) == len(deployment.ledger.chunks.of_dataset("p", "d", 1))
    version = instance.get_latest_materialization_event(Names("p").asset("results"))
    assert version is not None
    assert version.asset_materialization is not None
    tags = version.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == "v1-1", "as the run of the asset says"
    [check] = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(Names("p").asset("results"), "complete"), limit=9
    )
    assert check.status == AssetCheckExecutionRecordStatus.SUCCEEDED, "as the run of the asset says"
    key = min(events["parsed_results"])
    for kind, partition in (("submit", key), ("collect", key), ("publish", "d")):
        job = definitions.resolve_job_def(f"p_{kind}")
        assert job.execute_in_process(instance=instance, partition_key=partition).success, kind


def test_a_run_that_dies_after_its_work_is_reported_by_a_run_of_its_own(
    deployment: Deployment,
    packed: Pipeline,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has submitted a chunk, and dies before it reports that."""

    class _KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise _KilledError

    definitions = build_definitions([packed])
    [request] = tick(definitions, instance)
    monkeypatch.setattr(work_jobs, "shown", die)
    with pytest.raises(_KilledError):
        run(definitions, instance, request)
    monkeypatch.setattr(work_jobs, "shown", steps.shown)
    assert materialized(instance, "submitted_jobs") == set()
    move_clock(deployment, 61)
    [own, rest] = tick(definitions, instance)
    assert (own.job_name, own.partition_key, rest.job_name) == ("p_submit", KEYS[0], "work")
    for one in (own, rest):
        assert run(definitions, instance, one)
    chunks = {chunk.chunk_key for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1)}
    assert materialized(instance, "submitted_jobs") == chunks


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({}, "1"),
        ({"1": 5}, None),
        ({"1": 40}, "2"),
        ({"1": 90, "2": 5}, None),
        ({"2": 40}, "1"),
        ({"1": 90, "2": 60}, None),
    ],
)
def test_another_work_run_helps_one_that_does_not_keep_up(
    ages: dict[str, float], expected: str | None
) -> None:
    assert next_worker({name: timedelta(seconds=age) for name, age in ages.items()}, 2) == expected


def test_at_a_start_the_leases_of_killed_runs_expire_and_those_of_queued_runs_stay(
    deployment: Deployment,
    packed: Pipeline,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    definitions = build_definitions([packed])
    deployment.ledger.datasets.request("p", "e", {}, launch=True)
    statuses = {"prepare": dg.DagsterRunStatus.NOT_STARTED, "work": dg.DagsterRunStatus.STARTED}
    for request in tick(definitions, instance):
        kind = str(request.run_key).partition(":")[0]
        tags = {"dagster/run_key": str(request.run_key)}
        job = definitions.resolve_job_def(str(request.job_name))
        instance.create_run_for_job(job, tags=tags, status=statuses.pop(kind))
    assert not statuses
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: nullcontext(instance))
    unfinished_runs.end_unfinished_runs()
    [left] = deployment.ledger.run_leases.valid()
    assert left[0] == "prepare"
    assert [one.job_name for one in tick(definitions, instance)] == ["work"], "requested again at once"


def test_the_runs_follow_the_partitions_keys_and_hook_of_the_pipeline(
    deployment: Deployment, packed: Pipeline, instance: dg.DagsterInstance
) -> None:
    """A pipeline whose datasets are a static partition each, in Dagster under a key of another."""
    called: list[str] = []

    def execute(_: Any, step: AssetStep, work: Callable[[], Any]) -> Any:
        called.append(step.name)
        return work()

    options = DagsterOptions(
        partitions_def=dg.StaticPartitionsDefinition(["d"]),
        translate=lambda spec, step: spec.replace_attributes(key=["team", step.name]),
        execute=execute,
    )
    definitions = build_definitions([packed.model_copy(update={"dagster": options})])
    results = dg.AssetKey(["team", "results"])
    while not instance.get_materialized_partitions(results):
        poll_jobs(deployment)
        for request in tick(definitions, instance):
            assert run(definitions, instance, request)
    assert instance.get_materialized_partitions(results) == {"d"}
    chunks = {chunk.chunk_key for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1)}
    for asset in ("submitted_jobs", "parsed_results"):
        assert instance.get_materialized_partitions(dg.AssetKey(["team", asset])) == chunks
    assert {"submitted_jobs", "parsed_results", "results"} <= set(called)
    assert not instance.get_materialized_partitions(Names("p").asset("results"))


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        (lambda _, __, work: work() and None, "returns something else than its work()"),
        (lambda _, __, work: bool(work()), "returns something else than its work()"),
        (lambda _, __, ___: None, "does not call its work()"),
    ],
)
def test_a_hook_that_loses_what_the_work_returned_is_an_error(
    deployment: Deployment, packed: Pipeline, instance: dg.DagsterInstance, hook: Any, problem: str
) -> None:
    """Without one, each run would be green and show nothing, and the dataset would never be finished."""
    definitions = build_definitions([packed.model_copy(update={"dagster": DagsterOptions(execute=hook)})])
    for job, partition in (("p_prepare", "other"), ("p_submit", KEYS[0])):
        Names("p").register(instance, datasets=["other"], chunks=KEYS)
        done = definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=partition, raise_on_error=False
        )
        assert not done.success
        [failed] = [event for event in done.all_events if event.is_step_failure]
        said = str(failed.step_failure_data.user_failure_data)
        assert f"Pipeline 'p': execute {problem}" in said, said
    assert deployment.ledger.datasets.to_launch(["p"], 9) == []
