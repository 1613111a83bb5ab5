"""All checks, in the order of the report, and what each needs to be allowed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bedrock_pipeline.doctor.account import check_clock, check_credentials, check_region
from bedrock_pipeline.doctor.bucket import (
    check_bucket,
    check_encryption,
    check_neighbours,
    check_owner,
    check_prefixes,
    check_public_access,
    check_uploads,
)
from bedrock_pipeline.doctor.dagster import judge_dagster
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, skipped
from bedrock_pipeline.doctor.jobs import check_jobs
from bedrock_pipeline.doctor.keys import check_keys
from bedrock_pipeline.doctor.model import check_access, check_model
from bedrock_pipeline.doctor.network import check_network
from bedrock_pipeline.doctor.postgres import check_postgres
from bedrock_pipeline.doctor.quotas import check_quotas
from bedrock_pipeline.doctor.role import check_caller, check_pass_role, check_role, check_role_permissions


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: the line that it has in the report where it cannot be done.
        needs: the permissions of AWS that it needs.
        aws_alone: whether the embedded stack has nothing of it.
        unsigned: whether it is done without credentials.
        essential: whether nothing works without what it checks.
    """

    name: str
    run: Callable[[Examination], list[Finding]]
    needs: tuple[str, ...] = ()
    aws_alone: bool = False
    unsigned: bool = False
    essential: bool = False

    @property
    def about(self) -> str:
        """What it checks, in a sentence."""
        return " ".join((self.run.__doc__ or "").split())


def check_dagster(examined: Examination) -> list[Finding]:
    """Versions of Dagster's packages, heartbeat of the daemon, sensors that are on, the queue of runs, the storage."""
    if examined.read_dagster is None:
        return [
            skipped(
                "dagster",
                "Not checked: DAGSTER_HOME is not set, so this process has no Dagster.",
                "Set DAGSTER_HOME as the daemon and the webserver have it.",
            )
        ]
    return judge_dagster(examined.read_dagster())


_SIMULATION: Final = ("iam:SimulatePrincipalPolicy", "iam:GetRole")
CREDENTIALS: Final = Check(
    "credentials", check_credentials, ("sts:GetCallerIdentity",), aws_alone=True, essential=True
)
CHECKS: Final = (
    CREDENTIALS,
    Check("region", check_region, aws_alone=True, unsigned=True),
    Check("clock", check_clock, ("s3:ListBucket",)),
    Check("bucket", check_bucket, ("s3:ListBucket",), essential=True),
    Check("bucket owner", check_owner, ("s3:ListBucket",), aws_alone=True),
    Check("bucket encryption", check_encryption, ("s3:GetEncryptionConfiguration",), aws_alone=True),
    Check("bucket public access", check_public_access, ("s3:GetBucketPublicAccessBlock",), aws_alone=True),
    Check(
        "bucket prefixes",
        check_prefixes,
        ("s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    ),
    Check("bucket neighbours", check_neighbours, ("s3:ListBucket",)),
    Check(
        "bucket uploads",
        check_uploads,
        ("s3:ListBucketMultipartUploads", "s3:GetLifecycleConfiguration"),
        aws_alone=True,
    ),
    Check("role", check_role, ("iam:GetRole",), aws_alone=True),
    Check("role permissions", check_role_permissions, _SIMULATION, aws_alone=True),
    Check("iam:PassRole", check_pass_role, _SIMULATION, aws_alone=True),
    Check("caller permissions", check_caller, _SIMULATION, aws_alone=True),
    Check("kms", check_keys, ("kms:DescribeKey", "kms:GetKeyPolicy", *_SIMULATION), aws_alone=True),
    Check(
        "vpc",
        check_network,
        ("ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeVpcEndpoints"),
        aws_alone=True,
    ),
    Check(
        "model",
        check_model,
        ("bedrock:GetFoundationModel", "bedrock:GetInferenceProfile", "bedrock:ListInferenceProfiles"),
    ),
    Check("model access", check_access, ("bedrock:GetFoundationModelAvailability",)),
    Check(
        "quotas",
        check_quotas,
        (
            "servicequotas:ListServiceQuotas",
            "servicequotas:ListAWSDefaultServiceQuotas",
            "bedrock:GetFoundationModel",
        ),
        aws_alone=True,
    ),
    Check("jobs", check_jobs, ("bedrock:ListModelInvocationJobs",), essential=True),
    Check("postgres", check_postgres, unsigned=True, essential=True),
    Check("dagster", check_dagster, unsigned=True),
)
