"""Command `doctor`: whether everything is there that a pipeline needs, before anything is bought."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import click

from bedrock_pipeline.cli.output import Number, json_option, print_json
from bedrock_pipeline.cli.pipelines import module_option, pipeline_in
from bedrock_pipeline.cli.status_text import wrapped
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.examine import TIMEOUT_S, examine
from bedrock_pipeline.doctor.finding import Finding, Level
from bedrock_pipeline.settings import Settings

#: Beneath a finding's level.
_INDENT: Final = " " * (max(len(level) for level in Level) + 2)


@click.command()
@click.argument("pipeline", required=False)
@module_option
@click.option(
    "--timeout",
    type=Number(min=1),
    default=TIMEOUT_S,
    show_default=True,
    help="Seconds that one check may take.",
)
@json_option
def doctor(pipeline: str | None, module: str, timeout: float, as_json: bool) -> None:
    """Check everything that a pipeline needs; nothing is bought.

    That is account, bucket, role, model, quotas, Postgres and Dagster. With PIPELINE its model and its limits are checked too. A small object is written, read and deleted beneath work_prefix.
    The exit code is 1 if a check fails; warnings and skipped checks do not count.

    Example: bedrock-pipeline doctor reviews --module my_pipelines
    """
    from bedrock_pipeline.orchestration.instance_facts import (  # it imports Dagster
        has_instance,
        read_instance,
    )

    named = pipeline_in(module, pipeline) if pipeline else None
    with open_deployment(Settings.resolve()) as deployment:
        read = (lambda: read_instance(deployment.system.now().timestamp())) if has_instance() else None
        findings = examine(Examination(deployment, named, read), timeout_s=timeout)
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        for line in report(findings):
            click.echo(line)
    sys.exit(any(one.level is Level.FAIL for one in findings))


def report(findings: list[Finding]) -> Iterator[str]:
    """The findings as text, each beginning with its level, and their number by level."""
    for one in findings:
        level = one.level.upper() if one.level is Level.FAIL else one.level
        yield from wrapped(f"{one.check}: {one.found}", _INDENT, level.ljust(len(_INDENT)))
        yield from wrapped(one.means, _INDENT)
        for line in one.fix.splitlines():
            yield from [f"{_INDENT}{line}"] if _is_verbatim(line) else wrapped(line, _INDENT)
    counts = [f"{sum(one.level is level for one in findings)} {level}" for level in Level]
    yield ", ".join(counts)


def _is_verbatim(line: str) -> bool:
    """Whether a line is a command or a part of a policy, to be copied as it is."""
    return line.startswith(("aws ", "bedrock-pipeline ", "pip ", "dagster", "GRANT ", "{", "}", " "))
