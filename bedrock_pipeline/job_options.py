"""What a pipeline's jobs have of the account, in place of what the deployment's settings say.

What belongs here: the options, and the settings that are in force with them. Their rules are those of the settings.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.settings import Settings


class JobOptions(BaseModel):
    """Options of a pipeline's jobs; each means what the setting of its name does, which applies where it is not given.

    Attributes:
        role_arn: role that Bedrock assumes, of the deployment's account.
        output_bucket: bucket for Bedrock's output.
        output_bucket_owner: account that must own it.
        bucket_owner: account that must own the bucket of the input.
        output_kms_key_id: KMS key that Bedrock encrypts the output with.
        subnet_ids: subnets of the VPC that jobs use; with `security_group_ids`.
        security_group_ids: security groups in that VPC.
        job_name_prefix: what the names of jobs begin with.

    Raises:
        pydantic.ValidationError: an option breaks a rule of its setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    role_arn: str | None = None
    output_bucket: str | None = None
    output_bucket_owner: str | None = None
    bucket_owner: str | None = None
    output_kms_key_id: str | None = None
    subnet_ids: tuple[str, ...] | None = None
    security_group_ids: tuple[str, ...] | None = None
    job_name_prefix: str | None = None

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        try:
            Settings.model_validate({"bucket": "", "role_arn": "", **self._given()})
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            said = (".".join((*map(str, one["loc"]), ""))[:-1] + f" {_plain(one['msg'])}" for one in problems)
            raise ValueError("; ".join(text.strip() for text in said)) from None
        return self

    def _given(self) -> dict[str, object]:
        return self.model_dump(exclude_none=True)

    def over(self, settings: Settings, pipeline: str) -> Settings:
        """The settings that are in force for the jobs of a pipeline.

        Args:
            settings: the deployment's.
            pipeline: its name, for the error.

        Raises:
            ConfigurationError: the role is of another account, whose jobs this deployment cannot look up.
        """
        given = self._given()
        if self.output_bucket and not self.output_bucket_owner:
            given["output_bucket_owner"] = ""  # the deployment's is of its own bucket
        # Validated again: a bucket's ARN is kept as its name.
        found = Settings.model_validate({**dict(settings), **given})
        if self.role_arn and found.account != settings.account:
            raise ConfigurationError(
                f"Pipeline {pipeline!r}: job_options.role_arn is of another account than the deployment's role.",
                "Give a role of the same account, or use a deployment of its own.",
            )
        return found


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").rstrip(".")


def settings_of_jobs(settings: Settings, options: JobOptions | None, pipeline: str) -> Settings:
    """The settings that are in force for the jobs of a pipeline; the deployment's own without options."""
    return options.over(settings, pipeline) if options else settings
