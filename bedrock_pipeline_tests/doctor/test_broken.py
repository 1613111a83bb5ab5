"""Each thing that can be wrong with a deployment, broken alone: `doctor` finds it, says what it means, and what fixes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bedrock_pipeline.doctor.finding import Level
from bedrock_pipeline_tests.doctor.breaking import (
    attribute,
    disabled_key,
    environment,
    fault,
    in_a_vpc,
    key_not_for_the_role,
    key_of_a_closed_policy,
    left_upload,
    may_not_write,
    missing_key,
    more_jobs_than_the_quota,
    moved_role,
    no_rights,
    no_role,
    orphan,
    other_region,
    other_schema,
    quota,
    two_vpcs,
    vpc_without_endpoint,
)
from bedrock_pipeline_tests.doctor.conftest import World
from bedrock_pipeline_tests.doctor.moto_account import (
    ACCOUNT,
    BUCKET,
    HAIKU,
    JOBS,
    MODEL_ARN,
    PROFILE,
    PROFILE_ARN,
    ROLE,
)


@dataclass(frozen=True)
class Broken:
    """One thing that is broken, and what is to be said about it."""

    by: Callable[[World], Any]
    check: str
    level: str
    found: str
    fix: str


PUBLIC = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": False,
    "RestrictPublicBuckets": True,
}
HAIKU_3 = "anthropic.claude-3-haiku-20240307-v1:0"
OTHER_ACCOUNT = {"StringEquals": {"aws:SourceAccount": "999999999999"}}
OTHER_REGION = {
    "StringEquals": {"aws:SourceAccount": ACCOUNT},
    "ArnLike": {"aws:SourceArn": JOBS.replace("us-east-1", "eu-west-1")},
}

CASES = {
    "no credentials": Broken(
        environment(AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None),
        *("credentials", "fail", "There are no AWS credentials", "aws configure sso"),
    ),
    "a key that AWS does not know": Broken(
        environment(AWS_ACCESS_KEY_ID="AKIAAAAAAAAAAAAAAAAA"),
        *("credentials", "fail", "AWS rejects the credentials", "aws configure list"),
    ),
    "a role of another account": Broken(
        environment(ROLE_ARN="arn:aws:iam::999999999999:role/bedrock-batch"),
        *("credentials", "fail", "are of account 123456789012, the role is of 999999999999", "ROLE_ARN"),
    ),
    "a region that does not exist": Broken(
        environment(AWS_REGION="us-nowhere-1"), *("region", "warn", "Bedrock in 'us-nowhere-1'", "AWS_REGION")
    ),
    "a clock that is 10 minutes late": Broken(
        attribute(late_s=600.0), *("clock", "fail", "seconds behind AWS", "NTP")
    ),
    "a clock that is 2 minutes fast": Broken(
        attribute(late_s=-120.0), *("clock", "warn", "seconds ahead of AWS", "NTP")
    ),
    "no bucket": Broken(
        environment(BUCKET="no-such-bucket"),
        *("bucket", "fail", "There is no bucket no-such-bucket", "aws s3 mb s3://no-such-bucket"),
    ),
    "a bucket in another region": Broken(
        other_region, *("bucket", "fail", "is in eu-west-1", "AWS_REGION=eu-west-1")
    ),
    "a bucket that may not be listed": Broken(
        lambda world: world.account.caller_may_not("s3:HeadBucket"),  # as moto calls s3:ListBucket here
        *("bucket", "fail", "may not be listed", '"s3:ListBucket"'),
    ),
    "a bucket of another account": Broken(
        lambda world: setattr(world.account.bucket(), "account_id", "999999999999"),
        *("bucket owner", "warn", f"is not owned by account {ACCOUNT}", "name its owner"),
    ),
    "a bucket of another owner than the settings name": Broken(
        environment(BEDROCK_PIPELINE_BUCKET_OWNER="999999999999"),
        *("bucket", "fail", "may not be listed, or is another account's", "s3:ListBucket"),
    ),
    "a caller that may not tag jobs": Broken(
        lambda world: world.account.caller_may_not("bedrock:TagResource"),
        *("caller permissions", "fail", "may not bedrock:TagResource", JOBS),
    ),
    "a role that may not look at a VPC": Broken(
        vpc_without_endpoint,
        *("role permissions", "fail", "may not ec2:DescribeNetworkInterfaces", "ec2:DescribeVpcs"),
    ),
    "a key of the settings that does not exist": Broken(
        environment(BEDROCK_PIPELINE_KMS_KEY_ID="alias/none"),
        *("kms", "fail", "There is no KMS key alias/none", "kms_key_id"),
    ),
    "no default encryption": Broken(
        lambda world: world.account.s3.delete_bucket_encryption(Bucket=BUCKET),
        *("bucket encryption", "warn", "has no default encryption", "aws s3api put-bucket-encryption"),
    ),
    "a lifecycle that may not be read": Broken(
        lambda world: world.account.caller_may_not("s3:GetLifecycleConfiguration"),
        *("bucket lifecycle", "skipped", "may not s3:GetLifecycleConfiguration", "allow"),
    ),
    "public access that is not blocked": Broken(
        lambda world: world.account.s3.delete_public_access_block(Bucket=BUCKET),
        *("bucket public access", "warn", "BlockPublicAcls", "aws s3api put-public-access-block"),
    ),
    "public access that is blocked in part": Broken(
        lambda world: world.account.s3.put_public_access_block(
            Bucket=BUCKET, PublicAccessBlockConfiguration=PUBLIC
        ),
        *(
            "bucket public access",
            "warn",
            "does not have BlockPublicPolicy.",
            "aws s3api put-public-access-block",
        ),
    ),
    "a work prefix that may not be written": Broken(
        may_not_write("bedrock-jobs/work"),
        *("bucket work_prefix", "fail", "AccessDenied", f"{BUCKET}/bedrock-jobs/work/*"),
    ),
    "work files that may not be deleted": Broken(
        lambda world: world.account.caller_may_not("s3:DeleteObject"),
        *("bucket work_prefix", "fail", "Could not delete", "s3:DeleteObject"),
    ),
    "an input prefix that may not be written": Broken(
        may_not_write("bedrock-jobs/input"),
        *("bucket input_prefix", "fail", "AccessDenied", f"{BUCKET}/bedrock-jobs/input/*"),
    ),
    "results that may not be written": Broken(
        may_not_write("results"),
        *("bucket results_prefix", "fail", "AccessDenied", f"{BUCKET}/results/*"),
    ),
    "an upload that was forgotten": Broken(
        left_upload, *("bucket uploads", "warn", "1 uploads in bucket", "AbortIncompleteMultipartUpload")
    ),
    "no rule for uploads": Broken(
        lambda world: world.account.s3.delete_bucket_lifecycle(Bucket=BUCKET),
        *("bucket lifecycle", "warn", "No lifecycle rule", "put-bucket-lifecycle-configuration"),
    ),
    "no role": Broken(no_role, *("role", "fail", "There is no role", "docs/aws.md")),
    "a role with a path": Broken(
        moved_role,
        *("role", "fail", "role/teams/bedrock-batch", f"ROLE_ARN=arn:aws:iam::{ACCOUNT}:role/teams"),
    ),
    "a role that trusts another service": Broken(
        lambda world: world.account.trust(Principal={"Service": "sagemaker.amazonaws.com"}),
        *("role trust", "fail", "does not trust bedrock.amazonaws.com", "update-assume-role-policy"),
    ),
    "a trust policy without conditions": Broken(
        lambda world: world.account.trust(Condition=None),
        *("role trust", "warn", "no condition aws:SourceAccount and no aws:SourceArn", '"aws:SourceAccount"'),
    ),
    "a trust policy for another account": Broken(
        lambda world: world.account.trust(Condition=OTHER_ACCOUNT),
        *("role trust", "fail", "for aws:SourceAccount 999999999999 only", ACCOUNT),
    ),
    "a trust policy for another region": Broken(
        lambda world: world.account.trust(Condition=OTHER_REGION),
        *("role trust", "fail", "for aws:SourceArn arn:aws:bedrock:eu-west-1", "us-east-1"),
    ),
    "a role that may not be read": Broken(
        lambda world: world.account.caller_may_not("iam:GetRole"),
        *("role", "skipped", "may not iam:GetRole", "allow iam:GetRole"),
    ),
    "a role without the input": Broken(
        lambda world: world.account.role_may_not("s3:GetObject"),
        *("role permissions", "fail", "The role may not s3:GetObject", "bedrock-jobs/input/*"),
    ),
    "a role without the output": Broken(
        lambda world: world.account.role_may_not("s3:PutObject"),
        *("role permissions", "fail", "The role may not s3:PutObject", "bedrock-jobs/output/*"),
    ),
    "a role that may not list": Broken(
        lambda world: world.account.role_may_not("s3:ListBucket"),
        *("role permissions", "fail", "The role may not s3:ListBucket", f'"arn:aws:s3:::{BUCKET}"'),
    ),
    "a role without the inference profile": Broken(
        lambda world: world.account.role_may_not("bedrock:InvokeModel", PROFILE_ARN),
        *("role permissions", "fail", "bedrock:InvokeModel on arn:aws:bedrock:us-east-1", PROFILE_ARN),
    ),
    "a role without the model in one region of the profile": Broken(
        lambda world: world.account.role_may_not(
            "bedrock:InvokeModel", MODEL_ARN.replace(":*:", ":us-west-2:")
        ),
        *("role permissions", "fail", "arn:aws:bedrock:us-west-2::foundation-model", "us-west-2"),
    ),
    "a caller that may not pass the role": Broken(
        lambda world: world.account.caller_may_not("iam:PassRole"),
        *("iam:PassRole", "fail", "The caller may not iam:PassRole", ROLE),
    ),
    "a caller that may not create jobs": Broken(
        lambda world: world.account.caller_may_not("bedrock:CreateModelInvocationJob"),
        *("caller permissions", "fail", "may not bedrock:CreateModelInvocationJob", JOBS),
    ),
    "a caller that may not stop jobs": Broken(
        lambda world: world.account.caller_may_not("bedrock:StopModelInvocationJob"),
        *("caller permissions", "fail", "may not bedrock:StopModelInvocationJob", JOBS),
    ),
    "a caller that may not answer small chunks on demand": Broken(
        lambda world: world.account.caller_may_not("bedrock:InvokeModel"),
        *("caller permissions", "fail", "The caller may not bedrock:InvokeModel on", PROFILE_ARN),
    ),
    "a caller that may not simulate": Broken(
        lambda world: world.account.caller_may_not("iam:SimulatePrincipalPolicy"),
        *("role permissions", "skipped", "may not iam:SimulatePrincipalPolicy", "allow"),
    ),
    "a KMS key that is disabled": Broken(disabled_key, *("kms", "fail", "is Disabled", "aws kms enable-key")),
    "a KMS key that does not exist": Broken(missing_key, *("kms", "fail", "There is no KMS key", "correct")),
    "a KMS key that the role may not use": Broken(
        key_not_for_the_role,
        *("kms role", "fail", "The role may not kms:GenerateDataKey", "kms:GenerateDataKey"),
    ),
    "a KMS key whose policy leaves out the role": Broken(
        key_of_a_closed_policy,
        *("kms role", "fail", "The policy of the key does not let", f'"AWS": "{ROLE}"'),
    ),
    "no such subnet": Broken(
        lambda world: in_a_vpc(world, "subnet-0123456789abcdef0", "sg-1"),
        *("vpc", "fail", "subnet-0123456789abcdef0", "Correct the subnets"),
    ),
    "subnets and groups of two VPCs": Broken(two_vpcs, *("vpc", "fail", "of several VPCs", "of one VPC")),
    "a VPC without an endpoint for S3": Broken(
        vpc_without_endpoint,
        *("vpc endpoints", "warn", "has no endpoint for S3", "aws ec2 create-vpc-endpoint"),
    ),
    "a model that does not exist": Broken(
        attribute(pipeline={"model_id": "us.anthropic.claude-haiku-4-5", "check_model": False}),
        *(
            "model",
            "fail",
            "does not have us.anthropic.claude-haiku-4-5",
            "aws bedrock list-inference-profiles",
        ),
    ),
    "a model's own id where a profile is needed": Broken(
        attribute(pipeline={"model_id": HAIKU, "check_model": False}),
        *("model", "fail", "only by INFERENCE_PROFILE", PROFILE),
    ),
    "a legacy model": Broken(
        attribute(pipeline={"model_id": HAIKU_3}),
        *("model lifecycle", "warn", "as legacy", "bedrock-pipeline models"),
    ),
    "a model without batch inference": Broken(
        attribute(pipeline={"model_id": "meta.llama3-8b-instruct-v1:0", "check_model": False}),
        *("model batch", "fail", "batch", "bedrock-pipeline models --batch"),
    ),
    "a model that may not be read": Broken(
        fault("GetInferenceProfile"), *("model", "skipped", "may not bedrock:GetInferenceProfile", "allow")
    ),
    "a quota of fewer records": Broken(
        quota("Records per batch", 1000.0),
        *("quotas max_records", "fail", "is 1,000", "Limits(max_records=1000)"),
    ),
    "a quota of fewer records in a file": Broken(
        quota("Records per input", 1000.0),
        *("quotas max_file_records", "fail", "is 1,000", "request-service-quota-increase"),
    ),
    "a quota of smaller files": Broken(
        quota("Batch inference input", 0.5),
        *("quotas max_file_bytes", "fail", "limit is 1,000,000,000", "max_file_bytes=500000000"),
    ),
    "a higher minimum of records": Broken(
        quota("Minimum", 1000.0), *("quotas min_records", "fail", "is 1,000", "min_records=1000")
    ),
    "more jobs than the quota": Broken(
        more_jobs_than_the_quota,
        *(
            "quotas max_jobs",
            "warn",
            "allows 100 jobs at once",
            f"bedrock-pipeline quota {HAIKU} --max-jobs 20",
        ),
    ),
    "quotas that may not be read": Broken(
        lambda world: world.account.caller_may_not("servicequotas:ListAWSDefaultServiceQuotas"),
        *("quotas", "skipped", "may not servicequotas:ListServiceQuotas", "allow"),
    ),
    "jobs that may not be listed": Broken(
        fault("ListModelInvocationJobs"),
        *("jobs list", "fail", "AccessDenied", "bedrock:ListModelInvocationJobs"),
    ),
    "Bedrock that is not reached": Broken(
        environment(AWS_ENDPOINT_URL_BEDROCK="http://127.0.0.1:9"),
        *("jobs list", "fail", "Could not connect", "Check the region"),
    ),
    "an orphan": Broken(
        orphan, *("jobs orphans", "warn", "unknown to the ledger", "bedrock-pipeline reconcile")
    ),
    "Postgres that is not reached": Broken(
        environment(BEDROCK_PIPELINE_DATABASE_DSN="host=127.0.0.1 port=9 user=u dbname=d"),
        *("postgres", "fail", "Postgres did not respond", "PGHOST"),
    ),
    "a ledger of an earlier release": Broken(
        other_schema, *("postgres schema", "fail", "was not applied", "bedrock-pipeline migrate")
    ),
    "a database role without rights": Broken(
        no_rights, *("postgres rights", "fail", "poor lacks USAGE on schema", "GRANT USAGE ON SCHEMA")
    ),
    "a clock that differs from Postgres's": Broken(
        attribute(late_s=50.0), *("postgres clock", "warn", "seconds ahead of this machine", "NTP")
    ),
    "a daemon that never ran": Broken(
        attribute(beats_ago_s=None), *("dagster daemon", "fail", "No heartbeat at all", "dagster-daemon run")
    ),
    "a daemon that is dead": Broken(
        attribute(beats_ago_s=7200.0),
        *("dagster daemon", "fail", "No heartbeat since 120 minutes", "dagster-daemon run"),
    ),
    "a sensor that is off": Broken(
        attribute(stopped_sensors=("poll_jobs",)),
        *("dagster sensors", "fail", "poll_jobs is off", "dagster sensor start poll_jobs"),
    ),
    "no queue of runs": Broken(
        lambda world: world.dagster.update(
            run_coordinator={"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
            concurrency={},
        ),
        *("dagster run queue", "warn", "without a queue", "deploy/dagster.yaml"),
    ),
    "runs that are not monitored": Broken(
        lambda world: world.dagster.update(run_monitoring={"enabled": False}),
        *("dagster run monitoring", "warn", "not monitored", "run_monitoring.enabled"),
    ),
    "Dagster in SQLite": Broken(
        lambda world: world.facts.clear(), *("dagster storage", "warn", "in SQLite", "deploy/dagster.yaml")
    ),
    "packages of Dagster that do not fit": Broken(
        lambda world: world.facts.update(versions={"dagster": "1.13.27", "dagster-postgres": "0.29.20"}),
        *("dagster versions", "fail", "dagster-postgres 0.29.20", "pip install 'dagster-postgres==0.29.27'"),
    ),
}


def test_nothing_is_wrong_with_a_deployment_that_is_in_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(monkeypatch)
    found = [one for findings in world.examined().values() for one in findings]
    assert [one for one in found if one.level in (Level.FAIL, Level.WARN)] == []
    skipped = {one.check for one in found if one.level is Level.SKIPPED}
    assert skipped == {"kms", "vpc"}  # neither is used


@pytest.mark.parametrize("broken", CASES.values(), ids=CASES.keys())
def test_what_is_broken_is_found_and_explained(
    broken: Broken, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.by(world)
    world.apply(monkeypatch)
    found = world.examined(dagster=broken.check.startswith("dagster")).get(broken.check, [])
    assert found, f"no line {broken.check}"
    hits = [one for one in found if broken.found in one.found and one.level == broken.level]
    assert hits, found
    assert broken.fix in hits[0].fix, hits[0].fix
    assert hits[0].means or hits[0].level is Level.SKIPPED


def test_invoke_model_is_not_asked_of_those_who_make_no_on_demand_calls(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs invoke the model by the service role."""
    world.account.caller_may_not("bedrock:InvokeModel")
    world.pipeline["below_minimum"] = "hold"
    world.apply(monkeypatch)
    [found] = world.examined(dagster=False)["caller permissions"]
    assert found.level is Level.OK
    assert "InvokeModel" not in found.found
