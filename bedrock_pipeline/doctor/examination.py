"""What is examined: the settings, and the readers that ask AWS, Postgres and Dagster about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from bedrock_pipeline.aws.account import AwsAccount, Identity
from bedrock_pipeline.aws.bucket import Bucket
from bedrock_pipeline.aws.model_access import ModelAccess
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.doctor.dagster import DagsterFacts
from bedrock_pipeline.job_options import settings_of_jobs
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.settings import Settings


@dataclass(frozen=True)
class Network:
    """The VPC in which jobs reach S3, by its subnets and security groups."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]


@dataclass
class Examination:
    """One deployment, and the pipeline that is examined with it.

    Attributes:
        pipeline: None where only the deployment is examined.
        read_dagster: reads Dagster's instance; None where this process has none.
    """

    deployment: Deployment
    pipeline: BasePipeline | None = None
    read_dagster: Callable[[], DagsterFacts] | None = None
    account: AwsAccount = field(init=False)
    models: ModelAccess = field(init=False)

    def __post_init__(self) -> None:
        options, name = (self.pipeline.job_options, self.pipeline.name) if self.pipeline else (None, "")
        self._settings = settings_of_jobs(self.deployment.settings, options, name)
        self.account, self.models = AwsAccount(self.settings), ModelAccess(self.settings)

    @property
    def settings(self) -> Settings:
        """The deployment's settings, with the options of the pipeline's jobs."""
        return self._settings

    @property
    def network(self) -> Network | None:
        """Of the jobs; None where they use none."""
        settings = self.settings
        return Network(settings.subnet_ids, settings.security_group_ids) if settings.subnet_ids else None

    @property
    def embedded(self) -> bool:
        """Whether these are the places of the embedded stack, which has neither accounts nor permissions."""
        return self.settings.ignore_aws_configuration

    @property
    def partition(self) -> str:
        """AWS's partition, as the role's ARN has it: `aws`, `aws-cn`, `aws-us-gov`."""
        return self.settings.role_arn.split(":")[1] if self.settings.role_arn.startswith("arn:") else "aws"

    @cached_property
    def identity(self) -> Identity:
        """Whose credentials are used.

        Raises:
            AwsError: there are none, or they are not valid.
        """
        return self.account.identity()

    @cached_property
    def principal(self) -> str | None:
        """The ARN of the user or role whose policies apply to the caller; None for others, such as the root user.

        Raises:
            AwsError: the role may not be read.
        """
        kind, _, name = self.identity.arn.split(":", 5)[5].partition("/")
        if kind == "assumed-role":  # its ARN lacks the path of the role
            return self.account.role(name.split("/")[0]).arn
        return self.identity.arn if kind in ("user", "role") else None

    @cached_property
    def buckets(self) -> tuple[Bucket, ...]:
        """The bucket, and the one for Bedrock's output where that is another."""
        names = dict.fromkeys(filter(None, (self.settings.bucket, self.settings.output_bucket)))
        return tuple(Bucket(self.settings, name) for name in names)

    def bucket_arn(self, name: str, *parts: str) -> str:
        """The ARN of a bucket, or of what is beneath a prefix of it; an access point has one already."""
        if name.startswith("arn:"):
            return "/".join((name, "object", *parts)) if parts else name
        return "/".join((f"arn:{self.partition}:s3:::{name}", *parts))
