"""Assets of Dagster as the input of a pipeline: any kind of value, any kind of partitions, by any IO manager."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pytest
from dagster_aws.s3 import S3Resource

from bedrock_pipeline import DagsterOptions, Pipeline, UpstreamAsset, build_definitions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.orchestration.names import DEPLOYMENT, Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
KEY = dg.AssetKey(["raw", "rows"])
DAILY = dg.DailyPartitionsDefinition(start_date="2026-11-01", end_date="2026-11-30")
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}


class Shelf(dg.IOManager):
    """An IO manager of somebody else: values by asset and partition, and the types that were requested."""

    def __init__(self) -> None:
        self.values: dict[str | None, Any] = {}
        self.wanted: list[Any] = []

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.values[context.asset_partition_key if context.has_asset_partitions else None] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        self.wanted.append(context.dagster_type.typing_type)
        return self.values[context.asset_partition_key if context.has_asset_partitions else None]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def rows(mark: str = "t", count: int = 120) -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [f"{mark}{n}" for n in range(count)], "text": [f"text {n}" for n in range(count)]}
    )


def definitions(
    shelf: Shelf,
    partitions: dg.PartitionsDefinition | None,
    make: Callable[[str | None], Any] = lambda _: rows(),
    own: dg.PartitionsDefinition | None = None,
    **source: Any,
) -> dg.Definitions:
    @dg.asset(key=KEY, partitions_def=partitions, io_manager_key="shelf")
    def upstream(context: dg.AssetExecutionContext) -> Any:
        return make(context.partition_key if partitions else None)

    pipeline = Pipeline(
        name="p",
        model_id=CLAUDE,
        source=UpstreamAsset(asset="raw/rows", **source),
        prompt="{{ text }}",
        record_id="id",
        dagster=DagsterOptions(partitions_def=own),
    )
    return dg.Definitions.merge(
        dg.Definitions(
            assets=[upstream], resources={"shelf": dg.IOManagerDefinition.hardcoded_io_manager(shelf)}
        ),
        build_definitions([pipeline]),
    )


def materialize(defs: dg.Definitions, instance: dg.DagsterInstance, partition: str | None = None) -> None:
    job = defs.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, asset_selection=[KEY], partition_key=partition).success


def prepare(defs: dg.Definitions, instance: dg.DagsterInstance, partition: str) -> None:
    Names("p").register(instance, datasets=[partition])
    job = defs.resolve_job_def("p_prepare")
    assert job.execute_in_process(instance=instance, partition_key=partition).success


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> tuple[str, str | None]:
    with dg.build_sensor_context(
        instance=instance, definitions=defs, resources=_RESOURCES, cursor=cursor
    ) as context:
        result = defs.get_repository_def().get_sensor_def("launch_by_upstream")(context)
    assert isinstance(result, dg.SensorResult)
    assert result.skip_reason is not None
    return str(result.skip_reason.skip_message), result.cursor


def launched(deployment: Deployment) -> set[str]:
    return {row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 100)}


FRAME = rows()
TABLE = pa.Table.from_pandas(FRAME, preserve_index=False)


@pytest.mark.parametrize(
    ("load_as", "value"),
    [
        ("pandas.DataFrame", lambda _: FRAME),
        ("polars.DataFrame", lambda _: pl.DataFrame(TABLE)),
        ("polars.LazyFrame", lambda _: pl.DataFrame(TABLE).lazy()),
        ("pyarrow.Table", lambda _: TABLE),
        ("pyarrow.RecordBatchReader", lambda _: TABLE.to_reader(50)),
        ("pyarrow.dataset.Dataset", lambda _: pa_dataset.dataset(TABLE)),
        ("duckdb.DuckDBPyRelation", lambda _: duckdb.connect().from_arrow(TABLE)),
        (None, lambda _: TABLE.to_pylist()),
        (None, lambda _: {"a": TABLE.slice(0, 60), "b": TABLE.slice(60)}),
    ],
)
def test_values_of_each_kind_make_the_same_dataset(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    shelf: Shelf,
    load_as: str | None,
    value: Callable[[str | None], Any],
) -> None:
    defs = definitions(shelf, None, value, load_as=load_as)
    materialize(defs, instance)
    prepare(defs, instance, "current")
    row = deployment.ledger.datasets.get("p", "current")
    assert row is not None
    assert (row.state, row.snapshot_records) == ("packed", 120)
    if load_as:
        assert f"{shelf.wanted[0].__module__.partition('.')[0]}" == load_as.partition(".")[0]


def test_a_path_is_read_as_files_are(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    FRAME.to_csv(path, index=False)
    defs = definitions(shelf, None, lambda _: str(path), load_as="str")
    materialize(defs, instance)
    prepare(defs, instance, "current")
    row = deployment.ledger.datasets.get("p", "current")
    assert row is not None
    assert row.snapshot_records == 120


def test_a_value_of_another_kind_is_an_error_that_names_its_type(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    defs = definitions(shelf, None, lambda _: 7)
    materialize(defs, instance)
    with pytest.raises(dg.Failure, match=r"'raw/rows' is a builtins\.int"):
        prepare(defs, instance, "current")


STATIC = dg.StaticPartitionsDefinition(["eu", "us/ca"])
MULTI = dg.MultiPartitionsDefinition({"day": DAILY, "region": STATIC})
HOURLY = dg.HourlyPartitionsDefinition(start_date="2026-11-24-00:00", end_date="2026-11-25-00:00")


@pytest.mark.parametrize(
    ("partitions", "upstream", "dataset", "own"),
    [
        (DAILY, "2026-11-24", "2026-11-24", False),
        (DAILY, "2026-11-24", "2026-11-24", True),
        (HOURLY, "2026-11-24-05:00", "2026-11-24-05.x3A.00", False),
        (HOURLY, "2026-11-24-05:00", "2026-11-24-05.x3A.00", True),
        (STATIC, "us/ca", "us.x2F.ca", False),
        (MULTI, "2026-11-24|eu", "2026-11-24.x7C.eu", False),
        (MULTI, "2026-11-24|eu", "2026-11-24.x7C.eu", True),
        (dg.DynamicPartitionsDefinition(name="files"), "a.b", "a.b", False),
    ],
)
def test_a_partition_of_any_kind_is_a_dataset(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    shelf: Shelf,
    partitions: dg.PartitionsDefinition,
    upstream: str,
    dataset: str,
    own: bool,
) -> None:
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        instance.add_dynamic_partitions("files", [upstream])
    defs = definitions(shelf, partitions, own=partitions if own else None)
    defs.get_repository_def().load_all_definitions()
    reason, cursor = tick(defs, instance, None)
    materialize(defs, instance, upstream)
    reason, cursor = tick(defs, instance, cursor)
    assert reason == f"Launched {dataset} of p."
    assert launched(deployment) == {dataset}
    assert tick(defs, instance, cursor)[0] == "No upstream asset was materialized."
    prepare(defs, instance, upstream if own else dataset)
    row = deployment.ledger.datasets.get("p", dataset)
    assert row is not None
    assert row.state == "packed"


def test_a_week_is_made_of_its_days_and_launched_when_all_are_there(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    weekly = dg.WeeklyPartitionsDefinition(start_date="2026-11-01", end_date="2026-11-30")
    defs = definitions(shelf, DAILY, lambda day: rows(f"{day}-", 20), own=weekly)
    _, cursor = tick(defs, instance, None)
    days = [f"2026-11-{day:02}" for day in range(8, 15)]
    for day in days[:-1]:
        materialize(defs, instance, day)
    reason, cursor = tick(defs, instance, cursor)
    assert "Launched" not in reason
    materialize(defs, instance, days[-1])
    reason, cursor = tick(defs, instance, cursor)
    assert reason == "Launched 2026-11-08 of p."
    prepare(defs, instance, "2026-11-08")
    row = deployment.ledger.datasets.get("p", "2026-11-08")
    assert row is not None
    assert row.snapshot_records == 140


def test_a_first_week_that_begins_before_the_upstream_is_made_of_the_days_that_are(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    days = dg.DailyPartitionsDefinition(start_date="2026-11-04", end_date="2026-11-20")
    weekly = dg.WeeklyPartitionsDefinition(start_date="2026-11-01", end_date="2026-11-30")
    defs = definitions(shelf, days, lambda day: rows(f"{day}-", 30), own=weekly)
    _, cursor = tick(defs, instance, None)
    for day in range(4, 8):
        materialize(defs, instance, f"2026-11-{day:02}")
    assert tick(defs, instance, cursor)[0] == "Launched 2026-11-01 of p."
    prepare(defs, instance, "2026-11-01")
    row = deployment.ledger.datasets.get("p", "2026-11-01")
    assert row is not None
    assert row.snapshot_records == 120


def test_an_upstream_that_is_materialized_again_makes_a_new_version_only_if_its_content_changed(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    mark = "a"
    defs = definitions(shelf, DAILY, lambda _: rows(mark))
    day = "2026-11-24"

    def again() -> int:
        materialize(defs, instance, day)
        prepare(defs, instance, day)
        row = deployment.ledger.datasets.get("p", day)
        assert row is not None
        return row.version

    assert again() == 1
    submit_chunk(deployment, "p", f"{day}--00000")
    assert again() == 1
    mark = "b"
    assert again() == 2
    assert poll_jobs(deployment).in_flight, "the job of the first version is followed"


def test_content_that_changed_can_be_an_error(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    mark = "a"
    defs = definitions(shelf, None, lambda _: rows(mark), on_change="error")
    materialize(defs, instance)
    prepare(defs, instance, "current")
    submit_chunk(deployment, "p", "current--00000")
    mark = "b"
    materialize(defs, instance)
    with pytest.raises(dg.Failure, match="new-version"):
        prepare(defs, instance, "current")


def test_what_was_there_before_the_first_tick_is_not_launched(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    defs = definitions(shelf, DAILY)
    materialize(defs, instance, "2026-11-23")
    _, cursor = tick(defs, instance, None)
    reason, _ = tick(defs, instance, cursor)
    assert (reason, launched(deployment)) == ("No upstream asset was materialized.", set())


def test_what_a_run_prepares_itself_is_not_launched_too(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    defs = definitions(shelf, DAILY, own=DAILY)
    _, cursor = tick(defs, instance, None)
    job = defs.resolve_implicit_global_asset_job_def()
    both = [KEY, Names("p").asset("input_dataset")]
    assert job.execute_in_process(instance=instance, asset_selection=both, partition_key="2026-11-23").success
    materialize(defs, instance, "2026-11-24")
    tick(defs, instance, cursor)
    assert launched(deployment) == {"2026-11-24"}


def test_what_a_whole_job_prepares_itself_is_not_launched_too(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    """Its run has no selection."""
    defs = definitions(shelf, DAILY, own=DAILY)
    both = dg.define_asset_job("nightly", selection=[KEY, Names("p").asset("input_dataset")])
    defs = dg.Definitions.merge(defs, dg.Definitions(jobs=[both]))
    _, cursor = tick(defs, instance, None)
    assert (
        defs.resolve_job_def("nightly")
        .execute_in_process(instance=instance, partition_key="2026-11-23")
        .success
    )
    assert "makes no dataset" in tick(defs, instance, cursor)[0]
    assert launched(deployment) == set()


def test_a_partition_that_makes_no_dataset_holds_up_no_other(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    """Its key is too long; the sensor failed at each tick, and launched the others again and again."""
    defs = definitions(shelf, dg.StaticPartitionsDefinition(["long" * 11, "Österreich", "_x"]))
    _, cursor = tick(defs, instance, None)
    for key in ("long" * 11, "Österreich", "_x"):
        materialize(defs, instance, key)
    reason, cursor = tick(defs, instance, cursor)
    assert reason == "Launched q.xC396.sterreich of p, q.x5F.x of p."
    assert launched(deployment) == {"q.xC396.sterreich", "q.x5F.x"}
    assert tick(defs, instance, cursor)[0] == "No upstream asset was materialized."


def test_partitions_of_a_day_and_a_region_follow_from_the_day(
    deployment: Deployment, instance: dg.DagsterInstance, shelf: Shelf
) -> None:
    defs = definitions(shelf, DAILY, own=MULTI)
    _, cursor = tick(defs, instance, None)
    materialize(defs, instance, "2026-11-24")
    tick(defs, instance, cursor)
    assert launched(deployment) == {"2026-11-24.x7C.eu", "2026-11-24.x7C.us.x2F.ca"}


@pytest.mark.parametrize(
    ("upstream", "own", "key"),
    [
        (DAILY, HOURLY, "2026-11-24"),
        (MULTI, DAILY, "2026-11-24|eu"),
        (None, DAILY, None),
        (DAILY, dg.DailyPartitionsDefinition(start_date="2026-11-25"), "2026-11-24"),
    ],
    ids=["hours of a day", "a day of regions", "no partitions", "a later start"],
)
def test_what_is_materialized_for_no_dataset_is_reported(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    shelf: Shelf,
    upstream: dg.PartitionsDefinition | None,
    own: dg.PartitionsDefinition,
    key: str | None,
) -> None:
    defs = definitions(shelf, upstream, own=own)
    _, cursor = tick(defs, instance, None)
    materialize(defs, instance, key)
    assert "makes no dataset" in tick(defs, instance, cursor)[0]
    assert launched(deployment) == set()


def test_lineage_makes_no_dataset_stale(shelf: Shelf) -> None:
    for partitions in (None, DAILY):
        graph = definitions(shelf, partitions).resolve_asset_graph()
        assert KEY in graph.get(Names("p").asset("input_dataset")).parent_keys


def test_without_dagster_the_error_says_what_to_do(deployment: Deployment) -> None:
    from bedrock_pipeline.prepare.take_snapshot import take_snapshot

    pipeline = Pipeline(
        name="p", model_id=CLAUDE, source=UpstreamAsset(asset="raw/rows"), prompt="{{ text }}"
    )
    with pytest.raises(BedrockPipelineError, match="only a run of Dagster can load"):
        take_snapshot(deployment, pipeline, "current")
