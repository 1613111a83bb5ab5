"""The assets of a pipeline: each step with what it materializes, when it fails, and what the UI shows."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, cast
from uuid import UUID

import dagster as dg

from bedrock_pipeline.aws.objects import ObjectMissingError
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import OF_CHUNKS, WorkItem
from bedrock_pipeline.errors import BedrockPipelineError, ConfigurationError, ServiceUnavailableError
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.ledger.run_leases import Kind
from bedrock_pipeline.ledger.versions import VersionReplacedError
from bedrock_pipeline.orchestration import lineage, metadata
from bedrock_pipeline.orchestration.names import RESULTS_IO_MANAGER, Names
from bedrock_pipeline.orchestration.options import execute, translated
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.result_checks import check_specs
from bedrock_pipeline.orchestration.runs import working
from bedrock_pipeline.orchestration.steps import Shown, carried_out, shown
from bedrock_pipeline.orchestration.upstream import loaded_asset, upstream_deps
from bedrock_pipeline.outages import cause_of
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.queue_pipeline import QueuePipeline

if TYPE_CHECKING:
    from bedrock_pipeline.prepare.take_snapshot import SnapshotReport

#: Errors of code and data, in a function of the pipeline or in this package: the next run would fail in the same way.
_DEFECTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    LookupError,
    NameError,
    NotADirectoryError,
    PermissionError,
    TypeError,
    ValueError,
)
_DEFECT = "{} in the run {}, whose log has the traceback. Correct its cause, and launch the dataset again."
#: The type of outputs that no IO manager stores; otherwise the project's own would get a None.
_NOTHING = cast("dg.DagsterType", dg.Nothing)
_Materialized = dg.MaterializeResult[None]
_SETTINGS_KEPT = "%s: jobs of version %s were submitted, so it keeps the limits, prices and policies that it was launched with."
_CODE_DIFFERS = (
    "%s: version %s is packed by the settings that it was launched with. The code has others now: materialize input_dataset "
    "for a version with those."
)


def pipeline_assets(pipeline: BasePipeline) -> Iterator[dg.AssetsDefinition]:
    """The assets of one pipeline, from its input to its results; the input of a queue is its tasks."""
    for name, asset in _assets(pipeline):
        yield asset.map_asset_specs(partial(_translated, pipeline, name))


def _translated(pipeline: BasePipeline, name: str, spec: dg.AssetSpec) -> dg.AssetSpec:
    """The spec by the pipeline's translation, which takes the key that the asset would have without it.

    Raises:
        ConfigurationError: it has another key than what refers to the asset.
    """
    found = translated(pipeline, name, spec.replace_attributes(key=Names(pipeline.name).asset(name)))
    if found.key != (key := Names.of(pipeline).asset(name)):
        raise ConfigurationError(
            f"Pipeline {pipeline.name!r}: translate gives {name} the key {found.key.to_user_string()!r} once, and "
            f"{key.to_user_string()!r} where other assets refer to it, without its deps.",
            "Make the key of the step and of the spec's key, group, kinds, description or partitions.",
        )
    return found


def _assets(pipeline: BasePipeline) -> Iterator[tuple[str, dg.AssetsDefinition]]:
    if isinstance(pipeline, Pipeline):
        yield "input_dataset", _input_dataset(pipeline)
        yield "batch_chunks", _batch_chunks(pipeline)
    elif isinstance(pipeline, QueuePipeline):
        yield "batch_chunks", _flushed_chunks(pipeline)
    yield "submitted_jobs", _submitted_jobs(pipeline)
    yield "parsed_results", _parsed_results(pipeline)
    yield "results", _results(pipeline)


def _input_dataset(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("input_dataset"),
        **names.attributes("input_dataset"),
        deps=upstream_deps(pipeline),
        output_required=False,
        dagster_type=_NOTHING,
    )
    def input_dataset(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> Iterator[dg.Output[None]]:
        from bedrock_pipeline.prepare.take_snapshot import take_snapshot

        dataset, batch_chunks = names.dataset(context.partition_key), names.asset("batch_chunks")
        report: SnapshotReport | None = None
        with (
            loaded_asset(context, pipeline) as load,
            _preparing(
                context,
                bedrock_deployment,
                pipeline.name,
                dataset,
                lambda row: row.launch_id,
                goes_on=lambda: report is not None and batch_chunks in _selected(context),
            ) as opened,
        ):
            work = partial(take_snapshot, opened, pipeline, dataset, load)
            report = execute(pipeline, context, "input_dataset", work)
        if report:
            if report.settings_kept:
                context.log.warning(_SETTINGS_KEPT, dataset, report.version)
            yield dg.Output(
                None,
                metadata={
                    **metadata.of_snapshot(report),
                    **lineage.of_snapshot(pipeline, report.schema.names),
                },
                data_version=dg.DataVersion(report.content_hash),
            )

    return input_dataset


def _batch_chunks(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("batch_chunks"),
        **names.attributes("batch_chunks"),
        deps=[names.asset("input_dataset")],
        output_required=False,
        dagster_type=_NOTHING,
    )
    def batch_chunks(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> Iterator[dg.Output[None]]:
        from bedrock_pipeline.prepare.pack_dataset import pack_dataset

        dataset, report = names.dataset(context.partition_key), None
        with _preparing(
            context, bedrock_deployment, pipeline.name, dataset, lambda row: row.snapshot_launch_id
        ) as opened:
            report = execute(
                pipeline, context, "batch_chunks", partial(pack_dataset, opened, pipeline, dataset)
            )
            names.register(context.instance, chunks=[chunk.chunk_key for chunk in report.chunks])
        if report:
            if report.code_differs:
                context.log.warning(_CODE_DIFFERS, dataset, report.version)
            yield dg.Output(None, metadata=metadata.of_pack(report))

    return batch_chunks


def _flushed_chunks(pipeline: QueuePipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("batch_chunks"),
        **names.attributes("batch_chunks"),
    )
    def batch_chunks(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> _Materialized:
        from bedrock_pipeline.queue.flush_queue import flush_queue

        day = context.partition_key
        with working(bedrock_deployment, "flush", pipeline.name, day) as opened:
            flushed = list(flush_queue(opened, pipeline, wait=False))
        chunks = [chunk for one in flushed for chunk in one.chunks]
        names.register(
            context.instance,
            datasets=sorted({one.dataset for one in flushed}),
            chunks=[chunk.chunk_key for chunk in chunks],
        )
        return dg.MaterializeResult(metadata=metadata.of_flush(chunks))

    return batch_chunks


def _submitted_jobs(pipeline: BasePipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("submitted_jobs"),
        **names.attributes("submitted_jobs"),
        deps=[_lineage(names, "batch_chunks")],
        output_required=False,
        dagster_type=_NOTHING,
    )
    def submitted_jobs(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> Iterator[dg.Output[None]]:
        done = _carried_out(context, bedrock_deployment, "submit", pipeline)
        if done.materialized is not None:
            yield dg.Output(None, metadata=done.materialized)

    return submitted_jobs


def _parsed_results(pipeline: BasePipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("parsed_results"),
        **names.attributes("parsed_results"),
        deps=[names.asset("submitted_jobs")],
        check_specs=[
            dg.AssetCheckSpec(
                metadata.WHOLE_RESPONSES,
                asset=names.asset("parsed_results"),
                description="No response was declined, filtered, cut off or paused, and none breaks its schema.",
            )
        ],
    )
    def parsed_results(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster does not see through an alias beside a check
        done = _carried_out(context, bedrock_deployment, "collect", pipeline)
        return dg.MaterializeResult(metadata=done.materialized, check_results=done.checks)

    return parsed_results


def _results(pipeline: BasePipeline) -> dg.AssetsDefinition:
    names = Names.of(pipeline)

    @dg.asset(
        key=names.asset("results"),
        **names.attributes("results"),
        deps=[_lineage(names, "parsed_results")],
        io_manager_key=RESULTS_IO_MANAGER,
        check_specs=check_specs(pipeline, names.asset("results")),
    )
    def results(
        context: dg.AssetExecutionContext, bedrock_deployment: DeploymentResource
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # as above
        done = _carried_out(context, bedrock_deployment, "publish", pipeline)
        return dg.MaterializeResult(
            metadata=done.materialized,
            data_version=dg.DataVersion(cast("str", done.data_version)),
            check_results=done.checks,
        )

    return results


def _carried_out(
    context: dg.AssetExecutionContext, resource: DeploymentResource, kind: Kind, pipeline: BasePipeline
) -> Shown:
    """Carry out the item of the run's partition."""
    names, partition = Names.of(pipeline), context.partition_key
    item = WorkItem(kind, pipeline.name, partition if kind in OF_CHUNKS else names.dataset(partition))
    with working(resource, kind, pipeline.name, item.key) as opened:
        done = shown(opened, pipeline, item, carried_out(context, opened, pipeline, item))
    done.log(context, names, item)
    return done


def _lineage(names: Names, upstream: str) -> dg.AssetDep:
    """An edge between datasets and chunks that only shows lineage: no backfill or staleness follows it."""
    return dg.AssetDep(names.asset(upstream), partition_mapping=dg.SpecificPartitionsPartitionMapping([]))


@contextmanager
def _preparing(
    context: dg.AssetExecutionContext,
    resource: DeploymentResource,
    pipeline: str,
    dataset: str,
    launch_of: Callable[[DatasetRow], UUID | None],
    goes_on: Callable[[], bool] = lambda: False,
) -> Iterator[Deployment]:
    """A run's work on the version that is current when it begins.

    If that version is replaced meanwhile, the run ends without a result. An error that passes by itself leaves the launch
    requested; one that may pass does so until it is given up; any other ends it, since an operator must act. If the run
    `goes_on`, no other is requested in between.
    """
    with working(resource, "prepare", pipeline, dataset, goes_on) as opened:
        begun = opened.ledger.datasets.ensure(pipeline, dataset)

        def end(reason: str) -> None:
            opened.ledger.datasets.fail_preparation(begun, launch_of(begun), reason)

        def end_in_time(reason: str) -> None:
            requested = begun.launch_requested_at
            if requested and opened.system.now() - requested > opened.settings.give_up_after:
                end(reason)

        try:
            yield opened
        except VersionReplacedError as error:
            context.log.warning("%s", error)
        except ObjectMissingError as error:
            end(str(error))
            raise
        except ServiceUnavailableError as error:
            if cause_of(error) is None:  # credentials, say, which somebody may renew
                end_in_time(str(error))
            raise
        except BedrockPipelineError as error:
            from bedrock_pipeline.prepare.pack_dataset import NoSnapshotError

            if isinstance(error, NoSnapshotError):
                raise
            end(str(error))
            raise
        except _DEFECTS as error:
            end(_DEFECT.format(type(error).__name__, context.run.run_id))  # the message may quote a row
            raise
        except Exception as error:  # of a library or a function
            end_in_time(_DEFECT.format(type(error).__name__, context.run.run_id))
            raise


def _selected(context: dg.AssetExecutionContext) -> AbstractSet[dg.AssetKey]:
    """The assets that the run materializes, also those that another step does."""
    return context.job_def.asset_layer.selected_asset_keys
