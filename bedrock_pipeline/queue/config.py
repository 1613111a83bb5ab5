"""The configuration of a queue: every setting of the original library under its name in snake case, and ours."""

import re
from hashlib import blake2b
from typing import Any, Literal, Self

from pydantic import Field, SecretStr

from bedrock_pipeline.job_options import JobOptions
from bedrock_pipeline.ledger.database import connection_string
from bedrock_pipeline.ledger.queues import QueueRow
from bedrock_pipeline.pipeline import BelowMinimum
from bedrock_pipeline.queue_pipeline import FlushPolicy, QueuePipeline
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.throttle_backoff import ThrottleBackoff
from bedrock_pipeline.user_model import UserModel

#: What the ledger keeps for other processes that open the queue by its name.
_STORED = {
    *("batch_size", "min_batch_size", "max_batch_size", "max_jobs"),
    *("max_file_size_bytes", "max_job_size_bytes", "max_bytes", "max_age_s"),
    *("below_minimum", "on_demand_tier", "max_record_attempts"),
    *("check_model", "job_tags", "job_options", "accept_incomplete", "retry_incomplete", "max_tokens_factor"),
}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
#: Job types that a name tells apart but for capitals and for what separates words.
_KEPT_IN_NAMES = re.compile(r"[a-zA-Z0-9]+([ _-][a-zA-Z0-9]+)*")
_LONGEST_NAME = 40


class BedrockQueueConfig(UserModel):
    """Settings of a queue.

    Everything about AWS and the database is optional: it comes from the environment (docs/aws.md), and if nothing is set
    there, from the embedded stack on this machine. Keys and passwords are secrets: they are passed to boto3 and Postgres
    and never stored, shown or logged.

    Raises:
        ConfigurationError: names each field that is wrong.
    """

    access_key_id: SecretStr | None = None
    """AWS access key; None: boto3's chain."""
    secret_access_key: SecretStr | None = None
    """Secret of the access key; goes with `access_key_id`."""
    session_token: SecretStr | None = None
    """Session token of temporary keys; goes with `access_key_id`. Keys that are given are not renewed: where the queue
    outlives them, leave the three out, and boto3's chain renews its own."""
    region: str | None = None
    """AWS region; None: the environment's."""
    role_arn: str | None = None
    """Role that Bedrock assumes to read and write S3; goes with `s3_input_bucket`."""

    s3_input_bucket: str | None = None
    """Bucket of inputs and results; None: the environment's."""
    s3_input_prefix: str = "bedrock-jobs/input/"
    """Prefix of the jobs' input in the bucket."""
    s3_output_bucket: str | None = None
    """Bucket of Bedrock's output; None: `s3_input_bucket`."""
    s3_output_prefix: str = "bedrock-jobs/output/"
    """Prefix of Bedrock's output."""

    db_host: str | None = None
    """Postgres host; None: `PGHOST`."""
    db_port: int | None = Field(default=None, ge=1, le=65535)
    """Postgres port; None: `PGPORT`."""
    db_name: str | None = None
    """Postgres database; None: `PGDATABASE`."""
    db_user: str | None = None
    """Postgres user; None: `PGUSER`."""
    db_password: SecretStr | None = None
    """Postgres password; None: `PGPASSWORD`."""
    dsn: SecretStr | None = None
    """A libpq connection string instead of the `db_` fields."""

    model_id: str = Field(min_length=1, max_length=2048)
    """Id or ARN of a foundation model, inference profile or custom model. One model per queue."""
    job_type: str = Field(default="queue", min_length=1, max_length=200)
    """What the jobs are for, such as `retrieval-summary` or `text-embed`; any text."""
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,39}$")
    """Processes that use the same name share one queue: `[a-z][a-z0-9_]{0,39}`; None: derived from `job_type`."""

    batch_size: int = Field(default=100, ge=1)
    """Flush when this many tasks wait."""
    min_batch_size: int = Field(default=100, ge=1)
    """The fewest records of a job that Bedrock accepts."""
    max_batch_size: int = Field(default=50_000, ge=1)
    """The most records of a job."""
    max_file_size_bytes: int = Field(default=1_000_000_000, ge=1)
    """The most bytes of an input file."""
    max_job_size_bytes: int = Field(default=5_000_000_000, ge=1)
    """The most bytes of a job's input."""
    max_jobs: int | None = Field(default=None, ge=1)
    """Jobs of this queue at once, within the limit of the model's quota group; None: that limit alone."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Flush when the waiting tasks have this many bytes; None: at no size."""
    max_age_s: float | None = Field(default=None, gt=0)
    """Flush when a task has waited this many seconds; None: at no age."""
    on_duplicate: Literal["reject", "replace"] = "reject"
    """What happens to a task of this process whose record id waits already: rejected (`reject`), or it replaces the waiting
    task (`replace`)."""
    below_minimum: BelowMinimum = "on_demand"
    """What happens to fewer tasks than a job needs, in a flush or a retry round: sent one by one at the on-demand price
    (`on_demand`), filled up with filler records that are paid for (`pad`), kept in the queue (`hold`), or an error
    (`fail`)."""
    on_demand_tier: Literal["default", "flex"] = "default"
    """The service tier of on-demand calls: `flex` is cheaper and slower, for models that have it (docs/costs.md)."""
    job_tags: dict[str, str] = Field(default_factory=dict)
    """Tags of the queue's jobs, beside those of the deployment (docs/aws.md)."""
    job_options: JobOptions | None = None
    """Role, output bucket, owners, output KMS key, VPC and name prefix of its jobs, in place of the deployment's (docs/aws.md)."""
    max_record_attempts: int = Field(default=3, ge=1, le=20)
    """How often a record is sent automatically."""
    check_model: bool = True
    """Whether an error is raised for a model that the built-in catalog excludes (`bedrock-pipeline models`)."""
    accept_incomplete: tuple[Incomplete, ...] = ()
    """Kinds of incomplete responses that count as answers all the same (docs/records.md)."""
    retry_incomplete: tuple[Incomplete, ...] = ()
    """Kinds of incomplete responses whose tasks are sent again."""
    max_tokens_factor: float = Field(default=1.0, ge=1, le=100)
    """By what the limit of tokens is multiplied each time that a response which was cut off is sent again."""

    poll_interval_ms: int = Field(default=30_000, ge=1)
    """Milliseconds between two polls of Bedrock by this process; if it is not given, the setting `poll_interval_s`
    applies."""
    enable_auto_polling: bool = True
    """Whether a thread of this process submits, polls and collects; `False` in programs beside Dagster."""

    retry_mode: Literal["standard", "adaptive", "legacy"] | None = None
    """Retry mode of the AWS SDK; None: `AWS_RETRY_MODE`, otherwise adaptive."""
    max_attempts: int | None = Field(default=None, ge=1)
    """Attempts of the AWS SDK; None: `AWS_MAX_ATTEMPTS`, otherwise 6."""
    throttle_backoff: ThrottleBackoff | None = None
    """Delays after Bedrock has throttled a submission; None: the environment's."""

    def _check(self) -> None:
        if (self.s3_input_bucket is None) != (self.role_arn is None):
            raise ValueError("give both s3_input_bucket and role_arn, or neither")
        if self.s3_output_bucket and not self.s3_input_bucket:
            raise ValueError("s3_output_bucket needs s3_input_bucket")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give both access_key_id and secret_access_key, or neither")
        if self.session_token and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        if self.dsn and self._database_fields():
            raise ValueError("give either dsn or the db_ fields")
        self.limits  # noqa: B018  # raises if they contradict each other

    @property
    def queue_name(self) -> str:
        """The name under which processes share the queue.

        One that is derived has a digest of the job type if that has characters which names do not have, or is too long.
        """
        if self.name:
            return self.name
        name = f"q_{_NOT_IN_NAMES.sub('_', self.job_type.lower()).strip('_')}"
        if _KEPT_IN_NAMES.fullmatch(self.job_type) and len(name) <= _LONGEST_NAME:
            return name
        digest = blake2b(self.job_type.encode(), digest_size=4).hexdigest()
        return f"{name[: _LONGEST_NAME - 1 - len(digest)].rstrip('_')}_{digest}"

    @property
    def limits(self) -> Limits:
        """The limits of one job."""
        return Limits(
            min_records=self.min_batch_size,
            max_records=self.max_batch_size,
            max_file_bytes=self.max_file_size_bytes,
            max_job_bytes=self.max_job_size_bytes,
            max_jobs=self.max_jobs,
        )

    @property
    def flush_policy(self) -> FlushPolicy:
        """When tasks become jobs without a call of `flush`."""
        return FlushPolicy(batch_size=self.batch_size, max_bytes=self.max_bytes, max_age_s=self.max_age_s)

    def pipeline(self) -> QueuePipeline:
        """The queue as a pipeline, for `build_definitions`."""
        return QueuePipeline(
            name=self.queue_name,
            model_id=self.model_id,
            limits=self.limits,
            below_minimum=self.below_minimum,
            on_demand_tier=self.on_demand_tier,
            job_tags=self.job_tags,
            job_options=self.job_options,
            max_record_attempts=self.max_record_attempts,
            check_model=self.check_model,
            accept_incomplete=self.accept_incomplete,
            retry_incomplete=self.retry_incomplete,
            max_tokens_factor=self.max_tokens_factor,
            keep_raw_output=True,
            flush_policy=self.flush_policy,
        )

    def stored(self) -> dict[str, Any]:
        """What the ledger keeps for other processes that open the queue by its name; no secrets."""
        return self.model_dump(mode="json", include=_STORED, exclude_defaults=True)

    @classmethod
    def of(cls, queue: QueueRow) -> Self:
        """A queue as it was last opened, in the deployment of this environment, without automatic polling."""
        return cls.model_validate(
            {
                "name": queue.queue,
                "model_id": queue.model_id,
                "job_type": queue.job_type,
                "enable_auto_polling": False,
                **queue.settings,
            }
        )

    def settings(self) -> Settings:
        """The deployment's settings: those of the environment or the embedded stack, overridden by this configuration.

        Raises:
            NotConfiguredError: neither the configuration nor the environment names a bucket and a role, and no embedded
                stack runs.
            InvalidSettingError: the value of a setting is invalid.
        """
        given = {
            "bucket": self.s3_input_bucket,
            "output_bucket": self.s3_output_bucket,
            "role_arn": self.role_arn,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": self.session_token,
            "input_prefix": self._given("s3_input_prefix"),
            "output_prefix": self._given("s3_output_prefix"),
            "retry_mode": self.retry_mode,
            "max_attempts": self.max_attempts,
            "throttle_backoff": self.throttle_backoff,
            "poll_interval_s": self._given("poll_interval_ms") and max(1, self.poll_interval_ms // 1000),
            "database_dsn": self.dsn or connection_string(**self._database_fields()),
        }
        return Settings.resolve(given)

    def poll_s(self, settings: Settings) -> float:
        """Seconds between two polls: `poll_interval_ms`, which may be less than a second, otherwise the setting's."""
        given = self._given("poll_interval_ms")
        return settings.poll_interval_s if given is None else self.poll_interval_ms / 1000

    def _given(self, name: str) -> Any:
        """The value of a field that was given; None if it has its default."""
        return getattr(self, name) if name in self.model_fields_set else None

    def _database_fields(self) -> dict[str, Any]:
        fields = {
            "host": self.db_host,
            "port": self.db_port,
            "dbname": self.db_name,
            "user": self.db_user,
            "password": self.db_password.get_secret_value() if self.db_password else None,
        }
        return {name: value for name, value in fields.items() if value is not None}
