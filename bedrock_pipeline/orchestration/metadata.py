"""Dagster metadata from the reports of the steps: counts, sizes, costs and links; never a prompt or a response."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from bedrock_pipeline.ledger.rows import ChunkRow, DatasetProgress, DatasetRow, NewChunk
from bedrock_pipeline.orchestration.markdown import bullets, table
from bedrock_pipeline.pipeline import BasePipeline, Pipeline
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.sources import DeltaTable

if TYPE_CHECKING:
    import pyarrow as pa

    from bedrock_pipeline.collect.collect_chunk import CollectReport
    from bedrock_pipeline.collect.start_retry_round import RetryRoundReport
    from bedrock_pipeline.prepare.pack_dataset import PackReport
    from bedrock_pipeline.prepare.take_snapshot import SnapshotReport
    from bedrock_pipeline.publish.publish_dataset import Publication
    from bedrock_pipeline.submit.invoke_on_demand import Answered
    from bedrock_pipeline.submit.submit_chunk import Submitted

Metadata = dict[str, Any]
_MOST_ROWS = 50
_MOST_CODES = 10
_FROM_LEDGER: Final[Metadata] = {"reported_by": "the ledger, since Dagster's storage did not have it"}
#: The check of collected responses.
WHOLE_RESPONSES: Final = "whole_responses"


def of_snapshot(report: "SnapshotReport") -> Metadata:
    """A snapshot: records, duplicates, and rejected rows by reason."""
    return {
        "dataset_version": report.version,
        "dagster/row_count": report.records,
        "dagster/column_schema": _columns(report.schema),
        "duplicates": report.duplicates,
        "rejected": report.rejected,
        **(
            {"rejections": _counts(report.rejections), "rejected_rows": report.rejected_uri}
            if report.rejected
            else {}
        ),
        "dagster/partition_row_count": report.records,
        "dagster/uri": report.uri,
        "snapshot": report.uri,
        **({"input_notes": bullets(report.notes)} if report.notes else {}),
    }


def of_pack(report: "PackReport") -> Metadata:
    """A packed dataset: chunks, their sizes, and the estimate of tokens and cost before anything is submitted."""
    estimate = report.estimate
    return {
        "dataset_version": report.version,
        "dagster/row_count": report.records,
        "duplicates": report.duplicates,
        "outcome": report.outcome,
        "chunks": len(report.chunks),
        "records": report.records,
        "bytes": report.bytes,
        "input_tokens": estimate.input_tokens,
        "output_tokens": estimate.output_tokens,
        **_costs(estimate.cost_usd, estimate.on_demand_cost_usd),
        **({"cut_off_cost_usd": float(estimate.cut_off_cost_usd)} if estimate.cut_off_cost_usd else {}),
        **({"max_cost_usd": float(report.max_cost_usd)} if report.max_cost_usd else {}),
        "jobs": estimate.jobs,
        "waves": estimate.waves,
        "rejected": report.rejected,
        **({"rejections": _counts(report.rejections)} if report.rejected else {}),
        "chunk_sizes": _sizes(report.chunks),
    }


def of_flush(chunks: Sequence[NewChunk]) -> Metadata:
    """A flush: the chunks that it added."""
    return {
        "dagster/row_count": sum(chunk.records for chunk in chunks),
        "chunks": len(chunks),
        "bytes": sum(chunk.bytes for chunk in chunks),
        "chunk_sizes": _sizes(chunks),
    }


def of_outside_work(chunk: ChunkRow) -> Metadata:
    """A chunk that a process outside Dagster has submitted or collected."""
    return {
        "done_by": "a process outside Dagster",
        "status": chunk.status,
        "records": chunk.records,
        "job_arn": chunk.job_arn or "",
        **({"answered": chunk.answered, "failed": chunk.final_errors} if chunk.collected_at else {}),
    }


def of_known_snapshot(row: DatasetRow) -> Metadata:
    """A snapshot that the ledger knows, and Dagster does not."""
    return {
        **_FROM_LEDGER,
        "dataset_version": row.version,
        "dagster/row_count": row.snapshot_records,
        "dagster/partition_row_count": row.snapshot_records,
        "duplicates": row.snapshot_duplicates,
        "rejected": row.snapshot_rejected,
        "dagster/uri": row.snapshot_uri,
    }


def of_known_chunks(row: DatasetRow) -> Metadata:
    """A packed dataset that the ledger knows, and Dagster does not."""
    return {
        **_FROM_LEDGER,
        "dataset_version": row.version,
        "dagster/row_count": row.packed_records,
        "duplicates": row.packed_duplicates,
        "rejected": row.packed_rejected,
    }


def of_known_results(row: DatasetRow, progress: DatasetProgress, version: str) -> Metadata:
    """A publication that the ledger knows, and Dagster does not."""
    failed = row.published_failed or 0
    return {
        **_FROM_LEDGER,
        "version": version,
        "dagster/row_count": row.published_records,
        "dagster/partition_row_count": row.published_records,
        "succeeded": (row.published_records or 0) - failed,
        "failed": failed,
        "input_tokens": progress.input_tokens,
        "output_tokens": progress.output_tokens,
        **_costs(progress.cost_usd, progress.on_demand_cost_usd),
        "dagster/uri": row.results_uri,
    }


def of_submission(outcome: "Submitted") -> Metadata:
    """A submitted job, with a link to the AWS console."""
    console = console_url(outcome.job_arn)
    return {
        "job_arn": outcome.job_arn,
        **({"console": dg.MetadataValue.url(console)} if console else {}),
        "records": outcome.chunk.records,
        "bytes": outcome.chunk.bytes,
        "submissions": outcome.chunk.submissions,
    }


def of_wait(reason: str, until: datetime | None, chunk: ChunkRow) -> Metadata:
    """A chunk that was not submitted: why, and when it is submitted next."""
    return {
        "reason": reason,
        "status": chunk.status,
        "submissions": chunk.submissions,
        **({"next_submission": dg.MetadataValue.timestamp(until)} if until else {}),
        **({"waits_since": dg.MetadataValue.timestamp(chunk.requeued_since)} if chunk.requeued_since else {}),
    }


def of_calls(outcome: "Answered") -> Metadata:
    """On-demand calls: how many were sent, and how many of them repeatedly."""
    return {
        "on_demand_calls": outcome.calls,
        "repeated_calls": outcome.repeated,
        "records": outcome.chunk.records,
        "bytes": outcome.chunk.bytes,
    }


def of_retry_round(report: "RetryRoundReport") -> Metadata:
    """A retry round: its retryable records and its chunks."""
    return {
        "retryable": report.records,
        "chunks": len(report.chunks),
        **({"waits_for": report.waits_for} if report.waits_for else {}),
        **({"chunk_sizes": _sizes(report.chunks)} if report.chunks else {}),
    }


def of_collection(report: "CollectReport") -> Metadata:
    """A collected job: its records by outcome, its tokens and cost, and discrepancies between them."""
    tally = report.tally
    return {
        "dagster/row_count": tally.answered + tally.final_errors,
        "dagster/column_schema": _columns(report.schema),
        "answered": tally.answered,
        "failed": tally.final_errors,
        "retryable": tally.retryable,
        **({"retryable_by_code": _counts(report.retryable_by_code)} if tally.retryable else {}),
        **({"final_errors_by_code": _counts(tally.final_by_code)} if tally.final_by_code else {}),
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        **_costs(tally.cost_usd, tally.on_demand_cost_usd),
        "job_arn": report.chunk.job_arn or "",
        "parsed": report.parsed_uri,
        **({"discrepancies": bullets(report.discrepancies)} if report.discrepancies else {}),
    }


def whole_responses(report: "CollectReport") -> dg.AssetCheckResult:
    """The check of a collected job's responses: how many of each kind are incomplete or break their schema."""
    from bedrock_pipeline.collect.retry_policy import INVALID_ANSWER

    found = {**report.tally.final_by_code}
    for code, count in report.retryable_by_code.items():
        found[code] = found.get(code, 0) + count
    kinds = (*Incomplete, INVALID_ANSWER)
    counts = {str(kind): found.get(kind, 0) for kind in kinds}
    return dg.AssetCheckResult(
        check_name=WHOLE_RESPONSES,
        passed=not any(counts.values()),
        severity=dg.AssetCheckSeverity.WARN,
        description=", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or None,
        metadata=counts,
    )


def of_publication(published: "Publication", failed_by_code: Mapping[str, int]) -> Metadata:
    """A publication: its records, failures by code, tokens and cost, and where it is.

    The most frequent codes are numbers of their own, which the UI plots over time.
    """
    frequent = sorted(failed_by_code.items(), key=lambda one: (-one[1], one[0]))[:_MOST_CODES]
    return {
        "dagster/row_count": published.records,
        "dagster/column_schema": _columns(published.schema),
        "version": published.version,
        "succeeded": published.succeeded,
        "failed": published.failed,
        **{f"failed: {code}": count for code, count in frequent},
        "input_tokens": published.input_tokens,
        "output_tokens": published.output_tokens,
        **_costs(published.cost_usd, published.on_demand_cost_usd),
        "dagster/partition_row_count": published.records,
        "dagster/uri": published.uri,
        "results": published.uri,
        "files": len(published.files),
    }


def of_destination(pipeline: BasePipeline, dataset: str | None) -> Metadata:
    """The table into which a pipeline publishes too, as other assets of Dagster name it.

    Args:
        pipeline: its `publish_to`.
        dataset: a dataset's key; None: of all datasets, if they have one table.
    """
    found = pipeline.publish_to if isinstance(pipeline, Pipeline) else None
    if found is None or (dataset is None and found != found.of("")):
        return {}
    found = found if dataset is None else found.of(dataset)
    name = found.location if isinstance(found, DeltaTable) else found.table
    return {"dagster/table_name": name, "dagster/storage_kind": found.kind}


def of_changes(chunks: Sequence[ChunkRow], counts: Sequence[Mapping[str, object]]) -> Metadata:
    """A poll: the statuses of a pipeline's chunks, and of those that changed the records that are done."""
    columns = ("dataset", "status", "chunks", "records", "processed")
    changed = [
        (one.chunk_key, one.status, one.processed_count or 0, one.records, one.error_count or 0)
        for one in chunks[:_MOST_ROWS]
    ]
    return {
        "records": sum(int(str(row["records"])) for row in counts),
        "processed": sum(int(str(row["processed"])) for row in counts),
        "statuses": table(columns, ([row[name] for name in columns] for row in counts)),
        "changed": table(("chunk", "status", "processed", "records", "errors"), changed),
    }


def _costs(cost: Decimal | None, on_demand: Decimal | None) -> Metadata:
    """Numbers, which the UI plots over time; null if the price is unknown."""
    costs = {"cost_usd": cost, "on_demand_cost_usd": on_demand}
    return {name: None if usd is None else float(usd) for name, usd in costs.items()}


def _columns(schema: "pa.Schema") -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(field.name, str(field.type), description=_description(field)) for field in schema]
    )


def _description(field: "pa.Field") -> str | None:
    """What a column contains; those of structured responses can say so themselves."""
    from bedrock_pipeline.records.result_schema import description_of

    own = (field.metadata or {}).get(b"description")
    return own.decode() if own else description_of(field.name)


def _counts(counts: Mapping[str, int]) -> dg.MetadataValue[Any]:
    frequent = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    others = sum(count for _, count in frequent[_MOST_ROWS:])
    return table(("reason", "records"), [*frequent[:_MOST_ROWS], *([("others", others)] if others else [])])


def _sizes(chunks: Sequence[NewChunk]) -> dg.MetadataValue[Any]:
    rows = [(one.chunk_key, one.records, one.bytes, one.mode) for one in chunks[:_MOST_ROWS]]
    more = [(f"… {len(chunks) - _MOST_ROWS} more", "", "", "")] if len(chunks) > _MOST_ROWS else []
    return table(("chunk", "records", "bytes", "mode"), [*rows, *more])


#: Where the console of a partition is, by the partition in an ARN ("AWS Management Console endpoints", AWS General Reference).
_CONSOLES: Final = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
}


def console_url(job_arn: str) -> str | None:
    """The page of a job in the console of AWS; None in a partition whose console is not known."""
    _, partition, _, region, _, job = job_arn.split(":", 5)
    if (domain := _CONSOLES.get(partition)) is None:
        return None
    return f"https://{region}.{domain}/bedrock/home?region={region}#/batch-inference/{job.rpartition('/')[2]}"
