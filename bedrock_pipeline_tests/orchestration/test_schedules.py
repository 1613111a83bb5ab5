"""The daily schedule: which day it launches, in any time zone, and which missed days."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator
from dagster_aws.s3 import S3Resource
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline import DagsterOptions, DailySchedule, Pipeline, build_definitions
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.schedules import last_ended, to_launch
from bedrock_pipeline.sources import DeltaTable, IcebergTable, SqlQuery, UpstreamAsset

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
BERLIN, CAIRO, HAVANA = "Europe/Berlin", "Africa/Cairo", "America/Havana"
_RESOURCES = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}


def schedule(partitions: dg.PartitionsDefinition | None = None, **daily: Any) -> dg.ScheduleDefinition:
    options = DagsterOptions(partitions_def=partitions, daily=DailySchedule(**daily))
    pipeline = Pipeline(
        name="p", model_id=CLAUDE, source="{dataset}.jsonl", prompt="{{ a }}", daily=True, dagster=options
    )
    return build_definitions([pipeline]).get_repository_def().get_schedule_def("p_daily")


def tick(
    one: dg.ScheduleDefinition, instance: dg.DagsterInstance, deployment: Deployment, at: datetime
) -> list[str]:
    """The datasets that a tick launches."""
    before = launched(deployment)
    with dg.build_schedule_context(
        instance=instance, resources=_RESOURCES, scheduled_execution_time=at
    ) as context:
        one(context)
    return sorted(launched(deployment) - before)


def launched(deployment: Deployment) -> set[str]:
    return {row.dataset for row in deployment.ledger.datasets.to_launch(["p"], 1000)}


def test_the_day_that_has_ended_is_launched_and_then_each_missed_day_up_to_the_limit(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    one = schedule(catch_up_days=3)
    deployment.ledger.datasets.request("p", "d1", {}, launch=False)
    deployment.ledger.datasets.request("p", "2026-02-30", {}, launch=False)
    assert tick(one, instance, deployment, datetime(2026, 1, 1, 0, 15, tzinfo=UTC)) == ["2025-12-31"]
    assert tick(one, instance, deployment, datetime(2026, 1, 1, 0, 15, tzinfo=UTC)) == []
    assert tick(one, instance, deployment, datetime(2026, 1, 4, 0, 15, tzinfo=UTC)) == [
        "2026-01-01",
        "2026-01-02",
        "2026-01-03",
    ]
    assert tick(one, instance, deployment, datetime(2026, 3, 1, 0, 15, tzinfo=UTC)) == [
        "2026-02-25",
        "2026-02-26",
        "2026-02-27",
        "2026-02-28",
    ]


def test_days_are_the_partitions_in_their_time_zone(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    days = dg.DailyPartitionsDefinition(
        start_date="2026-03-28", end_date="2026-04-02", timezone=BERLIN, hour_offset=5
    )
    one = schedule(days)
    assert (one.cron_schedule, one.execution_timezone) == ("15 5 * * *", BERLIN)
    found = [
        tick(one, instance, deployment, datetime(2026, month, day, 5, 15, tzinfo=ZoneInfo(BERLIN)))
        for month, day in ((3, 28), (3, 29), (3, 30), (4, 1), (4, 2))
    ]
    assert found == [[], ["2026-03-28"], ["2026-03-29"], ["2026-03-30", "2026-03-31"], []]
    for key in ("2026-03-28", "2026-03-29", "2026-03-31"):
        window = days.time_window_for_partition_key(key)
        for after in (timedelta(minutes=1), timedelta(hours=20)):
            assert last_ended(window.end + after, BERLIN, timedelta(hours=5)).isoformat() == key


def test_days_may_be_time_windows_and_may_be_held_back(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    days = dg.TimeWindowPartitionsDefinition(
        start="2026-03-01", fmt="%Y-%m-%d", cron_schedule="30 4 * * *", end_offset=-2
    )
    one = schedule(days)
    assert one.cron_schedule == "45 4 * * *"
    found = [tick(one, instance, deployment, datetime(2026, 3, day, 4, 45, tzinfo=UTC)) for day in (5, 6, 8)]
    assert found == [["2026-03-02"], ["2026-03-03"], ["2026-03-04", "2026-03-05"]]


@pytest.mark.parametrize("zone", ["UTC", BERLIN, CAIRO, HAVANA, "Australia/Lord_Howe", "America/St_Johns"])
def test_each_day_of_a_year_is_launched_once_also_where_clocks_change_at_midnight(zone: str) -> None:
    one = schedule(timezone=zone)
    assert one.execution_timezone == zone
    begin = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    ticks = []
    for at in cron_string_iterator(begin.timestamp(), str(one.cron_schedule), zone):
        if at.timestamp() > (begin + timedelta(days=366)).timestamp():
            break
        ticks.append(at)
    found = [last_ended(at, zone, timedelta(0)) for at in ticks]
    assert set(found) == {date(2025, 12, 31) + timedelta(days=n) for n in range(366)}
    newest = None
    for day in found:
        assert list(to_launch(day, newest, 7)) == ([day] if day != newest else [])
        newest = day


@given(st.dates(date(2000, 1, 1)), st.integers(0, 400) | st.none(), st.integers(0, 30))
def test_missed_days_are_all_between_the_newest_and_the_last_up_to_the_limit(
    ended: date, ago: int | None, most: int
) -> None:
    newest = None if ago is None else ended - timedelta(days=min(ago, (ended - date.min).days))
    days = list(to_launch(ended, newest, most))
    assert len(days) <= most + 1
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))
    if newest == ended:
        assert days == []
    else:
        assert days[-1] == ended
        assert newest is None or days[0] > newest
        assert newest is not None or days == [ended]
        assert newest is None or len(days) == min((ended - newest).days, most + 1)


@pytest.mark.parametrize(
    ("partitions", "daily", "message"),
    [
        (dg.HourlyPartitionsDefinition(start_date="2026-01-01-00:00"), {}, "not days"),
        (dg.StaticPartitionsDefinition(["eu"]), {}, "not days"),
        (dg.DailyPartitionsDefinition(start_date="20260101", fmt="%Y%m%d"), {}, "not days"),
        (
            dg.DailyPartitionsDefinition(start_date="2026-01-01"),
            {"timezone": BERLIN},
            "its partitions have UTC",
        ),
    ],
)
def test_what_does_not_fit_is_rejected_when_it_is_defined(
    partitions: dg.PartitionsDefinition, daily: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        schedule(partitions, **daily)


def test_an_unknown_time_zone_is_rejected() -> None:
    with pytest.raises(ValueError, match="no time zone of the tz database"):
        DailySchedule(timezone="Europe/Berlyn")


def test_it_runs_unless_an_operator_stops_it_at_the_time_that_is_given() -> None:
    one = schedule(at="06:30")
    assert one.cron_schedule == "30 6 * * *"
    assert one.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    "at", [990, 6, 16.5, "6", "24:00", "06:60", "06:00:30", "06:00+02:00", time(6, tzinfo=UTC), True]
)
def test_a_time_of_day_is_hours_and_minutes_in_quotes(at: object) -> None:
    """YAML reads 16:30 as the number 990, which was a quarter past midnight."""
    with pytest.raises(ValueError, match="in quotes"):
        DailySchedule.model_validate({"at": at})
    assert DailySchedule(at=time(6, 30)).at == DailySchedule.model_validate({"at": "06:30"}).at == time(6, 30)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("rows.jsonl", "its source is the same each day"),
        (["a.jsonl", "b/*.jsonl"], "its source is the same each day"),
        (SqlQuery(query="SELECT 1", dsn_env="DB"), "its source is the same each day"),
        (DeltaTable(location="s3://lake/t"), "its source is the same each day"),
        (IcebergTable(table="a.b"), "its source is the same each day"),
        (None, "it has no source"),
        (["all.jsonl", "{dataset}.jsonl"], None),
        (DeltaTable(location="s3://lake/{dataset}"), None),
        (UpstreamAsset(asset="raw/rows"), None),
        (lambda day: f"{day}.jsonl", None),
    ],
)
def test_a_day_that_would_be_the_same_rows_again_is_an_error_of_the_definition(
    source: Any, problem: str | None
) -> None:
    daily = Pipeline(name="p", model_id=CLAUDE, source=source, prompt="{{ a }}", daily=True)
    if problem is None:
        build_definitions([daily])
        return
    with pytest.raises(ConfigurationError, match=f"'p': daily is set, but {problem}") as raised:
        build_definitions([daily])
    assert "inputs/{dataset}.jsonl" in raised.value.fix
    daily.for_dataset({"source": "late.jsonl"})
