"""What the service does with a job's tags, key, owners and VPC, and in the other partitions of AWS."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline.emulator.models.catalog import arns_invoked, partition_of
from bedrock_pipeline.emulator.objects import Head, MemoryObjects
from bedrock_pipeline.emulator.roles import key_arn
from bedrock_pipeline_tests.emulator.client import BUCKET, request
from bedrock_pipeline_tests.emulator.test_strictness import S3, allow
from bedrock_pipeline_tests.emulator.world import World

KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
VPC = {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}
ENI = (
    *("ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs", "ec2:DescribeDhcpOptions", "ec2:DescribeSubnets"),
    *("ec2:DescribeSecurityGroups", "ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission"),
    *("ec2:DeleteNetworkInterface", "ec2:DeleteNetworkInterfacePermission", "ec2:CreateTags"),
)


def _tag(key: str) -> dict[str, str]:
    return {"key": key, "value": "v"}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([_tag(str(n)) for n in range(50)], None),
        ([_tag(str(n)) for n in range(51)], "exceeds the limit of 50"),
        ([_tag("a"), _tag("a")], "Duplicate tag keys"),
        ([_tag("AWS:a")], "reserved"),
        ([_tag("a b")], None),
        ([_tag("é")], "regular expression"),
    ],
)
def test_tags_are_what_aws_takes(tags: list[dict[str, str]], said: str | None) -> None:
    create = World().bedrock.create_model_invocation_job
    if said is None:
        assert create(**request("in/a.jsonl", tags=tags))["jobArn"]
        return
    with pytest.raises(ClientError, match=said):
        create(**request("in/a.jsonl", tags=tags))


def _with(side: str, **members: str) -> dict[str, Any]:
    if side == "input":
        place = {"s3Uri": f"s3://{BUCKET}/in/a.jsonl", **members}
        return {"inputDataConfig": {"s3InputDataConfig": place}}
    return {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/", **members}}}


@pytest.mark.parametrize(
    ("actions", "changes", "said"),
    [
        ((), _with("input", s3BucketOwner="123456789012"), None),
        ((), _with("input", s3BucketOwner="999999999999"), "Could not validate GetObject permissions"),
        ((), _with("output", s3BucketOwner="123456789012"), None),
        ((), _with("output", s3BucketOwner="999999999999"), "Could not validate PutObject permissions"),
        (ENI, {"vpcConfig": VPC}, None),
        (ENI[1:], {"vpcConfig": VPC}, ENI[0]),
        (ENI[:-1], {"vpcConfig": VPC}, ENI[-1]),
    ],
)
def test_a_job_fails_in_validation_without_its_bucket_or_its_network(
    actions: tuple[str, ...], changes: dict[str, Any], said: str | None
) -> None:
    world = World()
    world.emulator.roles.set(
        request("x")["roleArn"], {"Statement": [S3, allow("bedrock:InvokeModel", *actions)]}
    )
    job = world.job(**changes)
    assert job["status"] == ("Failed" if said else "Completed")
    assert said is None or said in job["message"]


@pytest.mark.parametrize(
    ("actions", "status"), [(("kms:Decrypt",), "Completed"), (("kms:GenerateDataKey",), "Failed")]
)
def test_an_input_under_a_key_needs_the_key(
    monkeypatch: pytest.MonkeyPatch, actions: tuple[str, ...], status: str
) -> None:
    """The message is about GetObject, as AWS's page warns."""
    head = MemoryObjects.head
    monkeypatch.setattr(MemoryObjects, "head", lambda *place: Head(head(*place).size, KEY))
    world = World()
    statements = [S3, allow("bedrock:InvokeModel"), allow(*actions, resource=KEY)]
    world.emulator.roles.set(request("x")["roleArn"], {"Statement": statements})
    job = world.job()
    assert job["status"] == status
    assert status == "Completed" or "Could not validate GetObject permissions" in job["message"]


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("eu-central-1", "aws"),
        ("us-gov-west-1", "aws-us-gov"),
        ("cn-north-1", "aws-cn"),
        ("nowhere", "aws"),
    ],
)
def test_arns_are_of_the_regions_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition
    assert key_arn("alias/a", region, "123456789012") == f"arn:{partition}:kms:{region}:123456789012:alias/a"
    assert {arn.split(":")[1] for arn in arns_invoked("amazon.nova-lite-v1:0", region, "123456789012")} == {
        partition
    }
