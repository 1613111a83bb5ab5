"""KMS keys: whether they can be used, by the caller and by the service role."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from bedrock_pipeline.aws.account import Key, statements
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, statement, unanswered
from bedrock_pipeline.records.error_codes import ErrorKind

_NEEDED: Final = ("kms:Decrypt", "kms:GenerateDataKey")


def check_keys(examined: Examination) -> list[Finding]:
    """The KMS keys of the settings and of the buckets: enabled, and granted to the caller and to the role."""
    keys = dict.fromkeys(_keys(examined))
    if not keys:
        return [skipped("kms", "No KMS key is used.")]
    return [finding for key in keys for finding in _key(examined, key)]


def _keys(examined: Examination) -> Iterator[str]:
    settings = examined.settings
    yield from filter(None, (settings.kms_key_id, settings.output_kms_key_id))
    for bucket in examined.buckets:
        try:
            found = bucket.encryption()
        except AwsError:
            continue  # `check_encryption` says why
        if found and found.key:
            yield found.key


def _key(examined: Examination, key_id: str) -> Iterator[Finding]:
    try:
        key = examined.account.key(key_id)
    except AwsError as error:
        if error.kind is ErrorKind.NOT_FOUND:
            yield fail(
                "kms",
                f"There is no KMS key {key_id}.",
                "Nothing can be written to the bucket.",
                "Use a key of the region: correct the setting kms_key_id, or the bucket's encryption.",
            )
        else:
            yield unanswered("kms", "kms:DescribeKey and kms:GetKeyPolicy", error)
        return
    if key.state != "Enabled":
        fix = (
            f"aws kms enable-key --key-id {key.arn}"
            if key.state == "Disabled"
            else "aws kms cancel-key-deletion"
        )
        yield fail(
            "kms", f"KMS key {key.arn} is {key.state}.", "Nothing of the bucket can be read or written.", fix
        )
        return
    yield ok("kms", f"KMS key {key.arn} is enabled.")
    for check, who, principal in (
        ("kms caller", "The caller", examined.principal),
        ("kms role", "The role", examined.settings.role_arn),
    ):
        if principal is not None:
            yield _granted(examined, check, who, principal, key)


def _granted(examined: Examination, check: str, who: str, principal: str, key: Key) -> Finding:
    missing = [action for action in _NEEDED if not allowed_by_key(key, principal, action)]
    if missing and delegates(key, principal.split(":")[4]):
        try:
            missing = examined.account.denied(principal, missing, key.arn, _context(key))
        except AwsError as error:
            return unanswered(check, "iam:SimulatePrincipalPolicy", error)
    elif missing:
        return fail(
            check,
            f"The policy of the key does not let {principal} {' and '.join(missing)}.",
            "What the key encrypts can be neither read nor written.",
            statement(_NEEDED, "*").replace(
                '"Effect"', f'"Principal": {{"AWS": "{principal}"}},\n  "Effect"'
            ),
        )
    if missing:
        return fail(
            check,
            f"{who} may not {' and '.join(missing)} with {key.arn}.",
            "What the key encrypts can be neither read nor written.",
            statement(missing, key.arn),
        )
    return ok(check, f"{who} may use the key.")


def _context(key: Key) -> dict[str, str]:
    """What S3 says of itself when it uses the key for somebody; policies may demand it, as `deploy/iam/kms.json` does."""
    region = key.arn.split(":")[3]
    return {"kms:ViaService": f"s3.{region}.amazonaws.com"}


def allowed_by_key(key: Key, principal: str, action: str) -> bool:
    """Whether the key's own policy lets a user or role do something, whatever the account's policies say.

    Its conditions are taken as met.
    """
    return any(
        one.get("Effect") == "Allow"
        and any(name in (principal, "*") for name in _principals(one))
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(one.get("Action")))
        for one in statements(key.policy)
    )


def delegates(key: Key, account: str) -> bool:
    """Whether the key's policy leaves it to the policies of an account."""
    return any(
        one.get("Effect") == "Allow"
        and any(name == account or name.endswith(f":iam::{account}:root") for name in _principals(one))
        for one in statements(key.policy)
    )


def _principals(one: Any) -> list[str]:
    principal = one.get("Principal", {})
    return [principal] if isinstance(principal, str) else _listed(principal.get("AWS"))


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
