"""A launch is prepared by one run, however long it waits in the queue, and whatever ticks between its steps."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster_aws.s3 import S3Resource

from bedrock_pipeline import DagsterOptions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration import build_definitions, metadata
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}


@pytest.fixture
def defs(tmp_path: Path) -> dg.Definitions:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(120)))
    return build_definitions(
        [Pipeline(name="p", model_id=CLAUDE, source=str(path), record_id="id", prompt="{{ text }}")]
    )


def requested(defs: dg.Definitions, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    with dg.build_sensor_context(instance=instance, definitions=defs, resources=_RESOURCES) as context:
        result = defs.get_repository_def().get_sensor_def("poll_jobs")(context)
    assert isinstance(result, dg.SensorResult)
    return list(result.run_requests or [])


def test_between_the_steps_of_a_run_no_other_is_requested(
    deployment: Deployment,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    between: list[list[dg.RunRequest]] = []
    shown = metadata.of_snapshot

    def ticking(report: Any) -> metadata.Metadata:
        between.append(requested(defs, instance))
        return shown(report)

    monkeypatch.setattr(metadata, "of_snapshot", ticking)
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    [launch] = requested(defs, instance)
    job = defs.resolve_job_def("p_prepare")
    assert job.execute_in_process(instance=instance, partition_key=launch.partition_key).success
    assert between == [[]]
    assert deployment.ledger.datasets.to_launch(["p"], 1) == []


def test_a_run_of_the_first_step_alone_leaves_the_launch_to_another(
    deployment: Deployment, defs: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    requested(defs, instance)
    job = defs.resolve_job_def("p_prepare")
    done = job.execute_in_process(
        instance=instance, partition_key="d", asset_selection=[dg.AssetKey(["p", "input_dataset"])]
    )
    assert done.success
    assert [one.job_name for one in requested(defs, instance)] == ["p_prepare"]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING])
@pytest.mark.parametrize(("kind", "job", "subject"), [("prepare", "p_prepare", "d"), ("work", "work", "1")])
def test_a_run_that_waits_or_starts_is_not_requested_again(
    deployment: Deployment,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    kind: Any,
    job: str,
    subject: str,
    status: dg.DagsterRunStatus,
) -> None:
    deployment.ledger.datasets.request("p", "d", {}, launch=True)
    [request] = requested(defs, instance)
    if kind == "work":
        prepare = defs.resolve_job_def("p_prepare")
        assert prepare.execute_in_process(instance=instance, partition_key="d").success
        [request] = requested(defs, instance)
    assert request.job_name == job
    run = instance.create_run_for_job(
        defs.resolve_job_def(job),
        status=status,
        tags={RUN_KEY_TAG: str(request.run_key)},
        remote_job_origin=RemoteJobOrigin(
            RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repository"), job
        ),
    )

    def expire() -> None:
        deployment.ledger.run_leases.renew(kind, "p", subject, timedelta(0))

    expire()
    assert requested(defs, instance) == []
    instance.report_run_canceled(run)
    expire()
    assert [one.job_name for one in requested(defs, instance)] == [job]


def test_a_dataset_that_is_no_partition_keeps_no_other_waiting(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """It was launched by its name from the command line, which does not know the partitions of the code."""
    options = DagsterOptions(partitions_def=dg.StaticPartitionsDefinition(["eu", "1.25"]))
    one = Pipeline(
        name="p",
        model_id=CLAUDE,
        source=str(tmp_path / "rows.jsonl"),
        prompt="{{ text }}",
        dagster=options,
    )
    for dataset in ("asia", "v1.x80.final", "1.25", "1.x2E.25", "eu"):
        deployment.ledger.datasets.request("p", dataset, {}, launch=True)
    runs = requested(build_definitions([one]), instance)
    assert sorted(str(run.partition_key) for run in runs) == ["1.25", "eu"]
    shown = {row.dataset: row for row in deployment.ledger.status_report.datasets()}
    assert {row.dataset for row in shown.values() if row.state == "failed"} == {
        "asia",
        "v1.x80.final",
        "1.x2E.25",
    }
    assert "dataset asia is not a partition of the pipeline's partitions_def now" in str(shown["asia"].why)
    deployment.ledger.datasets.request("p", "asia", {}, launch=True)
    assert requested(build_definitions([one]), instance) == []
    again = deployment.ledger.datasets.get("p", "asia")
    assert again is not None
    assert (again.state, again.launch_id) == ("failed", None)
