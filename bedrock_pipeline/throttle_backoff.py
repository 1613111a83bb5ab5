"""How long a quota group waits after it was throttled: a setting, and a part of a queue's configuration."""

from pydantic import BaseModel, ConfigDict, Field


class ThrottleBackoff(BaseModel):
    """How long a quota group waits after it was throttled.

    From `base_delay_ms`, times `multiplier` each time, to `max_delay_ms`. The names are the original library's. The
    defaults are longer: each try is a run of Dagster's rather than a call in a loop, and throttling can last for hours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    max_retries: int = Field(
        default=10, ge=0, description="throttled tries after which the wait no longer grows"
    )
    base_delay_ms: int = Field(default=5_000, ge=1, description="the first wait, in milliseconds")
    max_delay_ms: int = Field(default=900_000, ge=1, description="the longest wait, in milliseconds")
    multiplier: float = Field(default=2.0, ge=1, description="factor from one wait to the next")
    jitter_ratio: float = Field(
        default=0.25, ge=0, le=1, description="part of a wait by which it varies at random"
    )
