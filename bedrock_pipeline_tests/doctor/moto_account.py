"""An AWS account in moto, with what moto lacks: the simulation of policies, owners of buckets, the quotas of Bedrock.

What belongs here: a server in this process, the deployment that is in order, and the handles by which a test breaks it.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import boto3
import moto.settings
from botocore.config import Config
from moto.core.responses import ActionResult
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.iam.models import iam_backends
from moto.iam.responses import IamResponse
from moto.s3.models import s3_backends
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
from moto.servicequotas.responses import ServiceQuotasResponse

from bedrock_pipeline.local import Endpoints

ACCOUNT: Final = "123456789012"
BUCKET: Final = "prompts"
REGION: Final = "us-east-1"
ROLE: Final = f"arn:aws:iam::{ACCOUNT}:role/bedrock-batch"
HAIKU: Final = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE: Final = f"us.{HAIKU}"
JOBS: Final = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/*"
PROFILE_ARN: Final = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/{PROFILE}"
MODEL_ARN: Final = f"arn:aws:bedrock:*::foundation-model/{HAIKU}"
Statement = dict[str, Any]

TRUST: Final[Statement] = {
    "Effect": "Allow",
    "Principal": {"Service": "bedrock.amazonaws.com"},
    "Action": "sts:AssumeRole",
    "Condition": {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": JOBS},
    },
}
ROLE_MAY: Final = (
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
    {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": f"arn:aws:s3:::{BUCKET}/bedrock-jobs/*",
    },
    {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": [PROFILE_ARN, MODEL_ARN]},
    {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*"},
)
CALLER_MAY: Final = (
    {
        "Effect": "Allow",
        "Action": [
            "s3:*",
            "kms:*",
            "ec2:Describe*",
            "servicequotas:List*",
            "iam:SimulatePrincipalPolicy",
            "iam:GetRole",
        ],
        "Resource": "*",
    },
    {
        "Effect": "Allow",
        "Action": ["bedrock:CreateModelInvocationJob", "bedrock:InvokeModel"],
        "Resource": [JOBS, PROFILE_ARN, MODEL_ARN],
    },
    {
        "Effect": "Allow",
        "Action": ["bedrock:GetModelInvocationJob", "bedrock:StopModelInvocationJob", "bedrock:TagResource"],
        "Resource": JOBS,
    },
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE},
)
#: As Service Quotas names them.
QUOTAS: Final = {
    "Minimum number of records per batch inference job for Claude Haiku 4.5": 100.0,
    "Records per batch inference job for Claude Haiku 4.5": 50_000.0,
    "Records per input file per batch inference job for Claude Haiku 4.5": 50_000.0,
    "Batch inference input file size (in GB) for Claude Haiku 4.5": 1.0,
    "Batch inference job size (in GB) for Claude Haiku 4.5": 5.0,
    "Sum of in-progress and newly submitted batch inference jobs using a base model for Claude Haiku 4.5": 20.0,
    "Records per batch inference job for Claude 3 Haiku": 10.0,
    "On-demand model inference requests per minute for Claude Haiku 4.5": 1.0,
}


class Account:
    """The account in moto, in order until a test breaks it."""

    def __init__(self, clients: Mapping[str, Any], endpoints: Endpoints) -> None:
        self.quotas = dict(QUOTAS)
        self.iam, self.s3, self.kms, self.ec2 = (clients[name] for name in ("iam", "s3", "kms", "ec2"))
        self.s3.create_bucket(Bucket=BUCKET)
        self._encrypt(SSEAlgorithm="AES256")
        self.s3.put_public_access_block(
            Bucket=BUCKET,
            PublicAccessBlockConfiguration={
                "BlockPublicAcls": True,
                "IgnorePublicAcls": True,
                "BlockPublicPolicy": True,
                "RestrictPublicBuckets": True,
            },
        )
        self.s3.put_bucket_lifecycle_configuration(
            Bucket=BUCKET,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "uploads",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    }
                ]
            },
        )
        self.iam.create_role(RoleName="bedrock-batch", AssumeRolePolicyDocument=document(TRUST))
        self.role_may(*ROLE_MAY)
        self.iam.create_user(UserName="caller")
        self.caller_may(*CALLER_MAY)
        self.iam.create_access_key(UserName="caller")
        # The emulator checks signatures by the stack's key, moto by the user's: they are to be one.
        [key] = iam_backends[ACCOUNT]["aws"].get_user("caller").access_keys
        key.access_key_id, key.secret_access_key = endpoints.access_key_id, endpoints.secret_access_key

    def caller_may(self, *statements: Statement) -> None:
        self.iam.put_user_policy(UserName="caller", PolicyName="it", PolicyDocument=document(*statements))

    def caller_may_not(self, action: str, resource: str = "*") -> None:
        denied = {"Effect": "Deny", "Action": action, "Resource": resource}
        self.caller_may(*CALLER_MAY, denied)

    def role_may(self, *statements: Statement) -> None:
        self.iam.put_role_policy(
            RoleName="bedrock-batch", PolicyName="it", PolicyDocument=document(*statements)
        )

    def role_may_not(self, action: str, resource: str = "*") -> None:
        self.role_may(*ROLE_MAY, {"Effect": "Deny", "Action": action, "Resource": resource})

    def trust(self, **changes: Any) -> None:
        """The role's trust policy with changes to its statement; None takes a member away."""
        changed = {name: value for name, value in (TRUST | changes).items() if value is not None}
        self.iam.update_assume_role_policy(RoleName="bedrock-batch", PolicyDocument=document(changed))

    def encrypt(self, key: str) -> None:
        self._encrypt(SSEAlgorithm="aws:kms", KMSMasterKeyID=key)

    def _encrypt(self, **default: str) -> None:
        rule = {"ApplyServerSideEncryptionByDefault": default}
        self.s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})

    def bucket(self) -> Any:
        """Moto's own object, for what no operation can set."""
        return s3_backends[ACCOUNT]["aws"].buckets[BUCKET]


def document(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def administrator(url: str) -> dict[str, Any]:
    """Clients of an administrator, for whom nothing is checked while the deployment is set up."""
    session = boto3.Session(aws_access_key_id="admin", aws_secret_access_key="admin", region_name=REGION)
    style = Config(s3={"addressing_style": "path"})
    return {
        name: session.client(name, endpoint_url=url, config=style) for name in ("iam", "s3", "kms", "ec2")
    }


@contextmanager
def checked() -> Iterator[None]:
    """For the time of the block, moto checks signatures and policies."""
    before = moto.settings.INITIAL_NO_AUTH_ACTION_COUNT
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0.0
    try:
        yield
    finally:
        moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = before


@contextmanager
def served() -> Iterator[str]:
    """Moto's server in this process; its URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def simulate(response: IamResponse) -> ActionResult:
    """SimulatePrincipalPolicy over moto's own users, roles and evaluation of policies."""
    name = response._get_param("PolicySourceArn").rpartition("/")[2]
    backend = response.backend
    if ":user/" in response._get_param("PolicySourceArn"):
        policies = [backend.get_user_policy(name, one) for one in backend.list_user_policies(name)]
    else:
        documents = (backend.get_role_policy(name, one)[1] for one in backend.list_role_policies(name))
        policies = [{"policy_document": one} for one in documents]
    [resource] = response._get_param("ResourceArns")
    results = []
    for action in response._get_param("ActionNames"):
        found = {IAMPolicy(policy).is_action_permitted(action, resource) for policy in policies}
        allowed = PermissionResult.PERMITTED in found and PermissionResult.DENIED not in found
        decision = "allowed" if allowed else "implicitDeny"
        results.append({"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision})
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def quotas_of(account: Account) -> Any:
    """ListServiceQuotas and ListAWSDefaultServiceQuotas of Bedrock."""

    def listed(_: ServiceQuotasResponse) -> str:
        named = enumerate(account.quotas.items())
        return json.dumps(
            {
                "Quotas": [
                    {"QuotaName": name, "QuotaCode": f"L-{number:08}", "Value": value, "Adjustable": True}
                    for number, (name, value) in named
                ]
            }
        )

    return listed


_HEAD = S3Response.head_bucket


def head_bucket(response: S3Response) -> Any:
    """HeadBucket that knows `ExpectedBucketOwner`."""
    expected = response.headers.get("x-amz-expected-bucket-owner")
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(response.bucket_name)
    if expected and bucket and bucket.account_id != expected:
        return 403, {}, ""
    return _HEAD(response)
