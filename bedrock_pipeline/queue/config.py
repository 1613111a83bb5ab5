"""What a program says about a queue.

What belongs here: every setting of the original library under its name in snake case, ours beside them, and what
follows from them for the rest of the project.
"""

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from bedrock_pipeline.ledger.database import connection_string
from bedrock_pipeline.ledger.queues import QueueRow
from bedrock_pipeline.pipeline import BelowMinimum, FlushPolicy, Pipeline
from bedrock_pipeline.records.limits import Limits, default_limits
from bedrock_pipeline.settings import Settings, ThrottleBackoff

_STORED = {
    *(
        "batch_size",
        "min_batch_size",
        "max_batch_size",
        "max_file_size_bytes",
        "max_job_size_bytes",
        "max_jobs",
    ),
    *("max_bytes", "max_age_s", "on_duplicate", "below_minimum", "max_record_attempts"),
}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


class BedrockQueueConfig(BaseModel):
    """Settings of a queue.

    All about AWS and the database may be left out: then it comes from the environment (README, "On AWS"), and without
    anything there from the embedded stack that runs on this machine (`Settings.resolve`). Keys and passwords are secrets: they are
    given to boto3 and Postgres, and never stored, shown or logged.

    Attributes:
        model_id: a foundation model, inference profile or custom model, by id or ARN.
        job_type: what the jobs are for, such as `retrieval-summary` or `text-embed`; any text.
        name: processes that give the same name share one queue; None takes it from `job_type`.
        batch_size: as soon as so many tasks wait, they become a job.
        max_bytes: as soon as they are so many bytes; None never.
        max_age_s: as soon as one has waited for so long; None never.
        min_batch_size: fewest records of a job that Bedrock takes.
        max_batch_size: most records of a job.
        max_jobs: jobs that Bedrock runs at once; None takes its default.
        on_duplicate: what becomes of a task whose record id is waiting already: refused, or put in its place.
        below_minimum: what becomes of fewer tasks than a job needs, at a flush and in later rounds: asked one by one
            at the on-demand price, padded with filler records, held (they stay in the queue), or an error.
        max_record_attempts: how often a record is asked at the most.
        poll_interval_ms: milliseconds between two polls of Bedrock; left out, `BEDROCK_PIPELINE_POLL_INTERVAL_S` counts.
        enable_auto_polling: whether this process submits, polls and collects by itself, in a thread.
        retry_mode: of the SDK; None takes `AWS_RETRY_MODE`, else adaptive.
        max_attempts: of the SDK; None takes `AWS_MAX_ATTEMPTS`, else 6.
        dsn: a libpq connection string, instead of the `db_` fields.

    Raises:
        pydantic.ValidationError: a field is missing, unknown or not valid, or fields contradict each other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    region: str | None = None
    role_arn: str | None = None

    s3_input_bucket: str | None = None
    s3_input_prefix: str = "bedrock-jobs/input/"
    s3_output_bucket: str | None = None
    s3_output_prefix: str = "bedrock-jobs/output/"

    db_host: str | None = None
    db_port: int | None = Field(default=None, ge=1, le=65535)
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    dsn: SecretStr | None = None

    model_id: str = Field(min_length=1, max_length=2048)
    job_type: str = Field(default="queue", min_length=1, max_length=200)
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,39}$")

    batch_size: int = Field(default=100, ge=1)
    min_batch_size: int = Field(default=100, ge=1)
    max_batch_size: int = Field(default=50_000, ge=1)
    max_file_size_bytes: int = Field(default=1_000_000_000, ge=1)
    max_job_size_bytes: int = Field(default=5_000_000_000, ge=1)
    max_jobs: int | None = Field(default=None, ge=1)
    max_bytes: int | None = Field(default=None, ge=1)
    max_age_s: float | None = Field(default=None, gt=0)
    on_duplicate: Literal["refuse", "replace"] = "refuse"
    below_minimum: BelowMinimum = "on_demand"
    max_record_attempts: int = Field(default=3, ge=1, le=20)

    poll_interval_ms: int = Field(default=30_000, ge=1)
    enable_auto_polling: bool = True

    retry_mode: Literal["standard", "adaptive", "legacy"] | None = None
    max_attempts: int | None = Field(default=None, ge=1)
    throttle_backoff: ThrottleBackoff | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.s3_input_bucket is None) != (self.role_arn is None):
            raise ValueError("give both s3_input_bucket and role_arn, or neither")
        if self.s3_output_bucket and not self.s3_input_bucket:
            raise ValueError("s3_output_bucket needs s3_input_bucket")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("give both access_key_id and secret_access_key, or neither")
        if self.dsn and self._database_fields():
            raise ValueError("give either dsn or the db_ fields")
        self.limits  # noqa: B018  # it raises where they contradict each other
        return self

    @property
    def queue_name(self) -> str:
        """The name under which processes share the queue."""
        if self.name:
            return self.name
        return f"q_{_NOT_IN_NAMES.sub('_', self.job_type.lower()).strip('_')}"[:40].rstrip("_")

    @property
    def limits(self) -> Limits:
        """What one job may hold."""
        return Limits(
            min_records=self.min_batch_size,
            max_records=self.max_batch_size,
            max_file_bytes=self.max_file_size_bytes,
            max_job_bytes=self.max_job_size_bytes,
            max_jobs=self.max_jobs or default_limits(self.model_id).max_jobs,
        )

    @property
    def flush_policy(self) -> FlushPolicy:
        """When tasks become jobs without being asked for."""
        return FlushPolicy(batch_size=self.batch_size, max_bytes=self.max_bytes, max_age_s=self.max_age_s)

    def pipeline(self) -> Pipeline:
        """The queue as a pipeline, for `build_definitions`."""
        return Pipeline(
            name=self.queue_name,
            model_id=self.model_id,
            limits=self.limits,
            below_minimum=self.below_minimum,
            max_record_attempts=self.max_record_attempts,
            keep_raw_output=True,
            queue=self.flush_policy,
        )

    def stored(self) -> dict[str, Any]:
        """What the ledger keeps of it, for others that open the queue by its name; no secret is among it."""
        return self.model_dump(mode="json", include=_STORED, exclude_defaults=True)

    @classmethod
    def of(cls, queue: QueueRow) -> Self:
        """A queue as it was opened last, in the deployment of this environment, without a thread of its own."""
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
        """The deployment's settings, with what is given here; a default of this class gives nothing.

        Raises:
            NotConfiguredError: nothing is given, nothing is set, and no embedded stack runs.
            InvalidSettingError: a value cannot be used.
        """
        given = {
            "bucket": self.s3_input_bucket,
            "output_bucket": self.s3_output_bucket,
            "role_arn": self.role_arn,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
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
        """Seconds between two polls: as given here, which may be less than a second, else as the settings say."""
        given = self._given("poll_interval_ms")
        return settings.poll_interval_s if given is None else self.poll_interval_ms / 1000

    def _given(self, name: str) -> Any:
        """The value of a field that was not left to its default; else None."""
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
