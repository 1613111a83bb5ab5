"""Carry out a step, and what it then shows in Dagster: the same in a run of its asset and in one that does many items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from bedrock_pipeline.carry_out import Report, carry_out
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.due_work import OF_CHUNKS, WorkItem
from bedrock_pipeline.orchestration import lineage, metadata
from bedrock_pipeline.orchestration.names import Names
from bedrock_pipeline.orchestration.options import execute, options_of
from bedrock_pipeline.orchestration.result_checks import Measures, judged
from bedrock_pipeline.orchestration.timeline import timeline
from bedrock_pipeline.pipeline import BasePipeline

if TYPE_CHECKING:
    from bedrock_pipeline.collect.collect_chunk import CollectReport
    from bedrock_pipeline.collect.start_retry_round import RetryRoundReport
    from bedrock_pipeline.publish.publish_dataset import Publication
    from bedrock_pipeline.submit.submit_chunk import Outcome

#: The asset that a kind of work materializes, or observes.
ASSET_OF: Final = {
    "submit": "submitted_jobs",
    "collect": "parsed_results",
    "retry": "batch_chunks",
    "publish": "results",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What Dagster shows of an item that was carried out.

    Attributes:
        materialized: metadata of the materialization; None if nothing was materialized.
        observed: metadata of an observation; None if there is none.
        checks: of the materialized partition.
        data_version: of the materialization.
        warnings: for the log of the run.
        notes: for the log of the run.
        chunks: keys of chunks that are new.
    """

    materialized: metadata.Metadata | None = None
    observed: metadata.Metadata | None = None
    checks: Sequence[dg.AssetCheckResult] = ()
    data_version: str | None = None
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    chunks: Sequence[str] = ()

    def log(
        self, context: dg.OpExecutionContext | dg.AssetExecutionContext, names: Names, item: WorkItem
    ) -> None:
        """Log what the materialization does not show, and register new chunks."""
        for warning in self.warnings:
            context.log.warning("%s", warning)
        for note in self.notes:
            context.log.info("%s", note)
        names.register(context.instance, chunks=self.chunks)
        if self.observed is not None:
            asset = names.asset(ASSET_OF[item.kind])
            partition = names.partition_of(item)
            context.log_event(dg.AssetObservation(asset, partition=partition, metadata=self.observed))

    def events(
        self, names: Names, item: WorkItem
    ) -> Iterator[dg.AssetMaterialization | dg.AssetCheckEvaluation]:
        """The materialization and its checks, for a run that is not one of the asset."""
        asset, partition = names.asset(ASSET_OF[item.kind]), names.partition_of(item)
        if self.materialized is not None:
            tags = {DATA_VERSION_TAG: self.data_version} if self.data_version else None
            yield dg.AssetMaterialization(asset, partition=partition, metadata=self.materialized, tags=tags)
        for check in self.checks:
            yield _evaluation(asset, check)


def shown(deployment: Deployment, pipeline: BasePipeline, item: WorkItem, report: Report) -> Shown:
    """What Dagster shows of an item, from the report of its step."""
    match item.kind:
        case "submit":
            return _submission(deployment, item, cast("Outcome", report))
        case "collect":
            return _collection(item, cast("CollectReport", report))
        case "retry":
            return _retry_round(item, cast("RetryRoundReport", report))
        case _:
            return _publication(deployment, pipeline, item, cast("Publication", report))


def carried_out(
    context: dg.OpExecutionContext | dg.AssetExecutionContext,
    deployment: Deployment,
    pipeline: BasePipeline,
    item: WorkItem,
) -> Report:
    """Carry out an item, by the pipeline's own `execute` if it has one."""
    return execute(pipeline, context, ASSET_OF[item.kind], partial(carry_out, deployment, pipeline, item))


def register(instance: dg.DagsterInstance, names: Mapping[str, Names], items: Sequence[WorkItem]) -> None:
    """Add the partitions of these items, so that runs and events can name them; `names` by pipeline."""
    for pipeline in sorted({item.pipeline for item in items}):
        own = [item for item in items if item.pipeline == pipeline]
        names[pipeline].register(
            instance,
            datasets=[item.key for item in own if item.kind not in OF_CHUNKS],
            chunks=[item.key for item in own if item.kind in OF_CHUNKS],
        )


def _submission(deployment: Deployment, item: WorkItem, outcome: "Outcome") -> Shown:
    from bedrock_pipeline.submit.invoke_on_demand import Answered
    from bedrock_pipeline.submit.submit_chunk import Submitted

    if isinstance(outcome, Submitted):
        return Shown(metadata.of_submission(outcome))
    if isinstance(outcome, Answered):
        repeated = (
            f"{item.key}: {outcome.repeated} calls were in flight when a process died and were sent again."
        )
        return Shown(metadata.of_calls(outcome), warnings=[repeated] if outcome.repeated else [])
    until = getattr(outcome, "until", None)
    next_submission = f" Next submission at {until:%H:%M:%S %Z}." if until else ""
    chunk = deployment.ledger.chunks.by_key(item.pipeline, item.key)
    return Shown(
        observed=metadata.of_wait(outcome.reason, until, chunk),
        notes=[f"{item.key}: not submitted now: {outcome.reason}{next_submission}"],
    )


def _collection(item: WorkItem, report: "CollectReport") -> Shown:
    warnings = [f"{item.key}: {discrepancy}" for discrepancy in report.discrepancies]
    if retried := report.tally.retryable:
        warnings.append(f"{item.key}: {retried} records are retried: {report.retryable_by_code}")
    return Shown(metadata.of_collection(report), checks=[metadata.whole_responses(report)], warnings=warnings)


def _retry_round(item: WorkItem, report: "RetryRoundReport") -> Shown:
    return Shown(
        observed=metadata.of_retry_round(report),
        warnings=[f"{item.key}: {report.waits_for}"] if report.waits_for else [],
        chunks=[chunk.chunk_key for chunk in report.chunks],
    )


def _publication(
    deployment: Deployment, pipeline: BasePipeline, item: WorkItem, published: "Publication"
) -> Shown:
    from bedrock_pipeline.orchestration.preview import preview  # it reads parquet

    row, options = deployment.ledger.datasets.ensure(pipeline.name, item.key), options_of(pipeline)
    version = row.published_version or row.version
    chunks = deployment.ledger.chunks.of_dataset(pipeline.name, item.key, version)
    measures = Measures.of(row, chunks, published)
    drawn = timeline(row.packed_at, chunks) if row.packed_at and version == row.version else None
    return Shown(
        {
            **metadata.of_publication(published, measures.by_code),
            **metadata.of_destination(pipeline, item.key),
            **lineage.of_results(pipeline, published.schema.names),
            **preview(deployment, pipeline, item.key, published, options.preview_rows),
            **({"timeline": dg.MetadataValue.md(drawn)} if drawn else {}),
        },
        data_version=published.version,
        checks=judged(measures, options.thresholds),
    )


def _evaluation(asset: dg.AssetKey, check: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert check.check_name is not None  # `metadata` names it
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=check.check_name,
        passed=check.passed,
        severity=check.severity,
        description=check.description,
        metadata=check.metadata,
    )
