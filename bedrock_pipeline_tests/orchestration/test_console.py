"""A job's link to AWS's console, in each partition."""

import pytest

from bedrock_pipeline.models.quota_group import JobPlace, QuotaGroup, base_model
from bedrock_pipeline.orchestration.metadata import console_url

JOB = "bedrock:{region}:123456789012:model-invocation-job/abcdefghijkl"


@pytest.mark.parametrize(
    ("partition", "region", "domain"),
    [
        ("aws", "eu-west-1", "console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
    ],
)
def test_the_link_is_of_the_jobs_partition_and_region(partition: str, region: str, domain: str) -> None:
    arn = f"arn:{partition}:{JOB.format(region=region)}"
    assert console_url(arn) == (
        f"https://{region}.{domain}/bedrock/home?region={region}#/batch-inference/abcdefghijkl"
    )
    assert JobPlace.of(arn) == JobPlace(region, "123456789012")


def test_a_partition_whose_console_is_not_known_has_no_link() -> None:
    assert console_url(f"arn:aws-iso:{JOB.format(region='us-iso-east-1')}") is None


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_arns_of_models_are_read_in_every_partition(partition: str) -> None:
    """So jobs by an ARN in GovCloud use the slots of their model."""
    bare = "anthropic.claude-3-haiku-20240307-v1:0"
    for name in (
        f"arn:{partition}:bedrock:us-gov-west-1::foundation-model/{bare}",
        f"arn:{partition}:bedrock:us-gov-west-1:123456789012:inference-profile/us-gov.{bare}",
        f"us-gov.{bare}",
    ):
        assert base_model(name) == bare
        assert QuotaGroup.of(str(QuotaGroup.named(name, "us-gov-west-1"))).name == bare
