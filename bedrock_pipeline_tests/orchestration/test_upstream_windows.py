"""A week of days is launched once: when all its days that there will ever be are there, and the week exists."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from bedrock_pipeline import DagsterOptions, Pipeline, UpstreamAsset, build_definitions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline_tests.orchestration.test_upstream import tick

#: Monday to Sunday.
WEEK = [f"2026-11-{day}" for day in range(16, 23)]


def days(**options: Any) -> dg.DailyPartitionsDefinition:
    return dg.DailyPartitionsDefinition(**{"start_date": "2026-11-01", **options})


def weeks(**options: Any) -> dg.WeeklyPartitionsDefinition:
    return dg.WeeklyPartitionsDefinition(**{"start_date": "2026-11-02", "day_offset": 1, **options})


@pytest.mark.parametrize(
    ("upstream", "own", "after_h", "expected"),
    [
        (days(), weeks(), 24, "2026-11-23"),
        (days(end_offset=1), weeks(), 12, "2026-11-23"),
        (days(end_offset=1), weeks(end_offset=-1), 12, "2026-11-30"),
        (days(), weeks(end_offset=1), 24, "2026-11-23"),
        (days(end_offset=1), weeks(end_offset=1), 12, "2026-11-22"),
        (days(end_offset=-2), weeks(), 72, "2026-11-25"),
        (days(start_date="2026-11-19", end_offset=1), weeks(), 12, "2026-11-23"),
        (days(end_date="2026-11-20"), weeks(end_offset=1), 24, "2026-11-20"),
        (days(), weeks(end_date="2026-11-22", end_offset=1), 24, None),
    ],
    ids=[
        "both at their ends",
        "days on the day itself",
        "weeks a week later",
        "weeks from their first day on",
        "both before their ends",
        "days two days later",
        "the asset begins in the week",
        "the asset ends in the week",
        "the week never exists",
    ],
)
def test_a_week_is_launched_once_when_its_last_day_is_there_and_it_exists(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    upstream: dg.DailyPartitionsDefinition,
    own: dg.WeeklyPartitionsDefinition,
    after_h: int,
    expected: str | None,
) -> None:
    pipeline = Pipeline(
        name="p",
        model_id="anthropic.claude-3-haiku-20240307-v1:0",
        source=UpstreamAsset(asset="raw"),
        prompt="{{ text }}",
        dagster=DagsterOptions(partitions_def=own),
    )
    asset = dg.AssetSpec("raw", partitions_def=upstream)
    defs = dg.Definitions.merge(dg.Definitions(assets=[asset]), build_definitions([pipeline]))
    cursor, launches = None, []
    first = datetime(2026, 11, 16, tzinfo=UTC)
    made = {first + timedelta(days=number, hours=after_h): day for number, day in enumerate(WEEK)}
    for hour in range(0, 24 * 16, 12):
        now = first + timedelta(hours=hour)
        with freeze_time(now):
            day = made.get(now)
            if day and upstream.has_partition_key(day):
                instance.report_runless_asset_event(dg.AssetMaterialization("raw", partition=day))
            reason, cursor = tick(defs, instance, cursor)
            if "Launched 2026-11-16 of p" in reason:
                launches.append(f"{now:%Y-%m-%d}")
    assert launches == ([expected] if expected else [])
    datasets = [row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 100)]
    assert datasets == (["2026-11-16"] if expected else [])
