"""A pipeline is renamed or removed while its jobs are in flight: whoever runs in the deployment finishes them."""

from pathlib import Path

import dagster as dg

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.build import build_definitions
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.orchestration.test_definitions import evaluate, tick
from bedrock_pipeline_tests.waiting import until


def test_what_a_removed_pipeline_has_left_is_finished(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    old = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    definitions = build_definitions([old.model_copy(update={"name": "renamed"})])
    deployment.ledger.served_pipelines.seen(["p"])
    take_snapshot(deployment, old, "d")
    [chunk] = pack_dataset(deployment, old, "d").chunks
    submit_chunk(deployment, "p", chunk.chunk_key)

    def ended() -> bool:
        poll_jobs(deployment)
        return deployment.ledger.chunks.by_key("p", chunk.chunk_key).ended

    until(ended, "the end of the job")
    assert not tick(definitions, instance, "reconcile_jobs"), "its code may only be restarting"
    move_clock(deployment, 3600)
    evaluate(definitions, instance, "poll_jobs")
    [request] = tick(definitions, instance, "reconcile_jobs")
    assert request.job_name == "finish_removed_pipelines"
    assert not tick(definitions, instance, "reconcile_jobs"), "it is requested once"
    job = definitions.resolve_job_def("finish_removed_pipelines")
    assert job.execute_in_process(instance=instance).success
    row = deployment.ledger.datasets.get("p", "d")
    assert row is not None
    assert (row.state, row.published_records) == ("published", 120)
    assert not tick(definitions, instance, "reconcile_jobs")


def test_a_location_whose_poll_jobs_is_stopped_does_not_finish_its_own_pipelines(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Who stops that sensor alone wants no chunk to be submitted."""
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    definitions = build_definitions([one])
    evaluate(definitions, instance, "poll_jobs")
    take_snapshot(deployment, one, "d")
    pack_dataset(deployment, one, "d")
    move_clock(deployment, 3600)
    assert not tick(definitions, instance, "reconcile_jobs")


def test_a_launch_that_no_code_location_serves_says_so(deployment: Deployment) -> None:
    deployment.ledger.datasets.request("mistyped", "d", {}, launch=True)
    [status] = deployment.ledger.status_report.datasets()
    assert "no running code location has a pipeline 'mistyped'" in (status.why or "")
    deployment.ledger.served_pipelines.seen(["mistyped"])
    [status] = deployment.ledger.status_report.datasets()
    assert status.why is None
