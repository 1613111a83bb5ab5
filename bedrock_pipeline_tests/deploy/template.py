"""The CloudFormation template that makes a bucket, a key, the service role and the policies of `deploy/iam`.

What belongs here: building it from the files, so that there is one text of each policy. `make docs` writes it.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from bedrock_pipeline_tests.deploy.policies import FOLDER, policy

PATH: Final = Path(FOLDER).parent / "permissions.template.json"
#: What stands for each variable in the template.
_VALUES: Final = {
    "PARTITION": "${AWS::Partition}",
    "URL_SUFFIX": "${AWS::URLSuffix}",
    "REGION": "${AWS::Region}",
    "ACCOUNT": "${AWS::AccountId}",
    "BUCKET": "${Bucket}",
    "OUTPUT_BUCKET": "${Bucket}",
    "SOURCE_BUCKET": "${SourceBucketName}",
    "ROLE_NAME": "${ServiceRole}",
    "MODEL": "${ModelId}",
    "PROFILE": "${InferenceProfileId}",
    "KMS_KEY_ARN": "${Key.Arn}",
    "OUTPUT_KMS_KEY_ARN": "${Key.Arn}",
    "BUCKET_ACCOUNT": "${AWS::AccountId}",
    "APPLICATION_PROFILE": "${ApplicationProfileId}",
    "SUBNET_ID": "${SubnetId}",
    "SECURITY_GROUP_ID": "${SecurityGroupId}",
}
_CALLERS: Final = {
    "Prepare": ("prepare", "Takes snapshots, packs them and flushes queues"),
    "Submit": ("submit", "Submits, polls and stops jobs"),
    "Collect": ("collect", "Collects output, starts retry rounds and publishes results"),
    "OnDemand": ("on-demand", "Answers chunks by on-demand calls"),
    "Estimate": ("estimate", "Estimates costs from an input in S3"),
    "Doctor": ("doctor", "Looks for what is missing; reads only"),
    "UseKey": ("kms", "Reads and writes under the KMS key"),
}


def text() -> str:
    """The template as the file has it."""
    return json.dumps(template(), indent=2) + "\n"


def template() -> dict[str, Any]:
    """The template."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "bedrock-pipeline: a bucket, its KMS key, the service role of jobs, and policies for callers",
        "Parameters": _parameters(),
        "Rules": {"VpcIsWhole": {"Assertions": [_both_or_neither("SubnetId", "SecurityGroupId")]}},
        "Conditions": {
            "HasVpc": _given("SubnetId"),
            "HasApplicationProfile": _given("ApplicationProfileId"),
        },
        "Resources": {
            "Key": {
                **_kept("AWS::KMS::Key"),
                "Properties": {"EnableKeyRotation": True, "KeyPolicy": _filled("key-policy")},
            },
            "Bucket": {**_kept("AWS::S3::Bucket"), "Properties": _bucket()},
            "BucketPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": _filled("bucket-policy")},
            },
            "ServiceRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {"AssumeRolePolicyDocument": _filled("service-role-trust")},
            },
            "ServiceRoleAccess": _of_role("service-role", "access"),
            "ServiceRoleKey": _of_role("kms", "key"),
            "ServiceRoleVpc": {**_of_role("service-role-vpc", "vpc"), "Condition": "HasVpc"},
            "ServiceRoleProfile": {
                **_of_role("application-profile", "profile"),
                "Condition": "HasApplicationProfile",
            },
            "UseApplicationProfile": {
                **_managed("application-profile", "Uses the application inference profile"),
                "Condition": "HasApplicationProfile",
            },
            **{name: _managed(file, description) for name, (file, description) in _CALLERS.items()},
        },
        "Outputs": {
            "BucketName": {"Description": "BUCKET", "Value": {"Ref": "Bucket"}},
            "RoleArn": {"Description": "ROLE_ARN", "Value": {"Fn::GetAtt": ["ServiceRole", "Arn"]}},
            "KeyArn": {
                "Description": "BEDROCK_PIPELINE_KMS_KEY_ID",
                "Value": {"Fn::GetAtt": ["Key", "Arn"]},
            },
        },
    }


def _parameters() -> dict[str, Any]:
    def of(description: str, default: str | None = None) -> dict[str, Any]:
        given = {} if default is None else {"Default": default}
        return {"Type": "String", "Description": description, **given}

    return {
        "ModelId": of("Bare id of the model, or a pattern such as anthropic.*"),
        "InferenceProfileId": of("Id of its inference profile, or a pattern such as us.anthropic.*"),
        "SourceBucketName": of("Bucket with the inputs of pipelines"),
        "ApplicationProfileId": of("Id of an application inference profile; empty for none", ""),
        "SubnetId": of("Subnet of the jobs' VPC; empty for none", ""),
        "SecurityGroupId": of("Security group in that VPC; empty for none", ""),
    }


def _given(parameter: str) -> dict[str, Any]:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


def _both_or_neither(*parameters: str) -> dict[str, Any]:
    """An assertion of a rule, which CloudFormation checks before it makes anything."""
    empty = [{"Fn::Equals": [{"Ref": parameter}, ""]} for parameter in parameters]
    return {
        "Assert": {"Fn::Or": [{"Fn::And": empty}, {"Fn::And": [{"Fn::Not": [one]} for one in empty]}]},
        "AssertDescription": f"Give {' and '.join(parameters)}, or neither",
    }


def _managed(file: str, description: str) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {"Description": description, "PolicyDocument": _filled(file)},
    }


def _bucket() -> dict[str, Any]:
    encryption = {
        "ServerSideEncryptionByDefault": {
            "SSEAlgorithm": "aws:kms",
            "KMSMasterKeyID": {"Fn::GetAtt": ["Key", "Arn"]},
        },
        "BucketKeyEnabled": True,
    }
    closed = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    return {
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
        "PublicAccessBlockConfiguration": dict.fromkeys(closed, True),
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {"Rules": [_rule(rule) for rule in policy("lifecycle")["Rules"]]},
    }


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule of S3's API as CloudFormation writes it."""
    found = {"Id": rule["ID"], "Status": rule["Status"], "Prefix": rule["Filter"]["Prefix"]}
    if "Expiration" in rule:
        found["ExpirationInDays"] = rule["Expiration"]["Days"]
    if "AbortIncompleteMultipartUpload" in rule:
        found["AbortIncompleteMultipartUpload"] = rule["AbortIncompleteMultipartUpload"]
    return found


def _kept(kind: str) -> dict[str, str]:
    """What has data is kept when the stack is deleted."""
    return {"Type": kind, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def _of_role(file: str, name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::IAM::RolePolicy",
        "Properties": {
            "RoleName": {"Ref": "ServiceRole"},
            "PolicyName": name,
            "PolicyDocument": _filled(file),
        },
    }


def _filled(name: str) -> Any:
    return _substituted(policy(name, _VALUES))


def _substituted(value: Any) -> Any:
    """Texts with variables of the template become substitutions; the same resource is named once."""
    if isinstance(value, dict):
        return {key: _substituted(one) for key, one in value.items()}
    if isinstance(value, list):
        return (
            [_substituted(one) for one in dict.fromkeys(value)]
            if _texts(value)
            else [*map(_substituted, value)]
        )
    if isinstance(value, str) and re.search(r"\$\{", value):
        return {"Fn::Sub": value}
    return value


def _texts(value: list[Any]) -> bool:
    return all(isinstance(one, str) for one in value)
