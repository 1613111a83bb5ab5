"""Run the checks: beside each other, each for a bounded time, none stopped by the error of another."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from bedrock_pipeline.doctor.checks import CHECKS, CREDENTIALS, Check
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.finding import UNCHECKED, Finding, Level, skipped, warn
from bedrock_pipeline.errors import BedrockPipelineError

TIMEOUT_S: Final = 60.0


def examine(examined: Examination, *, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """The findings of all checks, in their order.

    Args:
        examined: what is examined.
        timeout_s: how long one check may take.
    """
    [signed] = _side_by_side(examined, [CREDENTIALS], timeout_s)
    no_credentials = any(one.level is Level.FAIL and one.check == CREDENTIALS.name for one in signed)
    wanted = [
        check for check in CHECKS if check is not CREDENTIALS and (check.unsigned or not no_credentials)
    ]
    found = dict(zip(wanted, _side_by_side(examined, wanted, timeout_s), strict=True))
    found[CREDENTIALS] = signed
    unasked = skipped("", "Not checked: there are no valid credentials.")
    return [
        _judged(check, finding)
        for check in CHECKS
        for finding in found.get(check, [Finding(check.name, unasked.level, unasked.found)])
    ]


def _judged(check: Check, finding: Finding) -> Finding:
    """A service that does not answer is a failure where nothing works without it."""
    if check.essential and finding.means == UNCHECKED:
        return replace(finding, level=Level.FAIL, means="Nothing works until it can be checked.")
    return finding


def _side_by_side(
    examined: Examination, checks: Sequence[Check], timeout_s: float
) -> Iterable[list[Finding]]:
    """The findings of each check. A thread that does not end is left behind: it ends with the process."""
    results: dict[str, list[Finding]] = {}

    def run(check: Check) -> None:
        results[check.name] = _guarded(check, examined)

    threads = [threading.Thread(target=run, args=(check,), daemon=True, name=check.name) for check in checks]
    for thread in threads:
        thread.start()
    deadline = examined.deployment.system.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline - examined.deployment.system.monotonic()))
    return [results.get(check.name) or [_too_long(check, timeout_s)] for check in checks]


def _guarded(check: Check, examined: Examination) -> list[Finding]:
    if check.aws_alone and examined.embedded:
        return [skipped(check.name, "Not checked: the embedded stack has nothing of it.")]
    try:
        return check.run(examined)
    except BedrockPipelineError as error:
        return [warn(check.name, error.what, UNCHECKED, error.fix)]
    except Exception as error:  # whatever it is, the other checks count
        return [warn(check.name, f"The check ended with {type(error).__name__}.", UNCHECKED)]


def _too_long(check: Check, timeout_s: float) -> Finding:
    return warn(
        check.name,
        f"No answer within {timeout_s:.0f} seconds.",
        UNCHECKED,
        "Check the network, the proxy and the endpoints.",
    )
