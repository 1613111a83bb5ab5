"""Service roles: what a job may do with S3 and with models.

What belongs here: IAM policies, as far as batch inference asks them. A role without a policy may do everything.
Source: "Create a custom service role for batch inference", Amazon Bedrock user guide, and the messages of jobs that
failed for it.
"""

import threading
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from bedrock_pipeline.emulator.models.catalog import partition_of

Policy = Mapping[str, Any]
#: What a job in a VPC does in EC2.
_NETWORK: Final = tuple(
    f"ec2:{action}"
    for action in (
        *("DescribeNetworkInterfaces", "DescribeVpcs", "DescribeDhcpOptions", "DescribeSubnets"),
        *("DescribeSecurityGroups", "CreateNetworkInterface", "CreateNetworkInterfacePermission"),
        *("DeleteNetworkInterface", "DeleteNetworkInterfacePermission", "CreateTags"),
    )
)


class RoleError(Exception):
    """A job's role lacks a permission; the message is the service's."""


class Role:
    """One role, as jobs use it.

    Args:
        policy: its permissions, as IAM writes them; None where it may do everything.
        partition: of its account.
    """

    def __init__(self, policy: Policy | None, partition: str = "aws") -> None:
        self._policy, self._partition = policy, partition

    def check_list(self, bucket: str, prefix: str) -> None:
        """`s3:ListBucket`.

        Raises:
            RoleError: it is missing.
        """
        if not self.allows("s3:ListBucket", f"arn:{self._partition}:s3:::{bucket}"):
            raise RoleError(f"Could not validate ListBucket permissions for S3URI: s3://{bucket}/{prefix}")

    def check_get(self, bucket: str, key: str) -> None:
        """`s3:ListBucket` and `s3:GetObject`.

        Raises:
            RoleError: one of them is missing.
        """
        self.check_list(bucket, key)
        if not self.allows("s3:GetObject", f"arn:{self._partition}:s3:::{bucket}/{key}"):
            raise get_rejected(bucket, key)

    def check_put(self, bucket: str, prefix: str) -> None:
        """`s3:PutObject`.

        Raises:
            RoleError: it is missing.
        """
        key = "/".join(part for part in (prefix.strip("/"), "manifest.json.out") if part)
        if not self.allows("s3:PutObject", f"arn:{self._partition}:s3:::{bucket}/{key}"):
            raise put_rejected(bucket, prefix)

    def check_key(self, bucket: str, prefix: str, key: str) -> None:
        """`kms:GenerateDataKey` and `kms:Decrypt` on the key that encrypts the output.

        Source of what is needed: "Encryption of batch inference jobs", Amazon Bedrock user guide. No source has the
        service's words: what fails is the test of the output location, as with `s3:PutObject`.

        Raises:
            RoleError: one of them is missing.
        """
        if not all(self.allows(action, key) for action in ("kms:GenerateDataKey", "kms:Decrypt")):
            raise put_rejected(bucket, prefix)

    def check_decrypt(self, bucket: str, key: str, kms_key: str) -> None:
        """`kms:Decrypt` on the key that encrypts an object of the input.

        Source: "(Optional) Permissions to use a customer managed key", Amazon Bedrock user guide: the message does not
        mention KMS.

        Raises:
            RoleError: it is missing.
        """
        if not self.allows("kms:Decrypt", kms_key):
            raise get_rejected(bucket, key)

    def check_network(self) -> None:
        """What a job in a VPC needs of EC2.

        Source: "Attach VPC permissions to a batch inference role", Amazon Bedrock user guide; the service's words are not
        known.

        Raises:
            RoleError: something is missing.
        """
        if missing := [action for action in _NETWORK if not self.allows(action, "*")]:
            raise RoleError(f"The role is not authorized to perform {missing[0]} for the VPC configuration")

    def may_invoke(self, models: Iterable[str]) -> bool:
        """Whether it may `bedrock:InvokeModel` each of some ARNs."""
        return all(self.allows("bedrock:InvokeModel", arn) for arn in models)

    def allows(self, action: str, resource: str) -> bool:
        """Whether it may do something with a resource; conditions are taken as met."""
        if self._policy is None:
            return True
        found = {
            str(statement.get("Effect"))
            for statement in _listed(self._policy.get("Statement"))
            if _matches(statement.get("Action"), action, fold=True)
            and _matches(statement.get("Resource"), resource, fold=False)
        }
        return "Allow" in found and "Deny" not in found


class Roles:
    """The roles whose permissions are known; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._policies: dict[str, Policy] = {}

    def set(self, arn: str, policy: Policy | None) -> None:
        """The permissions of a role from now on; None where it may do everything.

        Raises:
            ValueError: it is no policy.
        """
        if policy is not None and not isinstance(policy.get("Statement"), list | dict):
            raise ValueError('a policy is {"Statement": [{"Effect", "Action", "Resource"}, ...]}')
        with self._lock:
            self._policies.pop(arn, None)
            if policy is not None:
                self._policies[arn] = policy

    def get(self, arn: str) -> Role:
        """A role."""
        with self._lock:
            return Role(self._policies.get(arn), arn.split(":")[1])


def key_arn(key: str, region: str, account: str) -> str:
    """The ARN of a KMS key that is named by its id, its alias or its ARN."""
    if key.startswith("arn:"):
        return key
    resource = key if key.startswith("alias/") else f"key/{key}"
    return f"arn:{partition_of(region)}:kms:{region}:{account}:{resource}"


def get_rejected(bucket: str, key: str) -> RoleError:
    """An object of the input cannot be read."""
    return RoleError(
        f"Could not validate GetObject permissions to access Amazon S3 bucket: {bucket} at key {key}"
    )


def put_rejected(bucket: str, prefix: str) -> RoleError:
    """The output location cannot be written."""
    return RoleError(f"Could not validate PutObject permissions for S3URI: s3://{bucket}/{prefix}")


def _matches(patterns: Any, value: str, *, fold: bool) -> bool:
    given = value.lower() if fold else value
    return any(
        fnmatchcase(given, _literal(pattern.lower() if fold else pattern)) for pattern in _listed(patterns)
    )


def _literal(pattern: str) -> str:
    """IAM's wildcards are `*` and `?`; brackets are none."""
    return pattern.replace("[", "[[]")


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
