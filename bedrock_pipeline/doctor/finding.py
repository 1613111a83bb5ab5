"""What a check found, and what follows from an error of AWS."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.records.error_codes import ErrorKind


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    #: It works, and may cost or surprise.
    WARN = "warn"
    #: Jobs will be rejected or fail, or results will be lost.
    FAIL = "fail"
    #: It was not checked; the finding says why.
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was checked, such as `bucket region`.
        found: what was found, in a sentence.
        means: what follows from it; empty where all is well.
        fix: a command or a policy, or what to do in a sentence; empty where nothing is to be done.
    """

    check: str
    level: Level
    found: str
    means: str = ""
    fix: str = ""


#: What follows where there was no answer.
UNCHECKED: Final = "It could not be checked."


def ok(check: str, found: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Level.OK, found)


def warn(check: str, found: str, means: str, fix: str = "") -> Finding:
    """It works, and may cost or surprise."""
    return Finding(check, Level.WARN, found, means, fix)


def fail(check: str, found: str, means: str, fix: str = "") -> Finding:
    """Jobs will be rejected or fail."""
    return Finding(check, Level.FAIL, found, means, fix)


def skipped(check: str, why: str, fix: str = "") -> Finding:
    """It was not checked."""
    return Finding(check, Level.SKIPPED, why, fix=fix)


def unanswered(check: str, action: str, error: AwsError) -> Finding:
    """A question that AWS did not answer: the check is skipped where only the right to ask is missing.

    Args:
        check: what was to be checked.
        action: the permission that the question needs.
        error: how AWS answered.
    """
    if error.kind is ErrorKind.DENIED:
        return skipped(
            check, f"Not checked: the credentials may not {action}.", f"To have it checked, allow {action}."
        )
    if error.classification.status in (405, 501) or "NotImplemented" in error.classification.code:
        return skipped(check, f"Not checked: this service does not have {action.partition(':')[2]}.")
    return warn(check, error.what, UNCHECKED, error.fix)


def statement(actions: Sequence[str], resource: str | Sequence[str]) -> str:
    """A statement of an IAM policy, as JSON."""
    allowed = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return orjson.dumps(allowed, option=orjson.OPT_INDENT_2).decode()
