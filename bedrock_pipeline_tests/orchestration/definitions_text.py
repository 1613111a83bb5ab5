"""Definitions as text, for the kept files in `snapshots/`: what a project sees of them, a line each.

`python -m bedrock_pipeline_tests.orchestration.definitions_text` writes the files again; their diff is what a change does.
"""

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

import dagster as dg
import dagster.components as components

from bedrock_pipeline import (
    BedrockQueueConfig,
    DagsterOptions,
    IcebergTable,
    Pipeline,
    Thresholds,
    UpstreamAsset,
    build_definitions,
)

SNAPSHOTS: Final = Path(__file__).parent / "snapshots"
EXAMPLES: Final = Path(__file__).parents[2] / "examples"
_CLAUDE: Final = "anthropic.claude-3-haiku-20240307-v1:0"


def daily_and_queue() -> dg.Definitions:
    """A daily pipeline with an upstream asset beside a queue, under a prefix."""
    daily = dg.DailyPartitionsDefinition(start_date="2026-01-01")
    pipeline = Pipeline(
        name="reviews",
        model_id=_CLAUDE,
        source=UpstreamAsset(asset="raw/reviews"),
        prompt="{{ text }}",
        publish_to=IcebergTable(table="nlp.reviews"),
        daily=True,
        dagster=DagsterOptions(partitions_def=daily, thresholds=Thresholds(published_within_h=30)),
    )
    queue = BedrockQueueConfig(name="questions", model_id=_CLAUDE).pipeline()
    return build_definitions([pipeline, queue], prefix="nlp_")


def code_location() -> dg.Definitions:
    """The code location of `workspace.yaml`."""
    found: dg.Definitions = import_module("bedrock_pipeline.definitions").defs
    return found


def dg_project() -> dg.Definitions:
    """The project in `examples/dg_project`, whose package is found where an installed project's would be."""
    source = str(EXAMPLES / "dg_project" / "src")
    if source not in sys.path:
        sys.path.append(source)
    return components.load_from_defs_folder(path_within_project=EXAMPLES / "dg_project")


ALL: Final[dict[str, Callable[[], dg.Definitions]]] = {
    "code_location": code_location,
    "daily_and_queue": daily_and_queue,
    "dg_project": dg_project,
}


def text(definitions: dg.Definitions) -> str:
    """The definitions, a line each, sorted; ends with a line break."""
    return "".join(f"{line}\n" for line in _lines(definitions))


def _lines(definitions: dg.Definitions) -> Iterator[str]:
    graph = definitions.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        if not node.is_materializable:
            continue
        spec = definitions.resolve_assets_def(key).get_asset_spec(key)
        parents = ", ".join(sorted(one.to_user_string() for one in node.parent_keys))
        yield f"asset {key.to_user_string()}"
        yield f"  partitions: {_partitions(node.partitions_def)}"
        yield f"  upstream: {parents or 'none'}"
        yield f"  group: {spec.group_name}; kinds: {', '.join(sorted(spec.kinds))}; owners: {', '.join(spec.owners)}"
        yield f"  metadata: {', '.join(sorted(spec.metadata))}"
        yield f"  description: {spec.description}"
        for check in sorted(node.check_keys, key=lambda one: one.name):
            yield f"  check {check.name}"
    repository = definitions.get_repository_def()
    for job in sorted(repository.get_all_jobs(), key=lambda one: one.name):
        executor = job.executor_def.name
        yield f"job {job.name}: {_partitions(job.partitions_def)}, executor {executor}"
    for sensor in sorted(repository.sensor_defs, key=lambda one: one.name):
        yield f"sensor {sensor.name}: every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"
    for schedule in sorted(repository.schedule_defs, key=lambda one: one.name):
        at, zone = schedule.cron_schedule, schedule.execution_timezone
        yield f"schedule {schedule.name}: {at} {zone}, {schedule.default_status.value}"
    for name in sorted(definitions.resources or {}):
        yield f"resource {name}"


def _partitions(found: dg.PartitionsDefinition | None) -> str:
    if found is None:
        return "none"
    if isinstance(found, dg.DynamicPartitionsDefinition):
        return f"dynamic {found.name}"
    return type(found).__name__.removesuffix("PartitionsDefinition").lower()


def path_of(name: str) -> Path:
    """The kept file of a set of definitions."""
    return SNAPSHOTS / f"{name}.txt"


if __name__ == "__main__":
    for name, load in ALL.items():
        path_of(name).write_text(text(load()))
