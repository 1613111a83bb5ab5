"""The assets of a pipeline.

What belongs here: each stage as an asset: what is green, what is red, what the UI is told.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.orchestration import metadata
from bedrock_pipeline.orchestration.names import RESULTS_IO_MANAGER, Names
from bedrock_pipeline.orchestration.partitions import register
from bedrock_pipeline.orchestration.red import PASSING, red
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.orchestration.run_leases import run_lease
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.queue.flush_queue import flush_queue
from bedrock_pipeline.submit.invoke_on_demand import Answered
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk


def build_pipeline_assets(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """The assets of one pipeline, from its input to its results; a queue has no input but its tasks."""
    first = (
        [_flushed_chunks(pipeline)] if pipeline.queue else [_input_dataset(pipeline), _batch_chunks(pipeline)]
    )
    return [
        *first,
        _submitted_jobs(pipeline),
        _parsed_results(pipeline),
        _results(pipeline),
    ]


def _input_dataset(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("input_dataset"),
        partitions_def=names.datasets,
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        description="An immutable snapshot of the dataset's input: record ids, what the prompt needs, what is carried along.",
    )
    def input_dataset(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> dg.MaterializeResult[None]:
        dataset = context.partition_key
        with deployment.open() as opened, _launching(opened, pipeline.name, dataset):
            report = take_snapshot(opened, pipeline, dataset)
        return dg.MaterializeResult(
            metadata=metadata.of_snapshot(report), data_version=dg.DataVersion(report.content_hash)
        )

    return input_dataset


def _batch_chunks(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("batch_chunks"),
        deps=[names.asset("input_dataset")],
        partitions_def=names.datasets,
        group_name=pipeline.name,
        kinds={"json", "s3"},
        description="The dataset as JSONL chunks within Bedrock's limits, uploaded and entered into the ledger.",
    )
    def batch_chunks(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> dg.MaterializeResult[None]:
        dataset = context.partition_key
        with deployment.open() as opened, _launching(opened, pipeline.name, dataset):
            report = pack_dataset(opened, pipeline, dataset)
            register(context.instance, names, chunks=[chunk.chunk_key for chunk in report.chunks])
            opened.ledger.datasets.launched(pipeline.name, dataset)
        return dg.MaterializeResult(metadata=metadata.of_pack(report))

    return batch_chunks


def _flushed_chunks(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("batch_chunks"),
        partitions_def=names.datasets,
        group_name=pipeline.name,
        kinds={"json", "s3"},
        description="Flushes the queue: its waiting tasks become chunks of today's dataset.",
    )
    def batch_chunks(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> dg.MaterializeResult[None]:
        day = context.partition_key
        with deployment.open() as opened, run_lease(opened, "flush", pipeline.name, day), red():
            flushed = list(flush_queue(opened, pipeline, wait=False))
        chunks = [chunk for one in flushed for chunk in one.chunks]
        days = {one.dataset for one in flushed}
        register(context.instance, names, datasets=sorted(days), chunks=[chunk.chunk_key for chunk in chunks])
        return dg.MaterializeResult(metadata=metadata.of_flush(chunks))

    return batch_chunks


def _submitted_jobs(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("submitted_jobs"),
        deps=[_lineage(names, "batch_chunks")],
        partitions_def=names.chunks,
        group_name=pipeline.name,
        kinds={"aws", _model_kind(pipeline)},
        output_required=False,
        description="The chunk's job at Bedrock, or its on-demand calls. Green and still missing: it was put back and will be submitted later.",
    )
    def submitted_jobs(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> Iterator[dg.Output[None]]:
        key = context.partition_key
        with deployment.open() as opened, run_lease(opened, "submit", pipeline.name, key), red():
            outcome = submit_chunk(opened, pipeline.name, key)
            chunk = opened.ledger.chunks.by_key(pipeline.name, key)
            region = opened.settings.region
        if isinstance(outcome, Submitted):
            yield dg.Output(None, metadata=metadata.of_submission(outcome, region))
        elif isinstance(outcome, Answered):
            if outcome.repeated:
                context.log.warning(
                    "%s: %s calls were in flight when a process died, and were sent again.",
                    key,
                    outcome.repeated,
                )
            yield dg.Output(None, metadata=metadata.of_calls(outcome))
        else:
            until = getattr(outcome, "until", None)
            next_try = f" Next try at {until:%H:%M:%S %Z}." if until else ""
            context.log.info("Not submitted now: %s%s", outcome.reason, next_try)
            told = metadata.of_wait(outcome.reason, until, chunk)
            context.log_event(dg.AssetObservation(context.asset_key, partition=key, metadata=told))

    return submitted_jobs


def _parsed_results(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("parsed_results"),
        deps=[names.asset("submitted_jobs")],
        partitions_def=names.chunks,
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        description="The chunk's answers, joined by record id; every record is accounted for.",
    )
    def parsed_results(
        context: dg.AssetExecutionContext, deployment: DeploymentResource
    ) -> dg.MaterializeResult[None]:
        key = context.partition_key
        with deployment.open() as opened, run_lease(opened, "collect", pipeline.name, key), red():
            report = collect_chunk(opened, pipeline, key)
        for discrepancy in report.discrepancies:
            context.log.warning("%s: %s", key, discrepancy)
        if report.tally.retryable:
            context.log.warning(
                "%s: %s records are retried: %s", key, report.tally.retryable, report.retryable_by_code
            )
        return dg.MaterializeResult(metadata=metadata.of_collection(report))

    return parsed_results


def _results(pipeline: Pipeline) -> dg.AssetsDefinition:
    names = Names(pipeline.name)

    @dg.asset(
        key=names.asset("results"),
        deps=[_lineage(names, "parsed_results")],
        partitions_def=names.datasets,
        group_name=pipeline.name,
        kinds={"parquet", "s3"},
        io_manager_key=RESULTS_IO_MANAGER,
        description="The dataset's published answers: complete, and visible at once.",
    )
    def results(context: dg.AssetExecutionContext, deployment: DeploymentResource) -> dg.Output[None]:
        dataset = context.partition_key
        with deployment.open() as opened, run_lease(opened, "publish", pipeline.name, dataset), red():
            published = publish_dataset(opened, pipeline, dataset)
        return dg.Output(
            None, metadata=metadata.of_publication(published), data_version=dg.DataVersion(published.version)
        )

    return results


def _lineage(names: Names, upstream: str) -> dg.AssetDep:
    """An edge between datasets and chunks is drawn and nothing more: no backfill or staleness follows it."""
    return dg.AssetDep(names.asset(upstream), partition_mapping=dg.SpecificPartitionsPartitionMapping([]))


@contextmanager
def _launching(opened: Deployment, pipeline: str, dataset: str) -> Iterator[None]:
    """An error that a person must cure ends the wish to launch; another leaves it."""
    with run_lease(opened, "prepare", pipeline, dataset), red():
        try:
            yield
        except PASSING:
            raise
        except BedrockPipelineError:
            opened.ledger.datasets.launched(pipeline, dataset)
            raise


def _model_kind(pipeline: Pipeline) -> str:
    return {"claude": "claude", "titan-embed": "aws"}.get(pipeline.model_family.name, "ai")
