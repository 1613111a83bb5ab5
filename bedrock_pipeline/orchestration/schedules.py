"""The schedule of a pipeline with `daily=True`: launches the day that has ended, and days that were missed."""

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.daily import DailySchedule
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import options_of
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.sources import DeltaTable, IcebergTable, SqlQuery

_DAY: Final = timedelta(days=1)
_EVERY_DAY: Final = re.compile(r"\d+ \d+ \* \* \*")
#: When a day is launched, after its end.
_AFTER: Final = timedelta(minutes=15)


def daily_schedule(pipeline: Pipeline) -> dg.ScheduleDefinition:
    """Launches the day that has ended and, up to a limit, the days after the newest that the ledger has.

    Only the ledger is written; the sensor `poll_jobs` requests the runs.

    Raises:
        ConfigurationError: the pipeline has partitions that are no days, or another time zone than they; or its input is the
            same each day.
    """
    _differs_each_day(pipeline)
    names, chosen = Names.of(pipeline), options_of(pipeline).daily
    own = _own_days(names)
    zone = _zone(pipeline.name, chosen, own)
    offset = timedelta(hours=own.hour_offset, minutes=own.minute_offset) if own else timedelta(0)
    held_back = _DAY * max(-own.end_offset, 0) if own else timedelta(0)
    at = (datetime.combine(date.min, time()) + offset + _AFTER).time() if chosen.at is None else chosen.at

    @dg.schedule(
        name=f"{pipeline.name}_daily",
        job_name=names.job("prepare"),
        cron_schedule=f"{at.minute} {at.hour} * * *",
        execution_timezone=zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Launches the dataset of the day that has ended ({zone}), and up to {chosen.catch_up_days} missed days.",
    )
    def evaluate(
        context: dg.ScheduleEvaluationContext, bedrock_deployment: DeploymentResource
    ) -> dg.SkipReason:
        ended = last_ended(context.scheduled_execution_time, zone, offset) - held_back
        with bedrock_deployment.open() as opened:
            newest = opened.ledger.versions.newest_day(pipeline.name, until=ended)
            days = [
                day.isoformat()
                for day in to_launch(ended, newest, chosen.catch_up_days)
                if own is None or own.has_partition_key(day.isoformat())
            ]
            for day in days:
                launch = opened.system.new_id()
                opened.ledger.datasets.request(pipeline.name, day, {}, launch=True, launch_id=launch)
        if not days:
            return dg.SkipReason(f"{ended} was launched before, or is no partition of the pipeline.")
        return dg.SkipReason(f"Launched {', '.join(days)}; the sensor poll_jobs requests the runs.")

    return evaluate


def last_ended(now: datetime, zone: str, offset: timedelta) -> date:
    """The last day that has ended, where days of a time zone begin some time after midnight.

    Days are counted by the clock on the wall, so a day of 23 or 25 hours is one day.
    """
    wall = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return (wall - offset).date() - _DAY


def to_launch(ended: date, newest: date | None, most_missed: int) -> Sequence[date]:
    """The days to launch, the oldest first.

    Args:
        ended: the last day that has ended.
        newest: the newest day up to it that was ever launched; None: none was, so that none was missed.
        most_missed: how many days before `ended` are caught up on.
    """
    missed = 0 if newest is None else min((ended - newest).days - 1, most_missed)
    return [] if newest == ended else [ended - _DAY * ago for ago in range(missed, -1, -1)]


def _differs_each_day(pipeline: Pipeline) -> None:
    match pipeline.source:
        case None:
            raise ConfigurationError(
                f"Pipeline {pipeline.name!r}: daily is set, but it has no source, and the schedule names none.",
                "Give it a source in which {dataset} stands for the day, such as inputs/{dataset}.jsonl.",
            )
        case str() as location:
            named = [location]
        case list() as locations:
            named = locations
        case SqlQuery() as query:
            named = [query.query]
        case DeltaTable() as table:
            named = [table.location]
        case IcebergTable() as table:
            named = [table.table]
        case _:  # a function is given the day, an asset has partitions
            return
    if not any("{dataset}" in one for one in named):
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: daily is set, but its source is the same each day, and would be paid for each day.",
            "Write {dataset} where the day stands, such as inputs/{dataset}.jsonl; or, if it changes in place, make the source a "
            "function of the day that returns it.",
        )


def _own_days(names: Names) -> dg.TimeWindowPartitionsDefinition | None:
    own = names.own_partitions
    if own is None:
        return None
    if (
        not isinstance(own, dg.TimeWindowPartitionsDefinition)
        or own.fmt != "%Y-%m-%d"
        or not _EVERY_DAY.fullmatch(own.cron_schedule)
    ):
        raise ConfigurationError(
            f"Pipeline {names.pipeline!r}: daily is set, but its partitions are not days of the form 2026-11-24.",
            "Leave daily out, or give it partitions of a day with keys of this form.",
        )
    return own


def _zone(pipeline: str, chosen: DailySchedule, own: dg.TimeWindowPartitionsDefinition | None) -> str:
    if own and chosen.timezone not in (None, own.timezone):
        raise ConfigurationError(
            f"Pipeline {pipeline!r}: daily has the time zone {chosen.timezone}, but its partitions have {own.timezone}.",
            "Leave the time zone of daily out.",
        )
    return chosen.timezone or (own.timezone if own else "UTC")
