"""Command `prune`: delete what is not needed any more of versions that have not changed for long."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click

from bedrock_pipeline.cli.output import json_option, print_json
from bedrock_pipeline.cli.status_text import wrapped
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.known_names import check_known
from bedrock_pipeline.retention.prune_version import DeletePartitions, Pruned
from bedrock_pipeline.retention.prune_version import prune as prune_versions
from bedrock_pipeline.settings import Settings

#: List looks back this far for jobs; what is younger may still be needed to settle a submission.
_YOUNGEST_DAYS: Final = 8
_KIB: Final = 1024


class Days(click.ParamType[timedelta]):
    """A number of days, such as `30d`."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The time of a text such as `30d` or `30`."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,5})d?", str(value))
        if found is None or int(found[1]) < _YOUNGEST_DAYS:
            self.fail(f"it must be a number of days from {_YOUNGEST_DAYS} on, such as 30d.", param, ctx)
        return timedelta(days=int(found[1]))


@click.command()
@click.argument("pipeline", required=False)
@click.option(
    "--older-than",
    type=Days(),
    default="30d",
    show_default=True,
    help="For how many days nothing of a version must have changed; at least 8d.",
)
@click.option("--yes", is_flag=True, help="Delete; without it, what would be deleted is listed.")
@json_option
def prune(pipeline: str | None, older_than: timedelta, yes: bool, as_json: bool) -> None:
    """Delete what nothing needs any more of old versions.

    That is inputs, outputs, work files and events, of PIPELINE or of all. Nothing of a version that has work left is deleted, and no published results. Of the published version only the input and
    output of its jobs is. With DAGSTER_HOME the partitions of the chunks are deleted too.
    A version that fails stops no other; the exit code is then 1.

    Example: bedrock-pipeline prune reviews --older-than 90d
    """
    with ExitStack() as opened:
        deployment = opened.enter_context(open_deployment(Settings.resolve()))
        if pipeline:
            check_known(deployment.ledger, pipeline)
        partitions = _partitions(opened, delete=yes)
        found = list(prune_versions(deployment, older_than, pipeline, delete=yes, partitions=partitions))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        for line in _lines(found, deleted=yes):
            click.echo(line)
    sys.exit(any(one.error for one in found))


def _partitions(opened: ExitStack, *, delete: bool) -> DeletePartitions | None:
    """What counts or deletes partitions; None where this process has no Dagster."""
    from bedrock_pipeline.orchestration.instance_facts import has_instance  # it imports Dagster

    if not has_instance():
        return None
    import dagster as dg

    from bedrock_pipeline.orchestration.chunk_partitions import ChunkPartitions

    return ChunkPartitions(opened.enter_context(dg.DagsterInstance.get()), delete=delete)


def _lines(found: list[Pruned], *, deleted: bool) -> Iterator[str]:
    goes = [one for one in found if one.extent]
    for one in goes:
        yield f"{one.pipeline} {one.dataset} v{one.version}: {_EXTENTS[one.extent or 'everything']}"
        counts = [f"{one.objects:,} objects, {_size(one.bytes)}", f"{one.events:,} events"]
        counts += [] if one.partitions is None else [f"{one.partitions:,} partitions"]
        yield from wrapped("; ".join(counts) + (f"; the rest is kept: {one.why}" if one.why else ""))
    for one in found:
        yield from (
            [f"{one.pipeline} {one.dataset} v{one.version}: failed", *wrapped(one.error)] if one.error else ()
        )
    kept = Counter(one.why for one in found if one.extent is None and not one.error)
    for why, count in sorted(kept.items()):
        yield f"{count:,} versions are kept: {why}"
    if not goes:
        yield "nothing to delete"
        return
    total = f"{sum(one.objects for one in goes):,} objects, {_size(sum(one.bytes for one in goes))}"
    yield f"{'deleted' if deleted else 'would be deleted'}: {total}, of {len(goes):,} versions"
    if not deleted:
        yield "To delete it: the same command with --yes"


_EXTENTS: Final = {
    "exchange": "input and output of its jobs",
    "everything": "input and output of its jobs, snapshot, indexes, collected responses",
}


def _size(count: int) -> str:
    """A number of bytes in the largest unit of which it has one."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= _KIB and len(units) > 1:
        value /= _KIB
        units.pop(0)
    return f"{value:,.0f} {units[0]}" if units[0] == "B" else f"{value:,.1f} {units[0]}"
