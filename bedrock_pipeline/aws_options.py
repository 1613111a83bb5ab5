"""What a company's account asks of calls, uploads and jobs: credentials, keys, owners of buckets, a VPC, tags, names.

What belongs here: these settings of a deployment, and the rules for their values. `settings.Settings` has them all.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from bedrock_pipeline.records.job_tags import check_tags

#: Sources of the patterns: botocore's service model of CreateModelInvocationJob.
_KEY: Final = re.compile(
    r"arn:aws(-[^:]+)?:kms:[a-zA-Z0-9-]*:[0-9]{12}:(key/[a-zA-Z0-9-]{36}|alias/[a-zA-Z0-9-_/]+)"
    r"|[a-zA-Z0-9-]{36}|alias/[a-zA-Z0-9-_/]+"
)
_NETWORK_ID: Final = re.compile(r"[-0-9a-zA-Z]{1,32}")
_NAME_PREFIX: Final = re.compile(r"[a-zA-Z0-9]+(-+[a-zA-Z0-9]+)*")
_BUCKET_ARN: Final = re.compile(r"arn:aws[a-z-]*:s3:::(?P<name>[^/:]+)")
#: The embedded S3 has buckets of shorter names than AWS.
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][-.a-z0-9]{0,62}")
_KEY_PREFIX: Final = re.compile(r"[-!_*'().a-zA-Z0-9]+(/[-!_*'().a-zA-Z0-9]+)*")
#: Beside it, the name of a job has 37 characters of the chunk's and some of the pipeline's.
_MOST_NAME_PREFIX: Final = 15


class AwsOptions(BaseSettings):
    """Options of a deployment for uploads and jobs; without them, AWS's defaults apply."""

    access_key_id: SecretStr | None = Field(
        default=None, description="AWS access key; without one, boto3's chain finds the credentials"
    )
    secret_access_key: SecretStr | None = Field(
        default=None, description="secret of `access_key_id`; the two go together"
    )
    session_token: SecretStr | None = Field(
        default=None,
        description="session token of temporary keys; goes with `access_key_id`, and is not renewed",
    )
    bucket_owner: str = Field(
        default="",
        pattern=r"^(\d{12})?$",
        description="account that must own `bucket`: S3 and Bedrock reject the bucket of any other; empty means any",
    )
    output_bucket_owner: str = Field(
        default="",
        pattern=r"^(\d{12})?$",
        description="account that must own `output_bucket`; empty means any",
    )
    kms_key_id: str = Field(
        default="",
        description="KMS key that every upload is encrypted with (id, ARN or `alias/NAME`); empty means what the bucket does",
    )
    output_kms_key_id: str = Field(
        default="",
        description="KMS key that Bedrock encrypts the output of jobs with; empty means `kms_key_id`",
    )
    bucket_key: bool = Field(
        default=True,
        description="whether uploads under `kms_key_id` use an S3 bucket key, which saves requests to KMS",
    )
    subnet_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        max_length=16,
        description="subnets of the VPC that jobs read and write S3 through, separated by commas",
    )
    security_group_ids: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), max_length=5, description="security groups in that VPC, separated by commas"
    )
    job_tags: tuple[tuple[str, str], ...] = Field(
        default=(), description='JSON: tags of every job, such as `{"cost-center": "1234"}`'
    )
    default_job_tags: bool = Field(
        default=True,
        description="whether jobs are tagged with pipeline, dataset, version and deployment too",
    )
    job_name_prefix: str = Field(
        default="",
        max_length=_MOST_NAME_PREFIX,
        description="what the names of jobs begin with: letters, digits, and hyphens between them",
    )

    @field_validator("session_token")
    @classmethod
    def _or_none(cls, value: SecretStr | None) -> SecretStr | None:
        """The embedded stack sets it to nothing."""
        return value if value and value.get_secret_value() else None

    @field_validator("kms_key_id", "output_kms_key_id")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        if value and not _KEY.fullmatch(value):
            raise ValueError("is no KMS key: give its id, its ARN or alias/NAME")
        return value

    @field_validator("subnet_ids", "security_group_ids", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Given as text in a variable."""
        return tuple(re.findall(r"[^\s,]+", value)) if isinstance(value, str) else value

    @field_validator("subnet_ids", "security_group_ids")
    @classmethod
    def _are_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_NETWORK_ID.fullmatch, value)):
            raise ValueError("has an element that is no id of AWS: give ids separated by commas")
        return value

    @field_validator("job_tags", mode="before")
    @classmethod
    def _as_tags(cls, value: Any) -> object:
        """Given as a mapping, kept as pairs, since settings are compared and hashed."""
        return tuple(value.items()) if isinstance(value, Mapping) else value

    @field_validator("job_tags")
    @classmethod
    def _are_tags(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        check_tags(dict(value))
        return value

    @field_validator("job_name_prefix")
    @classmethod
    def _begins_a_name(cls, value: str) -> str:
        if value and not _NAME_PREFIX.fullmatch(value):
            raise ValueError("has letters, digits, and hyphens between them")
        return value

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key: give both, or neither")
        if self.session_token and not self.access_key_id:
            raise ValueError("session_token: goes with access_key_id and secret_access_key")
        return self

    @model_validator(mode="after")
    def _has_both_of_the_vpc(self) -> Self:
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            raise ValueError("subnet_ids and security_group_ids: give both, or neither")
        return self


def bucket_name(value: str) -> str:
    """The name in the ARN of a bucket; any other name as it is, such as the alias of an access point.

    Source: the pattern of `s3Uri` in botocore's service model of CreateModelInvocationJob, which has no place for an ARN;
    an alias can be given wherever S3 takes a bucket for its objects ("Access point aliases", Amazon S3 user guide).

    Raises:
        ValueError: it is the ARN of an access point, a URI, or no name at all.
    """
    if found := _BUCKET_ARN.fullmatch(value):
        return found["name"]
    if value.startswith("arn:") and "accesspoint" in value:
        raise ValueError(
            "is the ARN of an access point, which jobs do not take; give the access point's alias (NAME-…-s3alias)"
        )
    if "/" in value or value.startswith("arn:"):
        raise ValueError(
            "is no bucket's name: give the name alone (my-bucket), without s3:// and without a prefix; "
            "prefixes are settings of their own (input_prefix, output_prefix, work_prefix, results_prefix)"
        )
    if value and not _BUCKET_NAME.fullmatch(value):
        raise ValueError("is no bucket's name: it has lower-case letters, digits, hyphens and dots")
    return value


def key_prefix(value: str) -> str:
    """A prefix of keys, without slashes at its ends.

    Source: as for `bucket_name`; the URIs of a job's input and output have no other characters.

    Raises:
        ValueError: it is a URI, empty, or a job's URI cannot have it.
    """
    if "://" in value:
        raise ValueError(
            "is a URI: give the prefix alone (bedrock-jobs/input); the bucket is a setting of its own"
        )
    prefix = value.strip("/")
    if not _KEY_PREFIX.fullmatch(prefix):
        raise ValueError("is no prefix: it has letters, digits and -_.!*'() between single slashes")
    return prefix
