"""Every setting of a deployment, in one typed object, and the one way in which it gets its values.

What a single pipeline does (model, prompt, limits) stands in `pipeline.py`.
"""

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Final, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from bedrock_pipeline.aws_options import AwsOptions, bucket_name, key_prefix
from bedrock_pipeline.connection_strings import check_connection_string
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.local.endpoints import read_endpoints
from bedrock_pipeline.local.home import default_home
from bedrock_pipeline.throttle_backoff import ThrottleBackoff

PREFIX: Final = "BEDROCK_PIPELINE_"
#: The part of the on-demand price that batch inference saves.
BATCH_DISCOUNT: Final = Decimal("0.5")
#: AWS documents a discount without a number; users report this one.
FLEX_DISCOUNT: Final = Decimal("0.5")

_ACCOUNT: Final = re.compile(r"^arn:[^:]+:iam::(\d{12}):")
#: Settings that say where something is and with which rights it is used. Where a variable of ours names one of them,
#: the embedded stack is not used: half a deployment on AWS and half on this machine would be of no use.
PLACES: Final = frozenset(
    {
        *(
            "bucket",
            "output_bucket",
            "role_arn",
            "region",
            "access_key_id",
            "secret_access_key",
            "session_token",
        ),
        *("s3_endpoint_url", "bedrock_endpoint_url", "bedrock_runtime_endpoint_url", "database_dsn"),
        "ignore_aws_configuration",
    }
)


class NotConfiguredError(ConfigurationError):
    """There is neither an AWS setting nor a running embedded stack."""


class InvalidSettingError(ConfigurationError):
    """The value of a setting cannot be used; names the variable or argument, never the value."""


class PriceOverride(BaseModel):
    """What a model costs on demand, in US dollars per million tokens, and the part of it that a batch job saves."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    input_per_million: Decimal = Field(ge=0, description="US dollars per million input tokens")
    output_per_million: Decimal = Field(
        default=Decimal(0), ge=0, description="US dollars per million output tokens"
    )
    batch_discount: Decimal = Field(
        default=BATCH_DISCOUNT, ge=0, le=1, description="part of the price that a batch job saves"
    )
    flex_discount: Decimal = Field(
        default=FLEX_DISCOUNT, ge=0, le=1, description="part of the price that the service tier flex saves"
    )


def _or_standard(name: str, *variables: str) -> AliasChoices:
    """The variable of ours, then those that other programs read as well."""
    return AliasChoices(PREFIX + name, *variables)


class Settings(AwsOptions):
    """Where things are, and how patiently they are used. `Settings.resolve` is the way to get one.

    Credentials are boto3's own business unless they are given: variables, profiles, instance roles and the rest of its
    chain all work. The database is libpq's: an empty `database_dsn` means `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`
    and `PGDATABASE`.

    Raises:
        pydantic.ValidationError: a value cannot be used; `resolve` raises `InvalidSettingError` in its place.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        allow_inf_nan=False,
    )

    bucket: str = Field(
        validation_alias=_or_standard("BUCKET", "BUCKET"),
        description="bucket for input, output, work files and results: a name, an ARN or an access point's alias",
    )
    output_bucket: str = Field(default="", description="bucket for Bedrock's output; empty means `bucket`")
    role_arn: str = Field(
        validation_alias=_or_standard("ROLE_ARN", "ROLE_ARN"),
        description="ARN of the role that Bedrock assumes",
    )
    region: str = Field(
        default="us-east-1",
        validation_alias=_or_standard("REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        description="region of Bedrock and S3",
    )
    input_prefix: str = Field(
        default="bedrock-jobs/input", description="prefix in the bucket for the input of jobs"
    )
    output_prefix: str = Field(
        default="bedrock-jobs/output", description="prefix in the bucket for the output of jobs"
    )
    work_prefix: str = Field(default="bedrock-jobs/work", description="prefix in the bucket for work files")
    results_prefix: str = Field(default="results", description="prefix in the bucket for published results")
    s3_endpoint_url: str | None = Field(
        default=None,
        validation_alias=_or_standard("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        description="URL of S3; without one, AWS's own",
    )
    bedrock_endpoint_url: str | None = Field(
        default=None,
        validation_alias=_or_standard("BEDROCK_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL"),
        description="URL of Bedrock's batch jobs; without one, AWS's own",
    )
    bedrock_runtime_endpoint_url: str | None = Field(
        default=None,
        validation_alias=_or_standard(
            "BEDROCK_RUNTIME_ENDPOINT_URL", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"
        ),
        description="URL of Bedrock's on-demand calls; without one, AWS's own",
    )
    ignore_aws_configuration: bool = Field(
        default=False,
        description="whether boto3 gets nothing but the keys, endpoints and region given here: no profile, no "
        "configuration file, no variable; the embedded stack sets it",
    )
    database_dsn: SecretStr = Field(
        default=SecretStr(""),
        description="libpq connection string of the ledger; empty means the PG* variables",
    )
    retry_mode: Literal["standard", "adaptive", "legacy"] = Field(
        default="adaptive",
        validation_alias=_or_standard("RETRY_MODE", "AWS_RETRY_MODE"),
        description="how boto3 retries all calls but Create and on-demand calls",
    )
    max_attempts: int = Field(
        default=6,
        ge=1,
        validation_alias=_or_standard("MAX_ATTEMPTS", "AWS_MAX_ATTEMPTS"),
        description="how often boto3 tries those calls; List, Get and Stop at most 3 times, since each poll tries again",
    )
    poll_interval_s: int = Field(default=30, ge=1, description="seconds between two polls of Bedrock")
    work_items: int = Field(
        default=50, ge=1, description="chunks and datasets that one run of the job `work` takes at most"
    )
    work_s: float = Field(default=300, gt=0, description="seconds after which such a run begins nothing more")
    work_runs: int = Field(
        default=4, ge=1, description="such runs at the same time, where one does not keep up"
    )
    lease_s: int = Field(default=60, ge=5, description="seconds within which an intended Create may be sent")
    consistency_window_s: int = Field(
        default=1_200,
        ge=0,
        description="seconds after a lease until List is believed: signature life, lag, skew",
    )
    throttle_backoff: ThrottleBackoff = Field(
        default=ThrottleBackoff(),
        description="JSON: the wait after throttling (`max_retries`, `base_delay_ms`, `max_delay_ms`, `multiplier`, "
        "`jitter_ratio`)",
    )
    give_up_h: float = Field(
        default=48,
        gt=0,
        description="hours of throttling after which a chunk fails, or of failed preparations after which a launch does; then an operator must decide",
    )
    on_demand_concurrency: int = Field(
        default=8, ge=1, description="on-demand calls of a chunk at the same time"
    )
    on_demand_calls_per_s: float = Field(
        default=5, gt=0, description="on-demand calls per second of a quota group, over all processes"
    )
    call_timeout_s: int = Field(
        default=120, ge=1, description="seconds to wait for the response to an on-demand call"
    )
    sweep_s: int = Field(
        default=900, ge=10, description="seconds between two lists of all jobs of the account"
    )
    prices: tuple[tuple[str, PriceOverride], ...] = Field(
        default=(),
        description="JSON: prices of models by id or ARN, where the known ones are wrong or missing",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the base class's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The constructor takes what it is given and reads nothing; `resolve` reads."""
        return (init_settings,)

    @field_validator("prices", mode="before")
    @classmethod
    def _as_pairs(cls, value: object) -> object:
        """Given as a mapping, kept as pairs, since settings are compared and hashed."""
        return tuple(value.items()) if isinstance(value, Mapping) else value

    @field_validator("bucket", "output_bucket")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return bucket_name(value)

    @field_validator("input_prefix", "output_prefix", "work_prefix", "results_prefix")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        return key_prefix(value)

    @field_validator("database_dsn", mode="after")
    @classmethod
    def _is_a_connection_string(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            check_connection_string(value.get_secret_value())
        return value

    @classmethod
    def variables(cls, name: str) -> tuple[str, ...]:
        """The environment variables of a setting, the one that is taken first in front."""
        alias = cls.model_fields[name].validation_alias
        if isinstance(alias, AliasChoices):
            return tuple(str(choice) for choice in alias.choices)
        return (PREFIX + name.upper(),)

    @classmethod
    def resolve(
        cls,
        overrides: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        partial: bool = False,
    ) -> Self:
        """The settings in force: what is given, else the environment's, else the default.

        Where neither what is given nor a variable of ours names a bucket, a role or another of `PLACES`, and the
        embedded stack runs on this machine, its places are taken, before those that `AWS_*` variables name.

        Args:
            overrides: values by the name of the setting; None, like a name that is left out, gives nothing.
            environment: variables; None means those of this process.
            partial: whether bucket and role may be missing, and are empty then.

        Raises:
            NotConfiguredError: bucket or role is missing, and no embedded stack runs.
            InvalidSettingError: a value cannot be used.
        """
        variables = os.environ if environment is None else environment
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        found, origin = _read(cls, variables)
        values = {**found, **given}
        if not _named_places(given, origin):
            endpoints = read_endpoints(default_home(variables))
            values = {**found, **(endpoints.settings() if endpoints else {}), **given}
        missing = [name for name in ("bucket", "role_arn") if not values.get(name)]
        if missing and not partial:
            raise _not_configured(cls, missing, _named_places(given, origin))
        try:
            return cls.model_validate({**dict.fromkeys(missing, ""), **values})
        except ValidationError as error:
            raise InvalidSettingError(
                _explained(cls, error, {**origin, **{name: name for name in given}})
            ) from None

    @property
    def account(self) -> str | None:
        """The AWS account, which is the role's: no other account can pass it to Bedrock."""
        found = _ACCOUNT.match(self.role_arn)
        return found[1] if found else None

    @property
    def bucket_owners(self) -> dict[str, str]:
        """The accounts that must own the deployment's buckets, as far as they are named."""
        named = {self.output_bucket or self.bucket: self.output_bucket_owner}
        if self.bucket_owner:  # where both name one bucket, this counts
            named[self.bucket] = self.bucket_owner
        return {bucket: owner for bucket, owner in named.items() if bucket and owner}

    @property
    def consistency_window(self) -> timedelta:
        """How long after a lease List is believed."""
        return timedelta(seconds=self.consistency_window_s)

    @property
    def give_up_after(self) -> timedelta:
        """How long a chunk may be requeued again and again, and a launch tried."""
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
        return "/".join((f"s3://{self.bucket}", prefix, *parts))


def _read(cls: type[Settings], variables: Mapping[str, str]) -> tuple[dict[str, object], dict[str, str]]:
    """Values by setting, and the variable that each comes from; an empty variable counts as none."""
    ignored = variables.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    known = {
        name: value
        for name, value in variables.items()
        # Variables are written in capitals: another one is none of ours, though pydantic would read it too.
        if value and name == name.upper() and not (ignored and name.startswith("AWS_ENDPOINT_URL"))
    }
    source = EnvSettingsSource(cls)
    source.env_vars = {name.lower(): value for name, value in known.items()}
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    for name, field in cls.model_fields.items():
        text, _, is_complex = source.get_field_value(field, name)
        if text is None:
            continue
        origin[name] = next(variable for variable in cls.variables(name) if variable in known)
        try:
            values[name] = source.prepare_field_value(name, field, text, is_complex)
        except ValueError:
            raise InvalidSettingError(f"{origin[name]}: is not JSON.") from None
    return values, origin


def _named_places(given: Mapping[str, object], origin: Mapping[str, str]) -> list[str]:
    """The arguments and variables that say where this deployment is.

    `AWS_*` variables say it for every program of the machine, and name neither bucket nor role; a given place other
    than these two, such as a database, may lie beside the embedded stack.
    """
    return [name for name in ("bucket", "role_arn") if given.get(name)] + [
        variable for name, variable in origin.items() if name in PLACES and not variable.startswith("AWS_")
    ]


def _not_configured(cls: type[Settings], missing: list[str], named: list[str]) -> NotConfiguredError:
    absent = " and ".join(cls.variables(name)[-1] for name in missing)
    if named:
        return NotConfiguredError(
            f"Not every AWS setting is there: {' and '.join(named)} is set, but not {absent}.",
            f"Set {absent} too (README, 'On AWS'); or unset what is set to use what runs on this machine.",
        )
    return NotConfiguredError(
        f"No AWS setting: {absent} not set, and no embedded stack is running.",
        "Set them (README, 'On AWS'), or start everything on this machine with `bedrock-pipeline dev`.",
    )


def _explained(cls: type[Settings], error: ValidationError, origin: Mapping[str, str]) -> str:
    """What is wrong with which variable, without any value."""
    names = {variable: name for name in cls.model_fields for variable in cls.variables(name)}
    said = []
    for one in error.errors(include_input=False, include_url=False, include_context=False):
        first, *inner = map(str, one["loc"]) if one["loc"] else ("",)
        name = names.get(first, first)
        where = ".".join((origin.get(name, name), *inner))
        reason = one["msg"].removeprefix("Value error, ")
        said.append(f"{where}: {reason}" if where else reason)
    return "; ".join(said) + "."
