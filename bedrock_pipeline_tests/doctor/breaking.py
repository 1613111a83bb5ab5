"""How each thing is broken.

What belongs here: functions of a `World` that is in order, each of which breaks one thing of it.
"""

from collections.abc import Callable
from typing import Any

from bedrock_pipeline.ledger.ledger import Ledger
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.records.job_names import chunk_uuid, job_name
from bedrock_pipeline_tests.doctor.conftest import World
from bedrock_pipeline_tests.doctor.moto_account import ACCOUNT, BUCKET, HAIKU, PROFILE, ROLE


def environment(**changes: str | None) -> Callable[[World], None]:
    return lambda world: world.changes.update(changes)


def attribute(**changes: Any) -> Callable[[World], None]:
    def by(world: World) -> None:
        for name, value in changes.items():
            setattr(world, name, value)

    return by


def may_not_write(prefix: str) -> Callable[[World], None]:
    return lambda world: world.account.caller_may_not("s3:PutObject", f"arn:aws:s3:::{BUCKET}/{prefix}/*")


def other_region(world: World) -> None:
    world.account.bucket().region_name = "eu-west-1"


def left_upload(world: World) -> None:
    key = "bedrock-jobs/input/c.jsonl"
    upload = world.account.s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    # moto answers each upload with one date, years ago, so that it is older than a day.
    assert world.account.s3.list_multipart_uploads(Bucket=BUCKET)["Uploads"][0]["UploadId"] == upload


def moved_role(world: World) -> None:
    world.account.iam.delete_role_policy(RoleName="bedrock-batch", PolicyName="it")
    world.account.iam.delete_role(RoleName="bedrock-batch")
    world.account.iam.create_role(
        RoleName="bedrock-batch", Path="/teams/", AssumeRolePolicyDocument='{"Statement": []}'
    )


def no_role(world: World) -> None:
    world.changes["ROLE_ARN"] = f"arn:aws:iam::{ACCOUNT}:role/other"


def key(world: World) -> str:
    created = world.account.kms.create_key()["KeyMetadata"]
    world.account.encrypt(created["Arn"])
    made: str = created["KeyId"]
    return made


def disabled_key(world: World) -> None:
    world.account.kms.disable_key(KeyId=key(world))


def missing_key(world: World) -> None:
    world.account.encrypt(f"arn:aws:kms:us-east-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000")


def key_not_for_the_role(world: World) -> None:
    key(world)
    world.account.role_may_not("kms:GenerateDataKey")


def key_of_a_closed_policy(world: World) -> None:
    made = key(world)
    policy = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": "kms:*", '
        f'"Principal": {{"AWS": "arn:aws:iam::{ACCOUNT}:user/caller"}}}}]}}'
    )
    world.account.kms.put_key_policy(KeyId=made, PolicyName="default", Policy=policy)


def quota(name: str, value: float) -> Callable[[World], None]:
    def by(world: World) -> None:
        [found] = [one for one in world.account.quotas if one.startswith(name) and one.endswith("Haiku 4.5")]
        world.account.quotas[found] = value

    return by


def more_jobs_than_the_quota(world: World) -> None:
    with Ledger(world.dsn) as ledger:
        ledger.quota_groups.set_max_jobs(QuotaGroup(HAIKU, "us-east-1", ACCOUNT), 100)


def fault(operation: str, error: str = "AccessDeniedException") -> Callable[[World], None]:
    return lambda world: world.emulator.add_fault("error", operation=operation, error=error, times=1000)


def orphan(world: World) -> None:
    with Ledger(world.dsn) as ledger:
        chunk_id = chunk_uuid(ledger.deployment_id, "no", "such", "chunk")
    world.bedrock.create_model_invocation_job(
        jobName=job_name("reviews", chunk_id),
        roleArn=ROLE,
        modelId=PROFILE,
        inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://bedrock-pipeline/none.jsonl"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bedrock-pipeline/none/"}},
    )


def other_schema(world: World) -> None:
    with Ledger(world.dsn) as ledger:
        ledger.database.execute("DELETE FROM bedrock_pipeline.migrations")


def no_rights(world: World) -> None:
    with Ledger(world.dsn) as ledger:
        ledger.database.execute("DROP ROLE IF EXISTS poor")
        ledger.database.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    words = [word for word in world.dsn.split(" ") if not word.startswith(("user=", "password="))]
    world.changes["BEDROCK_PIPELINE_DATABASE_DSN"] = " ".join([*words, "user=poor", "password=poor"])


def in_a_vpc(world: World, subnet: str, group: str) -> None:
    world.changes |= {
        "BEDROCK_PIPELINE_SUBNET_IDS": subnet,
        "BEDROCK_PIPELINE_SECURITY_GROUP_IDS": group,
    }


def vpc(world: World, *blocks: str) -> list[tuple[str, str, str]]:
    """VPCs, each with a subnet and a security group."""
    ec2, made = world.account.ec2, []
    for block in blocks:
        one = ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=one, CidrBlock=block)["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName=f"g{block[:4]}", Description="g", VpcId=one)["GroupId"]
        made.append((one, subnet, group))
    return made


def vpc_without_endpoint(world: World) -> None:
    [(_, subnet, group)] = vpc(world, "10.1.0.0/24")
    in_a_vpc(world, subnet, group)


def two_vpcs(world: World) -> None:
    [(_, subnet, _), (_, _, group)] = vpc(world, "10.1.0.0/24", "10.2.0.0/24")
    in_a_vpc(world, subnet, group)
