"""The account: whose credentials are used, the region, and this machine's clock against AWS's."""

from datetime import datetime
from typing import Final

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, unanswered, warn
from bedrock_pipeline.records.error_codes import ErrorKind

#: From then on no Create is sent (`submit_chunk`); AWS rejects signatures that are five minutes off.
_REJECTED_S: Final = 240.0
_CLOSE_S: Final = 60.0


def check_credentials(examined: Examination) -> list[Finding]:
    """Whether there are valid credentials, and whether they are of the account of the service role."""
    try:
        identity = examined.identity
    except AwsError as error:
        return [_without_credentials(error)]
    account = examined.settings.account
    if account is not None and identity.account != account:
        return [
            fail(
                "credentials",
                f"The credentials are of account {identity.account}, the role is of {account}.",
                "A role can be passed to Bedrock within its account only: every job is rejected.",
                "Set ROLE_ARN to a role of the account, or AWS_PROFILE to a profile of the role's.",
            )
        ]
    return [ok("credentials", f"Account {identity.account}, {identity.arn}.")]


def _without_credentials(error: AwsError) -> Finding:
    code = error.classification.code
    if "Expired" in code or code in ("TokenRetrievalError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"):
        return fail(
            "credentials",
            f"The credentials have expired ({code}).",
            "Nothing of AWS can be used.",
            "aws sso login",
        )
    if error.kind is ErrorKind.DENIED:
        return fail(
            "credentials",
            f"AWS rejects the credentials ({code}).",
            "Nothing of AWS can be used.",
            "aws configure list",
        )
    if code in ("NoCredentialsError", "PartialCredentialsError"):
        return fail(
            "credentials",
            "There are no AWS credentials.",
            "Nothing of AWS can be used.",
            "Set AWS_PROFILE, run on a machine with a role, or: aws configure sso",
        )
    return fail("credentials", error.what, "Nothing of AWS can be used.", "Check the network and the proxy.")


def check_region(examined: Examination) -> list[Finding]:
    """Whether boto3 knows Bedrock in the region."""
    region, known = examined.settings.region, examined.account.regions("bedrock")
    if region in known:
        return [ok("region", f"Bedrock is in {region}.")]
    return [
        warn(
            "region",
            f"The installed boto3 does not know Bedrock in {region!r}.",
            "The region may be misspelt, or newer than boto3.",
            "Set AWS_REGION, or: pip install --upgrade boto3",
        )
    ]


def check_clock(examined: Examination) -> list[Finding]:
    """This machine's clock against the Date header of an answer of S3."""
    system, [bucket, *_] = examined.deployment.system, examined.buckets
    before = system.now()
    try:
        there = bucket.server_time()
    except AwsError as error:
        return [unanswered("clock", "s3:ListBucket", error)]
    after = system.now()
    if there is None:
        return [skipped("clock", "Not checked: S3 answers without its time.")]
    return [judge_clock(there, before + (after - before) / 2)]


def judge_clock(there: datetime, here: datetime) -> Finding:
    """What a difference between AWS's clock and ours means."""
    off = (here - there).total_seconds()
    found = f"This machine is {abs(off):.0f} seconds {'ahead of' if off > 0 else 'behind'} AWS."
    if abs(off) >= _REJECTED_S:
        return fail(
            "clock",
            found,
            "Nothing is submitted: AWS rejects requests that are signed with such a time.",
            "Set the clock by NTP.",
        )
    if abs(off) >= _CLOSE_S:
        return warn(
            "clock",
            found,
            "From 4 minutes on nothing is submitted, since AWS would reject the signature.",
            "Set the clock by NTP.",
        )
    return ok("clock", "This machine and AWS agree on the time.")
