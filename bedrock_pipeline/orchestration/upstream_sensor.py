"""The sensor that launches a dataset when the asset that is its input is materialized."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import dagster as dg
from dagster._core.event_api import EventLogRecord
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionStatus
from dagster._core.storage.tags import BACKFILL_ID_TAG

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.sensors import TICK_S
from bedrock_pipeline.orchestration.upstream import asset_key
from bedrock_pipeline.orchestration.upstream_partitions import datasets_of, upstream_keys, will_exist
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.records.keys import KeyRuleError
from bedrock_pipeline.settings import NotConfiguredError
from bedrock_pipeline.sources import UpstreamAsset

#: The most materializations of an asset that a tick reads.
_MOST_EVENTS: Final = 100
#: Before the id of a run or backfill that prepares datasets itself.
_RUN: Final = "run:"
_BACKFILL: Final = "backfill:"
_FAILED_BACKFILLS: Final = (BulkActionStatus.FAILED, BulkActionStatus.COMPLETED_FAILED)
#: The partitions whose datasets a run or backfill prepares itself, which is not over, by run or backfill.
_Awaited = Mapping[str, list[str | None]]


class _Read(NamedTuple):
    """What was read of an asset for a pipeline, in the sensor's cursor.

    Attributes:
        position: of the last materialization.
        early: datasets that are complete, and are launched when their partition exists: a week whose days were materialized
            before it ended.
        awaited: what runs and backfills prepare themselves that are not over.
    """

    position: int
    early: Sequence[str]
    awaited: _Awaited


def upstream_sensor(pipelines: Sequence[BasePipeline], prefix: str) -> Iterator[dg.SensorDefinition]:
    """The sensor, if a pipeline's input is an asset that launches datasets.

    It launches what is materialized after its first tick, unless the run or the backfill that materialized it prepares the
    dataset too: while that goes on it is awaited, and if it fails, what it has materialized is launched. A backfill of
    `input_dataset` and `batch_chunks` processes what was there before. A lost cursor means that nothing is launched for what
    was materialized meanwhile.
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
        minimum_interval_seconds=TICK_S,
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
        positions[name] = _Read(latest[0].storage_id if latest else 0, [], {})
        return []
    position, early, awaited = positions[name]
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, after_storage_id=position),
        limit=_MOST_EVENTS,
        ascending=True,
    ).records
    if not records and not early and not awaited:
        return []
    last = records[-1].storage_id if records else position
    to_launch, going_on = _decided(context.instance, records, awaited, names.asset("input_dataset"))
    graph = context.repository_def.asset_graph if context.repository_def else None
    upstream = graph.get(key).partitions_def if graph and graph.has(key) else None
    concerned = [
        dataset
        for partition in to_launch
        for dataset in _concerned(context, pipeline, source, upstream, partition)
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
    positions[name] = _Read(last, [dataset for dataset in complete if dataset not in due], going_on)
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


def _decided(
    instance: dg.DagsterInstance,
    records: Sequence[EventLogRecord],
    awaited: _Awaited,
    input_dataset: dg.AssetKey,
) -> tuple[list[str | None], _Awaited]:
    """Of these materializations and those that were awaited, the partitions that are launched, and what is awaited now.

    If what a run or backfill prepares itself were launched too, it would be prepared twice.
    """
    preparers = {
        run_id: _preparer(instance, run_id, input_dataset) for run_id in {one.run_id for one in records}
    }
    by_preparer: dict[str | None, list[str | None]] = {one: [*keys] for one, keys in awaited.items()}
    for record in records:
        by_preparer.setdefault(preparers[record.run_id], []).append(record.partition_key)
    fates = {one: _fate(instance, one) for one in by_preparer}
    to_launch = [key for one, keys in by_preparer.items() if fates[one] == "failed" for key in keys]
    return to_launch, {one: keys for one, keys in by_preparer.items() if one and fates[one] == "going on"}


def _preparer(instance: dg.DagsterInstance, run_id: str, input_dataset: dg.AssetKey) -> str | None:
    """The run of a materialization, or its backfill, that prepares the dataset itself; None if none does."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return None
    # A run of a whole job has no selection.
    planned = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    if input_dataset in {record.asset_key for record in planned.records} | {*(run.asset_selection or ())}:
        return f"{_RUN}{run_id}"
    backfill_id = run.tags.get(BACKFILL_ID_TAG, "")
    backfill = instance.get_backfill(backfill_id) if backfill_id else None
    return (
        f"{_BACKFILL}{backfill_id}"
        if backfill and input_dataset in (backfill.asset_selection or ())
        else None
    )


def _fate(instance: dg.DagsterInstance, preparer: str | None) -> Literal["going on", "ended", "failed"]:
    """The outcome of a run or backfill that prepares datasets itself; what was terminated is not launched after all."""
    if preparer is None:
        return "failed"
    if preparer.startswith(_RUN):
        run = instance.get_run_by_id(preparer.removeprefix(_RUN))
        if run is None or run.status is dg.DagsterRunStatus.FAILURE:
            return "failed"
        return "ended" if run.is_finished else "going on"
    backfill = instance.get_backfill(preparer.removeprefix(_BACKFILL))
    if backfill is None or backfill.status in _FAILED_BACKFILLS:
        return "failed"
    return "ended" if backfill.status in BULK_ACTION_TERMINAL_STATUSES else "going on"


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
