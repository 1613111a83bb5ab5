"""What AWS says about an account: identity, roles and what they may do, keys, networks, quotas.

What belongs here: one call for each question, none of which changes or buys anything. What an answer means is decided in
`doctor`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import unquote

import boto3
from botocore.config import Config

from bedrock_pipeline.aws.clients import session
from bedrock_pipeline.aws.errors import translated
from bedrock_pipeline.settings import Settings

Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose credentials are used."""

    account: str
    arn: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the policy that says who may assume it."""

    arn: str
    trust: Policy


@dataclass(frozen=True, slots=True)
class Quota:
    """A quota of Service Quotas, with the value that is in force for the account."""

    name: str
    code: str
    value: float
    adjustable: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A KMS key: its ARN, whether it can be used, and its policy."""

    arn: str
    state: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class VpcEndpoint:
    """A VPC endpoint: the service that it leads to, its type and its state."""

    service: str
    kind: str
    state: str


class AwsAccount:
    """The account of the settings' credentials; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._session: boto3.Session | None = None
        self._clients: dict[str, Any] = {}

    def identity(self) -> Identity:
        """Whose credentials these are.

        Raises:
            AwsError: there are none, or they are not valid.
        """
        with translated("find out whose credentials these are"):
            found = self._client("sts").get_caller_identity()
        return Identity(found["Account"], found["Arn"])

    def regions(self, service: str) -> Sequence[str]:
        """The regions in which the installed boto3 knows a service, in the partition of the settings' region."""
        with self._lock:
            session = self._made()
        partition = session.get_partition_for_region(self._settings.region)
        return session.get_available_regions(service, partition_name=partition)

    def role(self, name: str) -> Role:
        """A role.

        Raises:
            AwsError: there is none, or it may not be read.
        """
        with translated(f"get role {name}"):
            found = self._client("iam").get_role(RoleName=name)["Role"]
        return Role(found["Arn"], _document(found["AssumeRolePolicyDocument"]))

    def denied(
        self, principal: str, actions: Sequence[str], resource: str, context: Mapping[str, str]
    ) -> list[str]:
        """The actions that the policies of a user or role do not allow on a resource, as IAM simulates it.

        Args:
            principal: ARN of the user or role.
            actions: such as `s3:GetObject`.
            resource: ARN, or `*`.
            context: condition keys and their values.

        Raises:
            AwsError: the simulation is not allowed.
        """
        entries = [
            {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value]}
            for name, value in context.items()
        ]
        with translated(f"simulate the policies of {principal}"):
            pages = self._client("iam").get_paginator("simulate_principal_policy")
            return [
                result["EvalActionName"]
                for page in pages.paginate(
                    PolicySourceArn=principal,
                    ActionNames=list(actions),
                    ResourceArns=[resource],
                    ContextEntries=entries,
                )
                for result in page["EvaluationResults"]
                if result["EvalDecision"] != "allowed"
            ]

    def quotas(self, service: str) -> list[Quota]:
        """The quotas of a service: the account's own where it has any, else AWS's defaults.

        Raises:
            AwsError: they may not be listed.
        """
        found: dict[str, Quota] = {}
        with translated(f"list the quotas of {service}"):
            for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
                for page in (
                    self._client("service-quotas").get_paginator(operation).paginate(ServiceCode=service)
                ):
                    for one in page["Quotas"]:
                        if "Value" in one:
                            found[one["QuotaCode"]] = Quota(
                                one["QuotaName"], one["QuotaCode"], one["Value"], one.get("Adjustable", False)
                            )
        return list(found.values())

    def key(self, key_id: str) -> Key:
        """A KMS key, by its id, alias or ARN.

        Raises:
            AwsError: there is none, or it may not be read.
        """
        client = self._client("kms")
        with translated(f"look up KMS key {key_id}"):
            found = client.describe_key(KeyId=key_id)["KeyMetadata"]
        with translated(f"get the policy of KMS key {key_id}"):
            policy = client.get_key_policy(KeyId=found["Arn"], PolicyName="default")["Policy"]
        return Key(found["Arn"], found["KeyState"], _document(policy))

    def vpcs(self, subnets: Sequence[str], groups: Sequence[str]) -> set[str]:
        """The VPCs in which some subnets and security groups are.

        Raises:
            AwsError: one does not exist, or they may not be listed.
        """
        client = self._client("ec2")
        with translated("list the subnets and security groups"):
            found = client.describe_subnets(SubnetIds=list(subnets))["Subnets"]
            found += client.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
        return {one["VpcId"] for one in found}

    def vpc_endpoints(self, vpc: str) -> list[VpcEndpoint]:
        """The endpoints of a VPC.

        Raises:
            AwsError: they may not be listed.
        """
        with translated(f"list the endpoints of {vpc}"):
            pages = self._client("ec2").get_paginator("describe_vpc_endpoints")
            return [
                VpcEndpoint(one["ServiceName"], one["VpcEndpointType"], one["State"])
                for page in pages.paginate(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
                for one in page["VpcEndpoints"]
            ]

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made().client(
                    service,  # type: ignore[call-overload]  # only three services have stubs
                    config=Config(
                        connect_timeout=5,
                        read_timeout=10,
                        retries={"mode": "standard", "total_max_attempts": 2},
                    ),
                )
            return self._clients[service]

    def _made(self) -> boto3.Session:
        if self._session is None:
            self._session = session(self._settings)
        return self._session


def _document(policy: Any) -> Policy:
    """A policy document as IAM and KMS give it: decoded already, as JSON, or as JSON encoded for a URL."""
    if not isinstance(policy, str):
        return dict(policy)
    decoded: dict[str, Any] = json.loads(unquote(policy) if policy.lstrip().startswith("%") else policy)
    return decoded


def statements(policy: Policy) -> Iterator[Policy]:
    """The statements of a policy, which may be one that stands alone."""
    found = policy.get("Statement", ())
    yield from (found,) if isinstance(found, Mapping) else found
