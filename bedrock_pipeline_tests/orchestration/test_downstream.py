"""Results of several datasets as the input of one downstream asset, for partitions of each kind."""

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bedrock_pipeline import DagsterOptions, Pipeline, build_definitions
from bedrock_pipeline.carry_out import carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import WITHOUT_CODE, due_work
from bedrock_pipeline.errors import ConfigurationError, ServiceUnavailableError
from bedrock_pipeline.orchestration import io_managers
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.waiting import PATIENCE_S

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
DAILY = dg.DailyPartitionsDefinition(start_date="2025-06-22", end_date="2025-06-29")
WEEKLY = dg.WeeklyPartitionsDefinition(start_date="2025-06-22", end_date="2025-06-29")
HOURLY = dg.HourlyPartitionsDefinition(start_date="2025-06-24-00:00", end_date="2025-06-25-00:00")
DAY_OF_HOURS = dg.DailyPartitionsDefinition(start_date="2025-06-24", end_date="2025-06-25")
STATIC = dg.StaticPartitionsDefinition(["eu", "us/ca"])
MULTI = dg.MultiPartitionsDefinition({"day": DAILY, "region": STATIC})
DAYS, HOURS = ["2025-06-23", "2025-06-24"], ["2025-06-24-05:00", "2025-06-24-07:00"]
BOTH = ["2025-06-23|eu", "2025-06-24|eu", "2025-06-24|us/ca"]


def published(
    deployment: Deployment, folder: Path, own: dg.PartitionsDefinition | None, keys: list[str]
) -> Pipeline:
    """A pipeline with a published dataset of two rows for each of these partitions."""
    pipeline = Pipeline(
        name="p",
        model_id=CLAUDE,
        source=f"{folder}/{{dataset}}.jsonl",
        record_id="id",
        prompt="{{ text }}",
        dagster=DagsterOptions(partitions_def=own),
    )
    names = Names.of(pipeline)
    for key in keys:
        dataset = names.dataset(key)
        rows = ({"id": f"{key} {n}", "text": f"t{n}"} for n in range(2))
        (folder / f"{dataset}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        deployment.ledger.datasets.request("p", dataset, {}, launch=True)
        take_snapshot(deployment, pipeline, dataset)
        pack_dataset(deployment, pipeline, dataset)
    deadline = time.monotonic() + PATIENCE_S
    while any(row.state != "published" for row in deployment.ledger.datasets.recent(["p"])):
        assert time.monotonic() < deadline
        poll_jobs(deployment)
        for item in due_work(deployment.ledger, [pipeline], limit=50, kinds=WITHOUT_CODE):
            carry_out(deployment, pipeline, item)
    return pipeline


def received(
    instance: dg.DagsterInstance,
    pipeline: Pipeline,
    partitions: dg.PartitionsDefinition | None,
    key: str | None,
    annotation: Any,
) -> tuple[Any, str]:
    """What a downstream asset receives, and the log of its run."""
    names, found = Names.of(pipeline), []

    def compute(results: Any) -> None:
        found.append(results)

    compute.__annotations__["results"] = annotation
    asset = dg.asset(
        name="downstream",
        ins={"results": dg.AssetIn(names.asset("results"))},
        partitions_def=partitions,
    )(compute)
    defs = build_definitions([pipeline], downstream=[asset])
    defs.get_repository_def().load_all_definitions()
    upstream = defs.resolve_assets_def(names.asset("results"))
    done = dg.materialize(
        [defs.resolve_assets_def("downstream"), upstream],
        instance=instance,
        partition_key=key,
        selection=["downstream"],
    )
    return found[0], "\n".join(one.user_message for one in instance.all_logs(done.run_id))


@pytest.mark.parametrize(
    ("own", "there", "partitions", "key", "expected"),
    [
        (DAILY, DAYS, None, None, DAYS),
        (DAILY, DAYS, DAILY, DAYS[1], DAYS[1:]),
        (DAILY, DAYS, WEEKLY, "2025-06-22", DAYS),
        (HOURLY, HOURS, HOURLY, HOURS[1], HOURS[1:]),
        (HOURLY, HOURS, DAY_OF_HOURS, "2025-06-24", HOURS),
        (STATIC, ["eu", "us/ca"], STATIC, "us/ca", ["us/ca"]),
        (STATIC, ["us/ca"], None, None, ["us/ca"]),
        (MULTI, BOTH, MULTI, BOTH[2], BOTH[2:]),
        (MULTI, BOTH, DAILY, "2025-06-24", BOTH[1:]),
        (MULTI, BOTH, STATIC, "eu", BOTH[:2]),
        (None, ["a", "b"], None, None, ["a", "b"]),
    ],
    ids=[
        *(
            "days at once",
            "a day",
            "a week of days",
            "an hour",
            "a day of hours",
            "a region",
            "regions at once",
        ),
        *("a region of a day", "a day of regions", "a region's days", "dynamic at once"),
    ],
)
def test_the_datasets_of_a_partition_are_one_table(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    own: dg.PartitionsDefinition | None,
    there: list[str],
    partitions: dg.PartitionsDefinition | None,
    key: str | None,
    expected: list[str],
) -> None:
    pipeline = published(deployment, tmp_path, own, there)
    if own is None:
        Names.of(pipeline).register(instance, datasets=[*there, "never-launched"])
    table, _ = received(instance, pipeline, partitions, key, pd.DataFrame)
    assert sorted(table["record_id"]) == sorted(f"{one} {n}" for one in expected for n in range(2))


def test_partitions_that_cannot_be_datasets_are_rejected() -> None:
    dynamic = dg.DynamicPartitionsDefinition(name="files")
    for own in (dynamic, dg.MultiPartitionsDefinition({"day": DAILY, "file": dynamic})):
        with pytest.raises(ConfigurationError, match="dynamic"):
            DagsterOptions(partitions_def=own)


def test_each_dataset_alone_and_what_is_not_published_is_named_in_the_log(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    pipeline = published(deployment, tmp_path, DAILY, DAYS)
    tables, log = received(instance, pipeline, None, None, dict[str, pa.Table])
    assert {day: table.num_rows for day, table in tables.items()} == dict.fromkeys(DAYS, 2)
    assert "2025-06-25" in log
    assert "It is left out." in log
    lazy, _ = received(instance, pipeline, None, None, pl.LazyFrame)
    assert lazy.select(pl.len()).collect().item() == 4
    folders, _ = received(instance, pipeline, None, None, list[str])
    assert len(folders) == 2
    assert all(one.startswith("s3://") for one in folders)
    with pytest.raises(dg.Failure, match=r"list\[str\]"):
        received(instance, pipeline, None, None, str)
    one, _ = received(instance, pipeline, DAILY, DAYS[0], str)
    assert one in folders


def test_annotations_that_say_the_same_receive_the_same(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    pipeline = published(deployment, tmp_path, HOURLY, HOURS)
    tables_of: list[Any] = [dict, dict[str, pd.DataFrame], dict[str, pd.DataFrame] | None]
    for annotation in tables_of:
        tables, _ = received(instance, pipeline, None, None, annotation)
        assert {key: len(table) for key, table in tables.items()} == dict.fromkeys(HOURS, 2)
    for annotation in (Any, pd.DataFrame, pd.DataFrame | None):
        assert len(received(instance, pipeline, None, None, annotation)[0]) == 4
    with pytest.raises(dg.Failure, match=r"dict\[str, …\]"):
        received(instance, pipeline, None, None, set)
    defs = build_definitions([pipeline])
    key = Names.of(pipeline).asset("results")
    with pytest.raises(dg.Failure, match="p/results has a dataset in each partition: give a partition_key"):
        defs.load_asset_value(key, instance=instance)
    found = defs.load_asset_value(key, python_type=pd.DataFrame, instance=instance, partition_key=HOURS[0])
    assert isinstance(found, pd.DataFrame)
    assert len(found) == 2


def test_what_cannot_be_read_now_is_not_left_out(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = published(deployment, tmp_path, DAILY, DAYS[:1])

    def unavailable(*_: object) -> str:
        raise ServiceUnavailableError("S3 does not respond.", "Try again.")

    monkeypatch.setattr(io_managers, "open_results", unavailable)
    with pytest.raises(dg.Failure, match="S3 does not respond"):
        received(instance, pipeline, None, None, pd.DataFrame)
