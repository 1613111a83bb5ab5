"""The service role that Bedrock assumes, and what the caller and the role may do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import orjson

from bedrock_pipeline.aws.account import Policy, Role, statements
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import Finding, fail, ok, skipped, statement, unanswered, warn
from bedrock_pipeline.doctor.model import invoked_arns
from bedrock_pipeline.records.error_codes import ErrorKind

_SERVICE: Final = "bedrock.amazonaws.com"
#: What is the same for every VPC; source: "Protect batch inference jobs using a VPC", Amazon Bedrock user guide.
_IN_A_VPC: Final = (
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeVpcs",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeSubnets",
    "ec2:DescribeSecurityGroups",
)
_SIMULATE: Final = "iam:SimulatePrincipalPolicy"


@dataclass(frozen=True, slots=True)
class Permission:
    """Actions on a resource that somebody needs, and what fails without them."""

    actions: tuple[str, ...]
    resource: str
    without: str


def check_role(examined: Examination) -> list[Finding]:
    """Whether the role exists, and trusts Bedrock for the jobs of this account and region."""
    arn = examined.settings.role_arn
    try:
        role = examined.account.role(arn.rpartition("/")[2])
    except AwsError as error:
        if error.kind is ErrorKind.NOT_FOUND or error.classification.code == "NoSuchEntity":
            return [
                fail(
                    "role",
                    f"There is no role {arn}.",
                    "Every job is rejected.",
                    "Create it (docs/aws.md, The role), or set ROLE_ARN to the one that you have.",
                )
            ]
        return [unanswered("role", "iam:GetRole", error)]
    if role.arn != arn:
        return [
            fail(
                "role",
                f"The role of this name is {role.arn}, and ROLE_ARN is {arn}.",
                "Every job is rejected.",
                f"Set ROLE_ARN={role.arn}",
            )
        ]
    account = examined.settings.account or examined.identity.account
    return [
        ok("role", f"Role {arn} exists."),
        judge_trust(role, examined.partition, examined.settings.region, account),
    ]


def judge_trust(role: Role, partition: str, region: str, account: str) -> Finding:
    """Whether Bedrock can assume a role for jobs, and nobody else through Bedrock."""
    source = f"arn:{partition}:bedrock:{region}:{account}:model-invocation-job/"
    fix = _trust_fix(role.arn.rpartition("/")[2], account, source)
    admitting = [one for one in statements(role.trust) if _admits_bedrock(one)]
    if not admitting:
        return fail(
            "role trust",
            f"The role does not trust {_SERVICE}.",
            "Bedrock cannot assume it: every job is rejected.",
            fix,
        )
    problems = [_unmet(one, account, f"{source}abcdefghijkl") for one in admitting]
    if all(problems):
        return fail(
            "role trust",
            f"The role trusts Bedrock for {problems[0]} only.",
            "Bedrock cannot assume it for these jobs.",
            fix,
        )
    named = {key.lower() for one in admitting for key in _conditions(one)}
    if missing := [key for key in ("aws:SourceAccount", "aws:SourceArn") if key.lower() not in named]:
        return warn(
            "role trust",
            f"The trust policy has no condition {' and no '.join(missing)}.",
            "Bedrock could use the role for somebody else's jobs (confused deputy).",
            fix,
        )
    return ok("role trust", "The role trusts Bedrock for the jobs of this account and region.")


def _trust_fix(name: str, account: str, source: str) -> str:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": _SERVICE},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": account},
                    "ArnEquals": {"aws:SourceArn": f"{source}*"},
                },
            }
        ],
    }
    shown = orjson.dumps(trust, option=orjson.OPT_INDENT_2).decode()
    return (
        "It replaces the whole trust policy: keep the statements that others need.\n"
        f"aws iam update-assume-role-policy --role-name {name} --policy-document file://trust.json\n{shown}"
    )


def _admits_bedrock(one: Policy) -> bool:
    principal = one.get("Principal", {})
    services = _listed(principal.get("Service")) if isinstance(principal, Mapping) else [principal]
    actions = [action.lower() for action in _listed(one.get("Action"))]
    return (
        one.get("Effect") == "Allow"
        and any(service in (_SERVICE, "*") for service in services)
        and any(fnmatchcase("sts:assumerole", action) for action in actions)
    )


def _conditions(one: Policy) -> dict[str, list[str]]:
    """The values of each condition key of a statement, whatever the operator."""
    found: dict[str, list[str]] = {}
    for keys in one.get("Condition", {}).values():
        for key, values in keys.items():
            found.setdefault(key, []).extend(_listed(values))
    return found


def _unmet(one: Policy, account: str, job: str) -> str | None:
    """The condition that a job of ours does not meet; None if it meets all that are known here."""
    expected = {"aws:sourceaccount": account, "aws:sourcearn": job}
    for key, values in _conditions(one).items():
        value = expected.get(key.lower())
        if value is not None and not any(fnmatchcase(value, pattern) for pattern in values):
            return f"{key} {', '.join(values)}"
    return None


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def check_pass_role(examined: Examination) -> list[Finding]:
    """Whether the caller may pass the role to Bedrock."""
    needed = Permission(("iam:PassRole",), examined.settings.role_arn, "Every job is rejected.")
    return list(_of_caller(examined, "iam:PassRole", [needed], {"iam:PassedToService": _SERVICE}))


def check_caller(examined: Examination) -> list[Finding]:
    """What the caller may do with Bedrock, by simulation of its policies."""
    region, account = examined.settings.region, examined.identity.account
    jobs = f"arn:{examined.partition}:bedrock:{region}:{account}:model-invocation-job/*"
    reading = ("bedrock:GetModelInvocationJob", "bedrock:StopModelInvocationJob")
    needed = [
        Permission(("bedrock:CreateModelInvocationJob",), jobs, "Every job is rejected."),
        Permission(reading, jobs, "Jobs are neither followed nor stopped."),
    ]
    settings = examined.settings
    if settings.default_job_tags or settings.job_tags:
        needed.append(
            Permission(("bedrock:TagResource",), jobs, "Every job is rejected, since jobs are tagged.")
        )
    actions: tuple[str, ...] = ("bedrock:CreateModelInvocationJob",)
    fails = "Jobs of the model are rejected."
    if examined.pipeline and examined.pipeline.below_minimum == "on_demand":
        actions = (*actions, "bedrock:InvokeModel")
        fails = (
            "Jobs of the model are rejected, or on-demand calls, which answer fewer records than a job needs "
            "(below_minimum: on_demand)."
        )
    needed += [Permission(actions, arn, fails) for arn in invoked_arns(examined)]
    return list(_of_caller(examined, "caller permissions", needed, {}))


def _of_caller(
    examined: Examination, check: str, needed: Sequence[Permission], context: Mapping[str, str]
) -> Iterator[Finding]:
    principal = examined.principal
    if principal is None:
        yield skipped(check, f"Not checked: the policies of {examined.identity.arn} cannot be simulated.")
        return
    yield from _simulated(examined, check, "The caller", principal, needed, context)


def check_role_permissions(examined: Examination) -> list[Finding]:
    """What the service role may do with the bucket and the model, by simulation of its policies."""
    settings, role = examined.settings, examined.settings.role_arn
    bucket, output = examined.buckets[0].name, examined.buckets[-1].name
    fails = "Jobs are accepted, and fail when they are validated."
    needed = [
        *(
            Permission(("s3:ListBucket",), examined.bucket_arn(name), fails)
            for name in dict.fromkeys((bucket, output))
        ),
        Permission(("s3:GetObject",), examined.bucket_arn(bucket, settings.input_prefix, "*"), fails),
        Permission(("s3:PutObject",), examined.bucket_arn(output, settings.output_prefix, "*"), fails),
        *(
            Permission(
                ("bedrock:InvokeModel",), arn, "Jobs are accepted and validated, and fail at their end."
            )
            for arn in invoked_arns(examined)
        ),
    ]
    if examined.network:
        needed.append(Permission(_IN_A_VPC, "*", fails))
    context = {"aws:ResourceAccount": settings.account} if settings.account else {}
    return list(_simulated(examined, "role permissions", "The role", role, needed, context))


def _simulated(
    examined: Examination,
    check: str,
    who: str,
    principal: str,
    needed: Sequence[Permission],
    context: Mapping[str, str],
) -> Iterator[Finding]:
    """One finding for each permission that is missing, or one for all that are there."""
    missing = 0
    for one in needed:
        try:
            denied = examined.account.denied(principal, one.actions, one.resource, context)
        except AwsError as error:
            yield unanswered(check, _SIMULATE, error)
            return
        if denied:
            missing += 1
            yield fail(
                check,
                f"{who} may not {', '.join(denied)} on {one.resource}.",
                one.without,
                statement(denied, one.resource),
            )
    if not missing:
        yield ok(check, f"{who} may do what it needs: {', '.join(_short(needed))}.")


def _short(needed: Sequence[Permission]) -> list[str]:
    return list(dict.fromkeys(action for one in needed for action in one.actions))
