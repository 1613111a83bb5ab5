"""The policies of `deploy/iam`, and what the calls of boto3 need of IAM.

What belongs here: reading and filling in the files, and the actions and resources of a call. Sources: "Actions, resources, and
condition keys" of Amazon Bedrock and of Amazon S3, Service Authorization Reference; "Required permissions for Amazon S3 API
operations", Amazon S3 user guide; "Required permissions for batch inference", Amazon Bedrock user guide.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from bedrock_pipeline.emulator.models.catalog import arns_invoked, partition_of
from bedrock_pipeline.emulator.roles import Role

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "iam"
#: The policies of those who call AWS, by what they are for; `kms` goes with any of them.
CALLERS: Final = ("prepare", "submit", "collect", "on-demand", "estimate", "doctor")
#: The actions on an object that an operation needs, and none other.
_ON_AN_OBJECT: Final = {
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}
_ON_A_BUCKET: Final = {
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}
_ON_A_JOB: Final = ("GetModelInvocationJob", "StopModelInvocationJob")
_ON_ANYTHING: Final = (
    "ListModelInvocationJobs",
    "ListInferenceProfiles",
    "GetFoundationModel",
    "GetFoundationModelAvailability",
    "GetInferenceProfile",
)
#: The prefix of actions of services that `doctor` alone calls, by boto3's name of the service.
OF_DOCTOR: Final = {
    "sts": "sts",
    "iam": "iam",
    "kms": "kms",
    "ec2": "ec2",
    "service-quotas": "servicequotas",
}
_INVOKING: Final = ("InvokeModel", "Converse")


@dataclass(frozen=True, slots=True)
class Need:
    """An action on a resource that must be allowed."""

    action: str
    resource: str


#: Parameters of a call whose own do not matter.
_ANY: Final = {
    "Bucket": "b",
    "Key": "k",
    "CopySource": "b/k",
    "modelId": "amazon.nova-lite-v1:0",
    "jobIdentifier": "j",
    "roleArn": "r",
    "tags": ["t"],
}


class UnknownCallError(Exception):
    """Nothing here says what a call needs."""


def policy(name: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A file of `deploy/iam`, filled in as `envsubst` does it; what has no value is left as it is.

    Args:
        name: without its ending.
        values: by variable.
    """
    text = (FOLDER / f"{name}.json").read_text()
    filled = re.sub(r"\$\{(\w+)\}", lambda found: (values or {}).get(found[1], found[0]), text)
    document: dict[str, Any] = json.loads(filled)
    return document


def allowed_actions(document: Mapping[str, Any]) -> set[str]:
    """The actions that a policy allows somewhere."""
    found: set[str] = set()
    for statement in document["Statement"]:
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def is_allowed(document: Mapping[str, Any], need: Need) -> bool:
    """Whether a policy allows something; conditions are taken as met."""
    return Role(document).allows(need.action, need.resource)


@cache
def is_covered(service: str, operation: str) -> bool:
    """Whether some policy of those who call AWS allows all actions that an operation needs."""
    try:
        actions = {need.action for need in needs(service, operation, _ANY, "us-east-1", "123456789012")}
    except UnknownCallError:
        return False
    return actions <= {action for name in CALLERS for action in allowed_actions(policy(name))}


def needs(
    service: str, operation: str, params: Mapping[str, Any], region: str, account: str
) -> Iterator[Need]:
    """What a call must be allowed.

    Raises:
        UnknownCallError: it is a call that this package did not make when this was written.
    """
    arn = f"arn:{partition_of(region)}"
    if service == "s3":
        yield from _of_s3(operation, params, arn)
    elif service in OF_DOCTOR:
        yield Need(f"{OF_DOCTOR[service]}:{operation}", "*")
    elif operation == "CreateModelInvocationJob":
        jobs = f"{arn}:bedrock:{region}:{account}:model-invocation-job/*"
        for resource in (jobs, *arns_invoked(params["modelId"], region, account)):
            yield Need(f"bedrock:{operation}", resource)
        if params.get("tags"):
            yield Need("bedrock:TagResource", jobs)
        yield Need("iam:PassRole", params["roleArn"])
    elif operation in _ON_A_JOB:
        yield Need(f"bedrock:{operation}", params["jobIdentifier"])
    elif operation in _ON_ANYTHING:
        yield Need(f"bedrock:{operation}", "*")
    elif operation in _INVOKING:
        for resource in arns_invoked(params["modelId"], region, account):
            yield Need("bedrock:InvokeModel", resource)
    elif operation == "CountTokens":
        for resource in arns_invoked(params["modelId"], region, account):
            yield Need("bedrock:CountTokens", resource)
    else:
        raise UnknownCallError(f"{service}:{operation}")


def _of_s3(operation: str, params: Mapping[str, Any], arn: str) -> Iterator[Need]:
    bucket = f"{arn}:s3:::{params['Bucket']}"
    if operation in _ON_A_BUCKET:
        yield Need(_ON_A_BUCKET[operation], bucket)
    elif operation in _ON_AN_OBJECT:
        yield Need(_ON_AN_OBJECT[operation], f"{bucket}/{params['Key']}")
        if operation in ("HeadObject", "GetObject"):
            # Without it, S3 answers 403 for an object that does not exist, and not 404 ("HeadObject", S3's API reference).
            yield Need("s3:ListBucket", bucket)
    elif operation == "CopyObject":
        source = params["CopySource"]
        path = source if isinstance(source, str) else f"{source['Bucket']}/{source['Key']}"
        yield Need("s3:GetObject", f"{arn}:s3:::{path}")
        yield Need("s3:PutObject", f"{bucket}/{params['Key']}")
    else:
        raise UnknownCallError(f"s3:{operation}")
