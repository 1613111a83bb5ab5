"""A pipeline is renamed or removed while its jobs are in flight: whoever runs in the deployment finishes them."""

from pathlib import Path

import dagster as dg
import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import NotFoundError
from bedrock_pipeline.known_names import check_served
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.options import STEPS
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import pipeline
from bedrock_pipeline_tests.orchestration.test_definitions import evaluate, run, tick
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


def test_a_pipeline_counts_as_running_for_minutes_after_its_code_and_as_removed_later(
    deployment: Deployment,
) -> None:
    served = deployment.ledger.served_pipelines
    served.seen(["old", "new"])
    check_served(deployment.ledger, "old")
    deployment.ledger.datasets.request("old", "d", {}, launch=True)
    move_clock(deployment, 360)
    served.seen(["new"])
    assert served.now() == ["new"]
    with pytest.raises(NotFoundError, match="No running code location has a pipeline 'old'"):
        check_served(deployment.ledger, "old")
    shown = deployment.ledger.status_report.dataset("old", "d")
    assert shown is not None
    assert "no running code location has a pipeline 'old'" in str(shown.why)


@pytest.mark.parametrize("page", [100, 1])
def test_what_was_finished_meanwhile_is_reported_once_a_location_has_the_pipeline_again(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    """Its sensor has the cursor of the time before; each publication is reported once."""
    monkeypatch.setattr("bedrock_pipeline.orchestration.asset_events._MOST_EVENTS", page)
    limits = Limits(min_records=50, max_records=100, max_jobs=20)
    one = pipeline(tmp_path, [f"t{n}" for n in range(200)], limits=limits)
    own, other = (build_definitions([one.model_copy(update={"name": name})]) for name in ("p", "other"))
    cursor, _ = reported(own, instance, None)
    Names("p").register(instance, datasets=["d"])
    assert own.resolve_job_def("p_prepare").execute_in_process(instance=instance, partition_key="d").success
    move_clock(deployment, 3600)
    evaluate(other, instance, "poll_jobs")
    job = other.resolve_job_def("finish_removed_pipelines")

    def published() -> bool:
        assert job.execute_in_process(instance=instance).success
        poll_jobs(deployment)
        return deployment.ledger.datasets.ensure("p", "d").state == "published"

    until(published, "the publication")
    keys = {chunk.chunk_key for chunk in deployment.ledger.chunks.of_dataset("p", "d", 1)}
    assert len(keys) == 2
    requests = []
    for _ in range(len(keys) + 1):
        cursor, found = reported(own, instance, cursor)
        requests += found
    for step in ("submitted_jobs", "parsed_results"):
        assert set(instance.get_materialized_partitions(Names("p").asset(step))) == keys
    [request] = requests
    assert (request.job_name, request.partition_key) == ("p_publish", "d")
    assert run(own, instance, request)
    assert deployment.ledger.datasets.ensure("p", "d").publication == 1, "nothing is published twice"
    assert instance.get_materialized_partitions(Names("p").asset("results")) == {"d"}
    before = len(materializations(instance))
    assert reported(own, instance, cursor)[1] == []
    assert len(materializations(instance)) == before


def reported(
    definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[str | None, list[dg.RunRequest]]:
    """What a tick reports is stored, as the daemon would; the next cursor, and the runs that it requests."""
    result = evaluate(definitions, instance, "poll_jobs", cursor)
    assert isinstance(result, dg.SensorResult)
    for event in result.asset_events:
        instance.report_runless_asset_event(event)
    return result.cursor, list(result.run_requests or [])


def materializations(instance: dg.DagsterInstance) -> list[object]:
    return [
        record
        for step in STEPS
        for record in instance.fetch_materializations(Names("p").asset(step), limit=99).records
    ]


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
