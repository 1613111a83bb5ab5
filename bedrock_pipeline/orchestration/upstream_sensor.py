"""The sensor that launches a dataset when the asset that is its input is materialized."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import dagster as dg
from dagster._core.event_api import EventLogRecord
from dagster._core.storage.tags import BACKFILL_ID_TAG

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.upstream import asset_key
from bedrock_pipeline.orchestration.upstream_partitions import datasets_of, upstream_keys, will_exist
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.records.keys import KeyRuleError
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline.sources import UpstreamAsset

#: The most materializations of an asset that a tick reads.
_MOST_EVENTS: Final = 100
_TICK_S: Final = 5


class _Read(NamedTuple):
    """What was read of an asset for a pipeline, in the sensor's cursor.

    Attributes:
        position: of the last materialization.
        early: datasets that are complete, and are launched when their partition exists: a week whose days were materialized
            before it ended.
    """

    position: int
    early: Sequence[str] = ()


def upstream_sensor(pipelines: Sequence[BasePipeline], prefix: str) -> Iterator[dg.SensorDefinition]:
    """The sensor, if a pipeline's input is an asset that launches datasets.

    It launches what is materialized after its first tick, unless the run or the backfill that materialized it prepares the
    dataset too; a backfill of `input_dataset` and `batch_chunks` processes what was
    there before. A lost cursor means that nothing is launched for what was materialized meanwhile.
    """
    chosen = [
        (pipeline, pipeline.source)
        for pipeline in pipelines
        if isinstance(pipeline, Pipeline)
        and isinstance(pipeline.source, UpstreamAsset)
        and pipeline.source.launch
    ]
    if not chosen:
        return

    @dg.sensor(
        name=f"{prefix}launch_by_upstream",
        minimum_interval_seconds=_TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches a dataset when the upstream asset that is its input is materialized.",
    )
    def launch_by_upstream(
        context: dg.SensorEvaluationContext, bedrock_deployment: DeploymentResource
    ) -> dg.SensorResult | dg.SkipReason:
        found = json.loads(context.cursor) if context.cursor else {}
        positions = {name: _Read(*read) for name, read in found.items()}
        launched: list[str] = []
        before = dict(positions)
        try:
            for pipeline, source in chosen:
                launched += _launch(context, bedrock_deployment, pipeline, source, positions)
        except (NotConfiguredError, ServiceUnavailableError) as error:
            # What this pipeline has read is read again; what was launched for those before it is not launched twice.
            return dg.SensorResult(skip_reason=str(error), cursor=json.dumps(positions))
        reason = f"Launched {', '.join(launched)}." if launched else _why_nothing(before, positions)
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps(positions))

    yield launch_by_upstream


def _why_nothing(before: Mapping[str, _Read], positions: Mapping[str, _Read]) -> str:
    if early := [f"{one} ({name})" for name, read in positions.items() for one in read.early]:
        return f"Launched when the partition exists: {', '.join(early)}."
    read = [name for name, now in positions.items() if before.get(name, now) != now]
    if not read:
        return "No upstream asset was materialized."
    return (
        f"What was materialized for {', '.join(read)} makes no dataset yet: its run or backfill prepares the dataset itself, "
        "more of its window is awaited, or its partition is that of no dataset (docs/dagster.md)."
    )


def _launch(
    context: dg.SensorEvaluationContext,
    resource: DeploymentResource,
    pipeline: Pipeline,
    source: UpstreamAsset,
    positions: dict[str, _Read],
) -> list[str]:
    """Launch the datasets of one pipeline that are complete and whose partition exists."""
    key, name, names = asset_key(source), f"{pipeline.name}:{source.asset}", Names.of(pipeline)
    if name not in positions:
        latest = context.instance.fetch_materializations(key, limit=1).records
        positions[name] = _Read(latest[0].storage_id if latest else 0)
        return []
    position, early = positions[name]
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, after_storage_id=position),
        limit=_MOST_EVENTS,
        ascending=True,
    ).records
    if not records and not early:
        return []
    last = records[-1].storage_id if records else position
    prepared = _prepared_by_their_runs(context.instance, records, names.asset("input_dataset"))
    records = [record for record in records if record.run_id not in prepared]
    graph = context.repository_def.asset_graph if context.repository_def else None
    upstream = graph.get(key).partitions_def if graph and graph.has(key) else None
    concerned = [
        dataset
        for record in records
        for dataset in _concerned(context, pipeline, source, upstream, record.partition_key)
    ]
    own = names.own_partitions
    still = [dataset for dataset in early if own is None or will_exist(own, names.partition(dataset))]
    complete = [
        dataset
        for dataset in dict.fromkeys([*still, *concerned])
        if _is_complete(context.instance, names, key, upstream, dataset)
    ]
    due = [dataset for dataset in complete if names.has_partition(dataset)]
    launched = []
    if due:
        with resource.open() as opened:
            for dataset in due:
                launched += _request(context, opened, pipeline.name, dataset)
    positions[name] = _Read(last, [dataset for dataset in complete if dataset not in due])
    return launched


def _concerned(
    context: dg.SensorEvaluationContext,
    pipeline: Pipeline,
    source: UpstreamAsset,
    upstream: dg.PartitionsDefinition | None,
    key: str | None,
) -> list[str]:
    try:
        return datasets_of(pipeline, source, upstream, key)
    except KeyRuleError as error:  # it concerns this partition alone
        context.log.warning("%s of %s: %s", key, source.asset, error)
        return []


def _prepared_by_their_runs(
    instance: dg.DagsterInstance, records: Sequence[EventLogRecord], input_dataset: dg.AssetKey
) -> set[str]:
    """The runs of these materializations that prepare the datasets themselves, or whose backfill does.

    If these were launched too, each would be prepared twice.
    """
    found = set()
    for run_id in {record.run_id for record in records}:
        run = instance.get_run_by_id(run_id)
        backfill = (
            instance.get_backfill(run.tags[BACKFILL_ID_TAG]) if run and BACKFILL_ID_TAG in run.tags else None
        )
        # A run of a whole job has no selection.
        planned = instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        )
        selected = {record.asset_key for record in planned.records} | {*((run and run.asset_selection) or ())}
        selected |= {*((backfill and backfill.asset_selection) or ())}
        if input_dataset in selected:
            found.add(run_id)
    return found


def _is_complete(
    instance: dg.DagsterInstance,
    names: Names,
    key: dg.AssetKey,
    upstream: dg.PartitionsDefinition | None,
    dataset: str,
) -> bool:
    """Whether all partitions that the dataset is made of are materialized; a week of days is launched once, at its end."""
    needed = upstream_keys(names, upstream, dataset) or []
    return len(needed) <= 1 or set(needed) <= instance.get_materialized_partitions(key)


def _request(
    context: dg.SensorEvaluationContext, opened: Deployment, pipeline: str, dataset: str
) -> list[str]:
    try:
        opened.ledger.datasets.request(pipeline, dataset, {}, launch=True, launch_id=opened.system.new_id())
    except ServiceUnavailableError:
        raise
    except BedrockPipelineError as error:  # it concerns this dataset alone
        context.log.warning("%s of %s: %s", dataset, pipeline, error)
        return []
    return [f"{dataset} of {pipeline}"]
