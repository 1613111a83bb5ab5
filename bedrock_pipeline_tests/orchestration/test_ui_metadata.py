"""What Dagster's UI shows of a dataset: lineage of columns, a preview, failures by code, work in flight, lateness."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from bedrock_pipeline import (
    DagsterOptions,
    DailySchedule,
    DeltaTable,
    IcebergTable,
    Pipeline,
    Thresholds,
    UpstreamAsset,
    build_definitions,
)
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.orchestration import Names, lineage, metadata
from bedrock_pipeline.orchestration.freshness import due_partition
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline_tests.waiting import until

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
LONG = "a long text " * 40
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}
HOURLY = dg.HourlyPartitionsDefinition(start_date="2026-11-24-00:00", timezone="Europe/Berlin")


def defined(options: DagsterOptions | None = None, **fields: Any) -> Pipeline:
    given = {"source": "rows.jsonl", "prompt": "{{ text }} for {{ product }}", "record_id": "id", **fields}
    return Pipeline(name="p", model_id=CLAUDE, dagster=options, **given)


def columns(found: dict[str, Any]) -> dict[str, list[str]]:
    deps = found["dagster/column_lineage"].deps_by_column
    return {
        name: [f"{one.asset_key.to_user_string()}.{one.column_name}" for one in by]
        for name, by in deps.items()
    }


def test_columns_of_responses_come_from_those_of_the_prompt_and_carried_ones_from_themselves() -> None:
    upstream = defined(source=UpstreamAsset(asset="raw/rows"), carry=("product",), system="{{ tone }}")
    asked = ["raw/rows.product", "raw/rows.text", "raw/rows.tone"]  # sorted by Dagster
    names = ["record_id", "product", "mood", "status", "output_text", "input_tokens", "job_arn"]
    assert columns(lineage.of_results(upstream, names)) == {
        "record_id": ["raw/rows.id"],
        "product": ["raw/rows.product"],
        "mood": asked,
        "output_text": asked,
    }
    assert columns(lineage.of_snapshot(upstream, ["record_id", "text", "product", "tone"])) == {
        "record_id": ["raw/rows.id"],
        **{name: [f"raw/rows.{name}"] for name in ("text", "product", "tone")},
    }
    of_file = defined()
    assert lineage.of_snapshot(of_file, ["text"]) == {}
    assert columns(lineage.of_results(of_file, ["record_id", "output_text"])) == {
        "record_id": ["p/input_dataset.record_id"],
        "output_text": ["p/input_dataset.product", "p/input_dataset.text"],
    }


@pytest.mark.parametrize(
    ("table", "of_all", "of_one"),
    [
        (None, None, None),
        (IcebergTable(table="nlp.reviews"), "nlp.reviews", "nlp.reviews"),
        (DeltaTable(location="s3://b/{dataset}"), None, "s3://b/d"),
    ],
)
def test_a_table_has_its_name(table: Any, of_all: str | None, of_one: str | None) -> None:
    pipeline = defined(publish_to=table)
    assert metadata.of_destination(pipeline, None).get("dagster/table_name") == of_all
    assert metadata.of_destination(pipeline, "d").get("dagster/table_name") == of_one


def published(
    instance: dg.DagsterInstance, deployment: Deployment, pipeline: Pipeline
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metadata of the results of a dataset, and of the last poll while its job ran."""
    defs, names = build_definitions([pipeline]), Names.of(pipeline)
    names.register(instance, datasets=["d"], chunks=["d--00000"])

    def done(kind: str, key: str) -> None:
        job = defs.resolve_job_def(f"p_{kind}")
        assert job.execute_in_process(instance=instance, partition_key=key).success

    done("prepare", "d")
    done("submit", "d--00000")
    with dg.build_sensor_context(instance=instance, definitions=defs, resources=_RESOURCES) as context:
        result = defs.get_repository_def().get_sensor_def("poll_jobs")(context)
    assert isinstance(result, dg.SensorResult)
    polled = [one for one in result.asset_events if isinstance(one, dg.AssetObservation)]
    until(lambda: not poll_jobs(deployment).in_flight, "the job has ended")
    done("collect", "d--00000")
    done("publish", "d")
    event = instance.get_latest_materialization_event(names.asset("results"))
    assert event is not None
    assert event.asset_materialization is not None
    shown = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    return shown, {name: value.value for one in polled for name, value in one.metadata.items()}


def test_results_show_a_preview_cut_short_and_failures_by_code(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path, control: Control
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = ({"id": f"r{n}", "text": LONG, "product": f"product {n}"} for n in range(120))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    control.add_fault("record_error", record_ids=["r7", "r8"], error_code=400)
    pipeline = defined(source=str(path), carry=("product",))
    shown, polled = published(instance, deployment, pipeline)
    control.clear_faults()

    assert polled["records"] == 120
    assert "d--00000" in polled["changed"]
    by_code = {name: count for name, count in shown.items() if name.startswith("failed: ")}
    assert list(by_code.values()) == [2]
    assert shown["dagster/partition_row_count"] == 120
    assert "output_text" in shown["dagster/column_lineage"].deps_by_column
    preview = shown["preview"] if isinstance(shown["preview"], list) else shown["preview"].records
    assert len(preview) == 5
    assert "d--00000 " in shown["timeline"]
    for one in preview:
        row = one.data
        assert row["product"] == f"product {row['record_id'][1:]}"
        assert row["input: text"] == f"{LONG[:200]}…"
        assert "input: product" not in row, "it is carried"
        assert "job_arn" not in row


def test_sensitive_data_are_not_shown(
    deployment: Deployment, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = ({"id": f"r{n}", "text": "secret words", "product": "p"} for n in range(120))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown, _ = published(
        instance, deployment, defined(DagsterOptions(preview_rows=0), source=str(path), carry=("product",))
    )
    assert "preview" not in shown
    assert "secret" not in str(shown)


def days(**options: Any) -> dict[str, Any]:
    return {"partitions_def": dg.DailyPartitionsDefinition(start_date="2026-11-01", **options)}


@pytest.mark.parametrize(
    ("options", "now", "due"),
    [
        ({}, "2026-11-26T05:59", "2026-11-24"),
        ({}, "2026-11-26T06:00", "2026-11-25"),
        ({"daily": DailySchedule(timezone="Europe/Berlin")}, "2026-11-26T04:59", "2026-11-24"),
        ({"daily": DailySchedule(timezone="Europe/Berlin")}, "2026-11-26T05:00", "2026-11-25"),
        ({"partitions_def": HOURLY}, "2026-11-24T05:30", None),
        ({"partitions_def": HOURLY}, "2026-11-24T06:30", "2026-11-24-00:00"),
        (days(), "2026-11-26T06:00", "2026-11-25"),
        (days(end_offset=1), "2026-11-26T06:00", "2026-11-25"),
        (days(end_offset=-2), "2026-11-26T05:59", "2026-11-22"),
        (days(end_offset=-2), "2026-11-26T06:00", "2026-11-23"),
        (days(end_offset=-2), "2026-11-02T12:00", None),
        (days(end_date="2026-11-10"), "2026-11-26T06:00", "2026-11-09"),
        (days(exclusions=["0 0 * * 0", "0 0 * * 6"]), "2026-11-23T12:00", "2026-11-20"),
    ],
)
def test_the_partition_that_is_due_is_the_newest_that_ended_long_enough_ago(
    options: dict[str, Any], now: str, due: str | None
) -> None:
    found = DagsterOptions(thresholds=Thresholds(published_within_h=6), **options)
    pipeline = defined(found, daily="partitions_def" not in options)
    assert due_partition(pipeline, datetime.fromisoformat(now).replace(tzinfo=UTC)) == due


def test_a_late_partition_fails_a_check_once(deployment: Deployment, instance: dg.DagsterInstance) -> None:
    options = DagsterOptions(thresholds=Thresholds(published_within_h=6))
    defs = build_definitions(
        [
            defined(options, daily=True, source="{dataset}.jsonl"),
            Pipeline(name="q", model_id=CLAUDE, prompt="a"),
        ]
    )

    def evaluated(cursor: str | None) -> tuple[list[dg.AssetCheckEvaluation], str | None]:
        with dg.build_sensor_context(
            instance=instance, definitions=defs, resources=_RESOURCES, cursor=cursor
        ) as context:
            result = defs.get_repository_def().get_sensor_def("reconcile_jobs")(context)
        assert isinstance(result, dg.SensorResult)
        found = [one for one in result.asset_events if isinstance(one, dg.AssetCheckEvaluation)]
        return [one for one in found if one.check_name == "on_time"], result.cursor

    [late], cursor = evaluated(None)
    assert not late.passed
    assert "is not published" in str(late.description)
    assert evaluated(cursor)[0] == []
