"""Every setting of a deployment, in one typed object, read once.

What belongs here: where AWS, S3 and Postgres are and how patiently they are used. What a single pipeline does
(model, prompt, limits) stands in `pipeline.py`.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, field_validator

from bedrock_pipeline.errors import ConfigurationError

#: Environment variables that are others' standard, by the setting that they fill.
_STANDARD = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "retry_mode": ("AWS_RETRY_MODE",),
    "max_attempts": ("AWS_MAX_ATTEMPTS",),
    "bucket": ("BUCKET",),
    "role_arn": ("ROLE_ARN",),
}
_PREFIX = "BEDROCK_PIPELINE_"
#: The part of the on-demand price that batch inference saves.
BATCH_DISCOUNT: Final = Decimal("0.5")


class NotConfiguredError(ConfigurationError):
    """There is neither an AWS setting nor a running embedded default."""


class ThrottleBackoff(BaseModel):
    """How long a quota group waits after a refusal: from `base_delay_ms`, times `multiplier` each time, to `max_delay_ms`.

    The names are the original library's. The defaults are longer: each try is a run of Dagster's rather than a
    call in a loop, and throttling can last for hours.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_retries: int = Field(default=10, ge=0, description="throttles after which the wait no longer grows")
    base_delay_ms: int = Field(default=5_000, ge=1)
    max_delay_ms: int = Field(default=900_000, ge=1)
    multiplier: float = Field(default=2.0, ge=1)
    jitter_ratio: float = Field(default=0.25, ge=0, le=1)


class PriceOverride(BaseModel):
    """What a model costs on demand, in US dollars per million tokens, and the part of it that a batch job saves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_per_million: Decimal = Field(ge=0)
    output_per_million: Decimal = Field(default=Decimal(0), ge=0)
    batch_discount: Decimal = Field(default=BATCH_DISCOUNT, ge=0, le=1)


class Settings(BaseModel):
    """Where things are.

    Endpoints and credentials are boto3's own business unless they are given: `AWS_ENDPOINT_URL_*`, profiles,
    instance roles and the rest of its chain all work. The database is libpq's: an empty `database_dsn` means
    `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` and `PGDATABASE`. An empty `output_bucket` means `bucket`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str
    output_bucket: str = ""
    role_arn: str
    region: str = "us-east-1"
    input_prefix: str = "bedrock-jobs/input"
    output_prefix: str = "bedrock-jobs/output"
    work_prefix: str = "bedrock-jobs/work"
    results_prefix: str = "results"
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    s3_endpoint_url: str | None = None
    bedrock_endpoint_url: str | None = None
    bedrock_runtime_endpoint_url: str | None = None
    database_dsn: SecretStr = SecretStr("")
    retry_mode: Literal["standard", "adaptive", "legacy"] = "adaptive"
    max_attempts: int = Field(default=6, ge=1)
    poll_interval_s: int = Field(default=30, ge=1, description="seconds between two looks at Bedrock")
    lease_s: int = Field(default=60, ge=5, description="seconds within which an intended Create may be sent")
    consistency_window_s: int = Field(
        default=1_200,
        ge=0,
        description="seconds after a lease until List is believed: signature life, lag, skew",
    )
    throttle_backoff: ThrottleBackoff = ThrottleBackoff()
    give_up_h: float = Field(
        default=48, gt=0, description="hours of throttles after which a chunk fails, for a person"
    )
    on_demand_concurrency: int = Field(default=8, ge=1, description="on-demand calls of a chunk at once")
    on_demand_calls_per_s: float = Field(
        default=5, gt=0, description="on-demand calls a second of a quota group, over all processes"
    )
    call_timeout_s: int = Field(default=120, ge=1, description="seconds to wait for the answer to a call")
    sweep_s: int = Field(
        default=900, ge=10, description="seconds between two looks at all jobs of the account"
    )

    prices: tuple[tuple[str, PriceOverride], ...] = Field(
        default=(), description="prices of models by id or ARN, where the known ones are wrong or missing"
    )

    @field_validator("prices", mode="before")
    @classmethod
    def _as_pairs(cls, value: object) -> object:
        """Given as a mapping, kept as pairs, since settings are compared and hashed."""
        return tuple(value.items()) if isinstance(value, Mapping) else value

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read `BEDROCK_PIPELINE_<SETTING>`, else the standard variable of the same meaning.

        Raises:
            NotConfiguredError: neither a bucket nor a role is named.
        """
        values: dict[str, object] = {}
        for name in cls.model_fields:
            for variable in (_PREFIX + name.upper(), *_STANDARD.get(name, ())):
                if environment.get(variable):
                    values[name] = environment[variable]
                    break
        if "throttle_backoff" in values:
            values["throttle_backoff"] = ThrottleBackoff.model_validate_json(str(values["throttle_backoff"]))
        if "prices" in values:
            values["prices"] = TypeAdapter(dict[str, PriceOverride]).validate_json(str(values["prices"]))
        if missing := [name for name in ("bucket", "role_arn") if name not in values]:
            raise NotConfiguredError(
                f"No AWS setting: {' and '.join(_STANDARD[name][0] for name in missing)} not set, and no embedded default is running.",
                "Set them (README, 'On AWS'), or start everything on this machine with `bedrock-pipeline dev`.",
            )
        return cls.model_validate(values)

    @property
    def consistency_window(self) -> timedelta:
        """How long after a lease List is believed."""
        return timedelta(seconds=self.consistency_window_s)

    @property
    def give_up_after(self) -> timedelta:
        """How long a chunk may be requeued again and again."""
        return timedelta(hours=self.give_up_h)

    @property
    def lease(self) -> timedelta:
        """How long an intended Create may be sent."""
        return timedelta(seconds=self.lease_s)

    @property
    def call_timeout(self) -> timedelta:
        """How long the answer to an on-demand call is waited for."""
        return timedelta(seconds=self.call_timeout_s)

    @property
    def calls_apart(self) -> timedelta:
        """Time between two on-demand calls of a quota group."""
        return timedelta(seconds=1 / self.on_demand_calls_per_s)

    def uri(self, prefix: str, *parts: str) -> str:
        """An s3:// URI beneath one of the four prefixes."""
        return "/".join((f"s3://{self.bucket}", prefix.strip("/"), *parts))
