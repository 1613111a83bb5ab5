"""When the schedule of a pipeline with `daily=True` launches a day."""

from datetime import time
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DailySchedule(BaseModel):
    """When a day is launched, and how many missed days are: `DagsterOptions(daily=DailySchedule(timezone="Europe/Berlin"))`.

    It is launched at a time of the clock on the wall, also on the days when clocks are changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    timezone: str | None = None
    """Time zone of the days, such as `Europe/Berlin`; None: that of the pipeline's partitions, or UTC."""
    at: time | None = None
    """When the day that has ended is launched; None: a quarter of an hour after its end."""
    catch_up_days: int = Field(default=7, ge=0, le=366)
    """How many missed days are launched too, at their full cost: the last ones between the newest day that was ever launched
    and the day that has ended. They are missed while Dagster, or the schedule, does not run."""

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, value: Any) -> Any:
        if value is not None and value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone of the tz database")
        return value
