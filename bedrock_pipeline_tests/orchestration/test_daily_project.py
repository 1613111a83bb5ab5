"""Daily assets up- and downstream, backfilled and changed: what the test of the same name in `end_to_end` does by a daemon."""

import json
from pathlib import Path

import dagster as dg
import pandas as pd
from dagster_aws.s3 import S3Resource

from bedrock_pipeline import DagsterOptions, Pipeline, UpstreamAsset, build_definitions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration.names import DEPLOYMENT, Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.waiting import until

DAILY = dg.DailyPartitionsDefinition(start_date="2025-11-01", end_date="2025-12-01")
DAYS = [f"2025-11-{day}" for day in range(20, 25)]
CHANGED, UNCHANGED = DAYS[2], DAYS[3]
RAW, REPORT = dg.AssetKey(["raw", "reviews"]), dg.AssetKey("report")
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}


def project(inputs: Path) -> dg.Definitions:
    @dg.asset(key=RAW, partitions_def=DAILY)
    def raw(context: dg.AssetExecutionContext) -> pd.DataFrame:
        return pd.read_json(inputs / f"{context.partition_key}.jsonl", lines=True)

    @dg.asset(key=REPORT, ins={"results": dg.AssetIn(["reviews", "results"])}, partitions_def=DAILY)
    def report(results: pd.DataFrame) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"first": min(results["record_id"])})

    pipeline = Pipeline(
        name="reviews",
        model_id="anthropic.claude-3-haiku-20240307-v1:0",
        source=UpstreamAsset(asset="raw/reviews", load_as="pandas.DataFrame"),
        record_id="id",
        prompt="One word: {{ text }}",
        dagster=DagsterOptions(partitions_def=DAILY),
    )
    theirs = dg.Definitions(assets=[raw, report], executor=dg.in_process_executor)
    return dg.Definitions.merge(theirs, build_definitions([pipeline]))


def write(inputs: Path, day: str, mark: str) -> None:
    rows = ({"id": f"{day}-{mark}{n}", "text": f"review {mark}{n}"} for n in range(100))
    (inputs / f"{day}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_five_days_are_processed_once_and_a_day_that_changed_gets_a_new_version(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    defs, names, cursors = project(tmp_path), Names("reviews"), dict[str, str | None]()
    job = defs.resolve_implicit_global_asset_job_def()

    def materialize(keys: list[dg.AssetKey], day: str) -> str | None:
        done = job.execute_in_process(instance=instance, asset_selection=keys, partition_key=day)
        assert done.success
        shown = [event.materialization.metadata for event in done.get_asset_materialization_events()]
        return next((str(one["first"].value) for one in shown if "first" in one), None)

    def tick() -> list[dg.RunRequest]:
        """The runs that the sensors request."""
        requests: list[dg.RunRequest] = []
        for sensor in ("launch_by_upstream", "poll_jobs"):
            with dg.build_sensor_context(
                instance=instance, definitions=defs, resources=_RESOURCES, cursor=cursors.get(sensor)
            ) as context:
                result = defs.get_repository_def().get_sensor_def(sensor)(context)
            assert isinstance(result, dg.SensorResult)
            cursors[sensor] = result.cursor
            requests += result.run_requests or []
        return requests

    def work() -> list[tuple[str | None, str | None]]:
        """Carry out what the sensors request until nothing is left; the runs of their own."""
        own: list[tuple[str | None, str | None]] = []
        while requests := tick():
            for one in requests:
                found = defs.resolve_job_def(str(one.job_name))
                assert found.execute_in_process(
                    instance=instance,
                    partition_key=one.partition_key,
                    tags=dict(one.tags),
                    resources=None if one.partition_key else _RESOURCES,
                ).success
                own += [(one.job_name, one.partition_key)] if one.partition_key else []
            until(lambda: not poll_jobs(deployment).in_flight, "the jobs have ended")
        return own

    tick()
    for day in DAYS:
        write(tmp_path, day, "a")
        materialize([RAW, names.asset("input_dataset"), names.asset("batch_chunks")], day)
    assert work() == [], "the backfill has prepared each day"
    assert [materialize([REPORT], day) for day in DAYS] == [f"{day}-a0" for day in DAYS]

    write(tmp_path, CHANGED, "b")
    for day in (CHANGED, UNCHANGED):
        materialize([RAW], day)
    assert sorted(work()) == [("reviews_prepare", CHANGED), ("reviews_prepare", UNCHANGED)]
    assert [materialize([REPORT], day) for day in (CHANGED, UNCHANGED)] == [
        f"{CHANGED}-b0",
        f"{UNCHANGED}-a0",
    ]
    rows = {one.dataset: one for one in deployment.ledger.datasets.recent(["reviews"])}
    expected = {**dict.fromkeys(DAYS, (1, 1)), CHANGED: (2, 2)}
    assert {day: (one.version, one.publication) for day, one in rows.items()} == expected
    assert set(instance.get_materialized_partitions(names.asset("results"))) == set(DAYS)
