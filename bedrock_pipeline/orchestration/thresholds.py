"""What the asset checks of results tolerate."""

from pydantic import BaseModel, ConfigDict, Field


class Thresholds(BaseModel):
    """Above which shares, costs and times the checks of `results` fail. None: the check is left out.

    Shares are of all records of the dataset, from 0 to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    failed: float | None = Field(default=0.05, ge=0, le=1)
    """Share of records that ended with an error."""
    declined: float | None = Field(default=0.05, ge=0, le=1)
    """Share of records whose response the model declined or a filter stopped."""
    cut_off: float | None = Field(default=0.01, ge=0, le=1)
    """Share of records whose response was cut off."""
    rejected: float | None = Field(default=0.01, ge=0, le=1)
    """Share of input rows that were rejected before anything was sent."""
    cost_over_estimate: float | None = Field(default=0.2, ge=0)
    """By which part the cost may exceed the estimate that was made before anything was submitted: 0.2 is 20 %."""
    needs_resolution: bool = True
    """Whether a chunk that needs resolution, or whose submission is in doubt, makes a check fail."""
    published_within_h: float | None = Field(default=None, ge=0)
    """With partitions in time, or `daily=True`: how many hours after the end of a partition its results are late."""
    blocking: bool = False
    """Whether a failed check is an error that keeps downstream assets from being materialized in the same run; otherwise a
    warning."""
