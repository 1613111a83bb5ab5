"""The VPC that jobs are given: whether they reach S3 in it."""

from bedrock_pipeline.aws.account import VpcEndpoint
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, unanswered, warn
from bedrock_pipeline.records.error_codes import ErrorKind


def check_network(examined: Examination) -> list[Finding]:
    """Whether subnets and security groups are of one VPC, and whether S3 is reached from it."""
    network = examined.network
    if network is None:
        return [skipped("vpc", "No VPC is named.")]
    try:
        vpcs = examined.account.vpcs(network.subnets, network.security_groups)
    except AwsError as error:
        code = error.classification.code
        if error.kind is ErrorKind.NOT_FOUND or "NotFound" in code or "Malformed" in code:
            return [
                fail(
                    "vpc",
                    error.what,
                    "Every job is rejected.",
                    "Correct the subnets and security groups of the settings.",
                )
            ]
        return [unanswered("vpc", "ec2:DescribeSubnets and ec2:DescribeSecurityGroups", error)]
    if len(vpcs) != 1:
        return [
            fail(
                "vpc",
                f"The subnets and security groups are of several VPCs: {', '.join(sorted(vpcs))}.",
                "Every job is rejected.",
                "Name subnets and security groups of one VPC.",
            )
        ]
    [vpc] = vpcs
    try:
        endpoints = examined.account.vpc_endpoints(vpc)
    except AwsError as error:
        return [ok("vpc", f"Jobs use {vpc}."), unanswered("vpc endpoints", "ec2:DescribeVpcEndpoints", error)]
    return [ok("vpc", f"Jobs use {vpc}."), judge_endpoints(vpc, examined.settings.region, endpoints)]


def judge_endpoints(vpc: str, region: str, endpoints: list[VpcEndpoint]) -> Finding:
    """Whether S3 is reached from a VPC without the internet."""
    to_s3 = [one for one in endpoints if one.service.endswith(f".{region}.s3")]
    if any(one.state.lower() == "available" for one in to_s3):
        return ok("vpc endpoints", f"{vpc} reaches S3 by an endpoint.")
    state = (
        f"The endpoint of {vpc} for S3 is {to_s3[0].state}." if to_s3 else f"{vpc} has no endpoint for S3."
    )
    return warn(
        "vpc endpoints",
        state,
        "Jobs reach the bucket only where the subnets have another way, such as a NAT gateway.",
        f"aws ec2 create-vpc-endpoint --vpc-id {vpc} --service-name com.amazonaws.{region}.s3",
    )
