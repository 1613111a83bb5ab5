"""Command `quota`: how many jobs each quota group may have at once."""

from dataclasses import asdict

import click

from bedrock_pipeline.cli.output import Count, console, json_option, print_json
from bedrock_pipeline.cli.status_text import wrapped
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.ledger.quota_groups import QuotaGroupStatus
from bedrock_pipeline.models.catalog import similar
from bedrock_pipeline.models.quota_group import QuotaGroup, default_max_jobs
from bedrock_pipeline.settings import Settings


@click.command()
@click.argument("model", required=False)
@click.option(
    "--max-jobs",
    type=Count(min=0),
    help="Jobs at once from now on; 0 holds all new jobs. On-demand calls are no jobs: `cancel` ends them.",
)
@click.option("--region", help="Region of the group; default: the deployment's.")
@json_option
def quota(model: str | None, max_jobs: int | None, region: str | None, as_json: bool) -> None:
    """Show or set how many jobs a quota group has at once.

    Without MODEL it shows all groups. MODEL is the id or ARN of a model or inference profile, or the quota_group of a pipeline. The limit is the
    deployment's, in force at once for every process; without one, Bedrock's default applies: 20 for each base model, 3 for
    each custom model.

    Example: bedrock-pipeline quota --max-jobs 5 amazon.nova-lite-v1:0
    """
    if model is None and (max_jobs is not None or region is not None):
        raise click.UsageError("--max-jobs and --region need MODEL.")
    settings = Settings.resolve()
    group = QuotaGroup.named(model, region or settings.region, settings.account) if model else None
    with open_deployment(settings) as deployment:
        groups = deployment.ledger.quota_groups
        before = {one.quota_group for one in groups.all()}
        if group is not None and max_jobs is not None:
            groups.set_max_jobs(group, max_jobs)
        known = groups.all()
    shown = known if group is None else [one for one in known if one.quota_group == str(group)]
    if group is not None and str(group) not in before:
        for line in wrapped(_note(model or "", group, is_set=bool(shown)), indent=""):
            console.print(line, highlight=False, soft_wrap=True)
        shown = shown or [_unused(group)]
    if as_json:
        print_json([asdict(one) for one in shown])
        return
    for one in shown:
        click.echo(one.quota_group)
        backoff = [f"backoff: {one.backoff_reason}"] if one.backoff_until else []
        slots = [
            f"{one.used} of {one.max_jobs} slots in use",
            f"{one.others} by others",
            f"{one.waiting} waiting",
        ]
        for line in wrapped("; ".join([*slots, *backoff])):
            click.echo(line)
    if not shown:
        console.print(
            "No quota group is known yet: each comes with the first dataset of its model.\n"
            "To set a limit before: bedrock-pipeline quota MODEL --max-jobs N",
            highlight=False,
            soft_wrap=True,
        )


def _unused(group: QuotaGroup) -> QuotaGroupStatus:
    """A group that nothing has used: Bedrock's default is its limit."""
    return QuotaGroupStatus(
        str(group),
        default_max_jobs(group.name),
        used=0,
        others=0,
        waiting=0,
        backoff_until=None,
        backoff_reason=None,
    )


def _note(model: str, group: QuotaGroup, *, is_set: bool) -> str:
    """That nothing is known of a group, why that may be, and what can be done."""
    near = similar(model)
    meant = f" Did you mean {near[0]}?" if near else ""
    if is_set:
        return f"Nothing was launched for {group.name} yet; its limit is set.{meant}"
    return (
        f"Nothing was launched for {group.name} yet, and no limit was set: Bedrock's default applies.{meant} "
        f"To set one: bedrock-pipeline quota {model} --max-jobs N"
    )
