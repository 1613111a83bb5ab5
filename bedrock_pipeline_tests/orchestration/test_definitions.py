"""The Dagster definitions: names, and sensors that request runs once."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pytest
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.definitions import defs
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline
from bedrock_pipeline.sources import InputError
from bedrock_pipeline.submit.poll_jobs import poll_jobs

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
CHUNK = "d--00000"
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    (tmp_path / "d.jsonl").write_text(
        "".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(120))
    )
    source = str(tmp_path / "{dataset}.jsonl")
    one = Pipeline(name="p", model_id=CLAUDE, source=source, record_id="id", prompt="{{ text }}", daily=True)

    names = Names("p")

    @dg.asset(key="frame", ins={"results": dg.AssetIn(names.asset("results"))}, partitions_def=names.datasets)
    def frame(results: pd.DataFrame) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": len(results)})

    @dg.asset(key="table", ins={"results": dg.AssetIn(names.asset("results"))}, partitions_def=names.datasets)
    def table(results: pa.Table) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": results.num_rows})

    @dg.asset(key="lazy", ins={"results": dg.AssetIn(names.asset("results"))}, partitions_def=names.datasets)
    def lazy(results: pa_dataset.Dataset) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": results.count_rows()})

    return build_definitions([one], downstream=[frame, table, lazy])


def tick(
    definitions: dg.Definitions, instance: dg.DagsterInstance, sensor: str = "poll_jobs"
) -> list[dg.RunRequest]:
    """The runs that a sensor requests now."""
    result = evaluate(definitions, instance, sensor)
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def evaluate(
    definitions: dg.Definitions, instance: dg.DagsterInstance, sensor: str, cursor: str | None = None
) -> object:
    with dg.build_sensor_context(
        instance=instance, definitions=definitions, resources=_RESOURCES, cursor=cursor
    ) as context:
        return definitions.get_repository_def().get_sensor_def(sensor)(context)


def run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, request: dg.RunRequest, *, raises: bool = True
) -> bool:
    job = definitions.resolve_job_def(str(request.job_name))
    return job.execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        raise_on_error=raises,
        tags=dict(request.tags),
        resources=_RESOURCES if request.partition_key is None else None,
    ).success


def skip_reason(result: object) -> str:
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message)


def materialized(instance: dg.DagsterInstance, asset: str) -> set[str]:
    return set(instance.get_materialized_partitions(Names("p").asset(asset)))


def test_everything_is_named_by_its_pipeline() -> None:
    repository = defs.get_repository_def()
    stages = {"input_dataset", "batch_chunks", "submitted_jobs", "parsed_results", "results"}
    keys = {key.to_user_string() for key in repository.assets_defs_by_key}
    for pipeline in ("stdlib_docstrings", "own_files"):
        assert {f"{pipeline}/{stage}" for stage in stages} <= keys
    assert {sensor.name for sensor in repository.sensor_defs} == {
        *("poll_jobs", "reconcile_jobs", "downstream_assets"),
    }


def test_a_code_server_can_load_everything() -> None:
    """It checks more than `Definitions` does, such as names that an op and a job share."""
    queue = QueuePipeline(name="q", model_id=CLAUDE)
    both = build_definitions(
        [Pipeline(name="p", model_id=CLAUDE, source="rows.jsonl", prompt="{{ a }}"), queue]
    )
    both.get_repository_def().load_all_definitions()


def test_of_waiting_runs_those_that_fill_slots_come_first_and_new_datasets_last() -> None:
    def priority(kind: str) -> int:
        name = kind if kind == "work" else f"own_files_{kind}"
        return int(defs.resolve_job_def(name).run_tags["dagster/priority"])

    kinds = ["work", "submit", "publish", "collect", "retry", "prepare"]
    assert sorted(kinds, key=priority, reverse=True) == kinds
    assert len({priority(kind) for kind in kinds}) == len(kinds)


def test_without_any_setting_sensors_say_what_to_do(
    definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_HOME", str(tmp_path / "nothing"))
    result = evaluate(definitions, instance, "poll_jobs")
    assert isinstance(result, dg.SkipReason)
    assert "bedrock-pipeline dev" in str(result.skip_message)


def test_a_dataset_runs_through_the_sensors(
    deployment: Deployment, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    [launch] = tick(definitions, instance)
    assert str(launch.run_key).startswith("prepare:p:d:")
    assert tick(definitions, instance) == [], "the run lease is valid"
    assert run(definitions, instance, launch)
    assert instance.get_dynamic_partitions("p_chunks") == [CHUNK]
    [submit] = tick(definitions, instance)
    assert (submit.job_name, submit.partition_key) == ("work", None)
    assert str(submit.run_key).startswith("work:p:1:")
    assert tick(definitions, instance) == [], "one run does what is due"
    assert run(definitions, instance, submit)
    assert materialized(instance, "submitted_jobs") == {CHUNK}
    while not (requested := tick(definitions, instance)):
        pass  # the sensor polls, and requests what follows from the end of the job in the same tick
    [rest] = requested
    assert run(definitions, instance, rest), "the last chunk is collected and published by one run"
    assert materialized(instance, "parsed_results") == {CHUNK}
    assert materialized(instance, "results") == {"d"}
    assert tick(definitions, instance) == []
    downstream = [definitions.resolve_assets_def(name) for name in ("frame", "table", "lazy")]
    result = dg.materialize(
        [*downstream, *(definitions.resolve_assets_def(Names("p").asset(a)) for a in ("results",))],
        instance=instance,
        partition_key="d",
        selection=[asset.key for asset in downstream],
    )
    rows = [
        materialization.metadata["rows"].value
        for asset in downstream
        for materialization in result.asset_materializations_for_node(asset.node_def.name)
    ]
    assert rows == [120, 120, 120]


def test_clicks_in_the_wrong_order_say_why_not_yet(
    deployment: Deployment, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    instance.add_dynamic_partitions("p_datasets", ["d"])
    instance.add_dynamic_partitions("p_chunks", [CHUNK])
    messages = {}
    for kind, key in (("publish", "d"), ("submit", CHUNK), ("collect", CHUNK)):
        job = definitions.resolve_job_def(f"p_{kind}")
        result = job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False)
        assert not result.success
        failure = next(event for event in result.all_events if event.is_step_failure)
        messages[kind] = str(failure.step_failure_data.error_display_string)
    assert "not packed yet" in messages["publish"]
    assert "has no chunk" in messages["submit"]
    assert "has no chunk" in messages["collect"]


def test_a_chunk_without_a_slot_is_green_and_missing(
    deployment: Deployment, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    assert run(definitions, instance, tick(definitions, instance)[0])
    with deployment.ledger.database.connection() as connection:
        connection.execute("UPDATE bedrock_pipeline.quota_groups SET max_jobs = 0")
    job = definitions.resolve_job_def("p_submit")
    assert job.execute_in_process(instance=instance, partition_key=CHUNK).success
    assert materialized(instance, "submitted_jobs") == set()


def test_a_requeued_chunk_shows_why_and_until_when_in_the_ui(
    deployment: Deployment,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    control: Control,
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    assert run(definitions, instance, tick(definitions, instance)[0])
    name = deployment.ledger.chunks.by_key("p", CHUNK).request["jobName"]
    control.add_fault(
        "error",
        operation="CreateModelInvocationJob",
        error="ThrottlingException",
        message="Too many requests",
        job_name=name,
        times=1,
    )
    assert run(definitions, instance, tick(definitions, instance)[0])
    assert materialized(instance, "submitted_jobs") == set()
    [record] = instance.fetch_observations(Names("p").asset("submitted_jobs"), limit=9).records
    observation = record.asset_observation
    assert observation is not None
    assert observation.partition == CHUNK
    shown = observation.metadata
    assert shown["reason"].value == "ThrottlingException: Too many requests"
    chunk = deployment.ledger.chunks.by_key("p", CHUNK)
    assert shown["next_submission"].value == pytest.approx(chunk.next_attempt_at.timestamp())
    assert shown["submissions"].value == 1
    assert "waits_since" in shown
    assert tick(definitions, instance) == [], "no run is requested before that time"


def test_a_dataset_over_its_cost_limit_requests_no_run_and_says_why(
    deployment: Deployment, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "d", {"max_cost_usd": 0.001}, launch=True)
    [launch] = tick(definitions, instance)
    assert run(definitions, instance, launch)
    packed = instance.get_latest_materialization_event(Names("p").asset("batch_chunks"))
    assert packed is not None
    assert packed.asset_materialization is not None
    shown: dict[str, Any] = {
        name: value.value for name, value in packed.asset_materialization.metadata.items()
    }
    assert (shown["records"], shown["jobs"], shown["waves"], shown["max_cost_usd"]) == (120, 1, 1, 0.001)
    assert shown["output_tokens"] == 120 * 1024
    assert shown["cost_usd"] > 0.07
    assert shown["on_demand_cost_usd"] == pytest.approx(2 * shown["cost_usd"])
    skipped = skip_reason(evaluate(definitions, instance, "poll_jobs"))
    assert "bedrock-pipeline approve p d --up-to" in skipped
    deployment.ledger.spending.approve("p", "d", Decimal(1), "somebody")
    assert len(tick(definitions, instance)) == 1


def test_invalid_input_ends_the_launch_and_fails_the_run(
    deployment: Deployment, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "d", {"prompt": "{{ no_such_column }}"}, launch=True)
    [launch] = tick(definitions, instance)
    assert not run(definitions, instance, launch, raises=False)
    assert materialized(instance, "input_dataset") == set()
    assert deployment.ledger.datasets.to_launch(["p"], 1) == []


def test_retryable_records_are_sent_again_through_the_sensors_and_their_chunk_stays_green(
    deployment: Deployment,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    control: Control,
) -> None:
    control.add_fault("record_error", record_ids=["r1", "r2"], error_code=429)
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    for _ in ("prepare", "submit"):
        assert run(definitions, instance, tick(definitions, instance)[0])
    while poll_jobs(deployment).in_flight:
        pass
    control.clear_faults()
    assert run(definitions, instance, tick(definitions, instance)[0])
    assert instance.get_dynamic_partitions("p_chunks") == [CHUNK, "d--r2-00000"]
    for asset in ("submitted_jobs", "parsed_results"):
        assert materialized(instance, asset) == {CHUNK, "d--r2-00000"}, (
            "the same run has started the retry round"
        )
    assert materialized(instance, "results") == {"d"}
    assert deployment.ledger.datasets.progress("p", "d").answered == 120


def test_bedrock_is_polled_at_the_interval_of_the_settings(
    deployment: Deployment,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_POLL_INTERVAL_S", "1000")
    polled = evaluate(definitions, instance, "poll_jobs")
    assert isinstance(polled, dg.SensorResult)
    assert "No job is in flight" in skip_reason(polled)
    again = evaluate(definitions, instance, "poll_jobs", polled.cursor)
    assert "every 1000 s" in skip_reason(again)
    cursor = json.loads(polled.cursor or "{}")
    cursor["polled"] -= 1000
    over = evaluate(definitions, instance, "poll_jobs", json.dumps(cursor))
    assert "No job is in flight" in skip_reason(over)


def test_two_pipelines_of_one_name_are_rejected() -> None:
    one = Pipeline(name="p", model_id=CLAUDE, prompt="{{ text }}")
    with pytest.raises(ConfigurationError, match="same name: p"):
        build_definitions([one, one])


def test_a_run_that_cannot_succeed_is_not_requested_again(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    """What the input or the code gets wrong ends the launch with its reason; what may pass is tried again."""
    errors: dict[str, Exception] = {
        "input": InputError("rows.jsonl has no line.", "Write one."),
        "defect": ZeroDivisionError("a prompt"),
        "network": ConnectionError("away"),
    }

    def failing(dataset: str) -> Any:
        raise errors[dataset]

    one = Pipeline(name="p", model_id=CLAUDE, source=failing, record_id="id", prompt="{{ text }}")
    definitions = build_definitions([one])
    for dataset in errors:
        deployment.ledger.datasets.request("p", dataset, {}, launch=True)
    for request in tick(definitions, instance):
        assert not run(definitions, instance, request, raises=False)
    found = {dataset: deployment.ledger.datasets.ensure("p", dataset) for dataset in errors}
    assert {dataset: row.launch_requested_at is not None for dataset, row in found.items()} == {
        "input": False,
        "defect": False,
        "network": True,
    }
    assert found["input"].state_reason == "rows.jsonl has no line. Write one."
    reason = str(found["defect"].state_reason)
    assert reason.startswith("ZeroDivisionError in the run ")
    assert "launch the dataset again" in reason
    assert "prompt" not in reason
    assert [row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 10)] == ["network"]
    deployment.ledger.datasets.request("p", "input", {}, launch=True)
    assert {row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 10)} == {"input", "network"}
