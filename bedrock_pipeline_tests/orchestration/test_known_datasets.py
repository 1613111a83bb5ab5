"""A Dagster whose storage is new gets what the ledger knows: partitions, and materializations of what is there."""

import json
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster_aws.s3 import S3Resource

from bedrock_pipeline import DagsterOptions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.orchestration import Names, build_definitions
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
DAILY = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_date="2026-12-01")
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}
_STEPS = ("input_dataset", "batch_chunks", "results")


def definitions(folder: Path, partitions: dg.PartitionsDefinition | None) -> dg.Definitions:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(120)))
    pipeline = Pipeline(
        name="p",
        model_id=CLAUDE,
        source=str(path),
        record_id="id",
        prompt="{{ text }}",
        dagster=DagsterOptions(partitions_def=partitions),
    )
    names = Names.of(pipeline)

    @dg.asset(ins={"results": dg.AssetIn(names.asset("results"))}, partitions_def=names.datasets)
    def counted(results: pd.DataFrame) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"rows": len(results)})

    return build_definitions([pipeline], downstream=[counted])


@pytest.fixture(params=[None, DAILY], ids=["dynamic", "daily"])
def defs(request: pytest.FixtureRequest, tmp_path: Path) -> dg.Definitions:
    return definitions(tmp_path, request.param)


@pytest.fixture
def published(deployment: Deployment, defs: dg.Definitions) -> Deployment:
    """A ledger with one published dataset, one that is only packed, and one that is only launched."""
    with dg.DagsterInstance.ephemeral() as instance:
        for dataset in ("2026-11-23", "2026-11-24"):
            Names("p").register(instance, datasets=[dataset])
            prepare = defs.resolve_job_def("p_prepare")
            assert prepare.execute_in_process(instance=instance, partition_key=dataset).success
            if dataset == "2026-11-23":
                while "2026-11-23" not in instance.get_materialized_partitions(Names("p").asset("results")):
                    tick(defs, instance, None)
                    assert (
                        defs.resolve_job_def("work")
                        .execute_in_process(instance=instance, resources=_RESOURCES)
                        .success
                    )
    deployment.ledger.datasets.request("p", "2026-11-25", {}, launch=True)
    deployment.ledger.datasets.request("p", "not-a-day", {}, launch=False)
    return deployment


def tick(
    defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None
) -> tuple[Sequence[dg.AssetMaterialization], str | None]:
    """The materializations that a tick reports, which Dagster has afterwards, as the daemon would see to."""
    with dg.build_sensor_context(
        instance=instance, definitions=defs, resources=_RESOURCES, cursor=cursor
    ) as context:
        result = defs.get_repository_def().get_sensor_def("poll_jobs")(context)
    assert isinstance(result, dg.SensorResult)
    found = [one for one in result.asset_events if isinstance(one, dg.AssetMaterialization)]
    for one in found:
        instance.report_runless_asset_event(one)
    return found, result.cursor


def there(instance: dg.DagsterInstance) -> dict[str, set[str]]:
    return {step: set(instance.get_materialized_partitions(Names("p").asset(step))) for step in _STEPS}


def test_a_new_storage_gets_the_datasets_and_their_results(
    published: Deployment, defs: dg.Definitions
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        reported, cursor = tick(defs, instance, None)
        prepared = {"2026-11-23", "2026-11-24"}
        assert there(instance) == {
            "input_dataset": prepared,
            "batch_chunks": prepared,
            "results": {"2026-11-23"},
        }
        if isinstance(
            defs.resolve_asset_graph().get(Names("p").asset("results")).partitions_def, DAILY.__class__
        ):
            assert instance.get_dynamic_partitions("p_datasets") == []
        else:
            assert {"2026-11-25", "not-a-day"} <= set(instance.get_dynamic_partitions("p_datasets"))
        [results] = [one for one in reported if one.asset_key.path[-1] == "results"]
        row = published.ledger.datasets.ensure("p", "2026-11-23")
        assert results.metadata["dagster/uri"].value == row.results_uri
        assert results.metadata["dagster/partition_row_count"].value == 120
        assert float(str(results.metadata["cost_usd"].value)) > 0
        assert (results.tags or {})["dagster/data_version"] == "v1-1"

        done = dg.materialize(
            [
                defs.resolve_assets_def("counted"),
                defs.resolve_assets_def(Names("p").asset("results")),
            ],
            instance=instance,
            partition_key="2026-11-23",
            selection=["counted"],
        )
        [counted] = done.asset_materializations_for_node("counted")
        assert counted.metadata["rows"].value == 120

        assert tick(defs, instance, cursor)[0] == [], "once"
        instance.wipe_assets([Names("p").asset("results")])
        assert tick(defs, instance, cursor)[0] == [], "what an operator wiped stays wiped"
        assert len(tick(defs, instance, None)[0]) == 1, (
            "after a reset of the cursor what is missing is reported"
        )


def test_many_datasets_are_reported_page_by_page(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedrock_pipeline.orchestration.known_datasets._MOST_DATASETS", 2)
    defs = definitions(tmp_path, None)
    for number in range(5):
        deployment.ledger.datasets.request("p", f"d{number}", {}, launch=False)
    with dg.DagsterInstance.ephemeral() as instance:
        cursor, known = None, []
        for _ in range(4):
            _, cursor = tick(defs, instance, cursor)
            known.append(len(instance.get_dynamic_partitions("p_datasets")))
    assert known == [2, 4, 5, 5]
