"""Start a retry round: a dataset's retryable records become new chunks.

Lines are copied from the chunks' input in S3 as a stream, so that no request is rendered again; only its record id
changes.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.aws.parquet_objects import damaged, read_schema, read_table
from bedrock_pipeline.collect.collect_output import RETRYABLE
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.frozen_settings import pipeline_of
from bedrock_pipeline.job_options import settings_of_jobs
from bedrock_pipeline.ledger.retry_rounds import RetryableRecords
from bedrock_pipeline.ledger.rows import DatasetRow, NewChunk
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan, plan_invocation
from bedrock_pipeline.prepare.chunks.create_request import create_again
from bedrock_pipeline.prepare.chunks.packer import pack
from bedrock_pipeline.prepare.upload_chunks import ChunkUploader, estimator_for, input_lines
from bedrock_pipeline.pricing.estimates import Estimator
from bedrock_pipeline.records.error_codes import Incomplete
from bedrock_pipeline.records.line_batch import Line, cells_of, line_batches_of
from bedrock_pipeline.records.raised_limit import RaisedLimit
from bedrock_pipeline.records.record_ids import later_wire_id
from bedrock_pipeline.records.result_schema import ORIGIN, WIRE_ID, carried
from bedrock_pipeline.records.wire_line import lines_at, readdressed
from bedrock_pipeline.settings import Settings

_ROWS = 4096
#: What an index has besides record id and carried columns from the second attempt on.
_OWN = [pa.field(WIRE_ID, pa.string()), pa.field(ORIGIN, pa.string())]


@dataclass(slots=True)
class RetryRoundReport:
    """The outcome for a dataset's retryable records.

    Attributes:
        records: how many there are.
        chunks: of the retry round; empty if there is nothing to do now.
        waits_for: why they wait; None if they do not.
    """

    records: int = 0
    chunks: list[NewChunk] = field(default_factory=list)
    waits_for: str | None = None


def start_retry_round(deployment: Deployment, pipeline: BasePipeline, dataset: str) -> RetryRoundReport:
    """Pack a dataset's retryable records into the chunks of a retry round, once every chunk is collected.

    Any number of processes may do this at once, and any of them may crash: the same retryable records give the same
    chunks, and one transaction records the chunks and marks the records as retried.

    Raises:
        BelowMinimumError: the records are so large that no split keeps the minimum.
    """
    row = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    report = RetryRoundReport()
    if not row.open and deployment.ledger.datasets.progress(pipeline.name, dataset).uncollected:
        return report
    for retryable in _pools(deployment.ledger.retry_rounds.open_of(pipeline.name, dataset, row.version), row):
        launched = pipeline_of(deployment.ledger, retryable[0].chunk.settings_digest, pipeline, row)
        limits = launched.effective_limits
        retry = _RetryRound(
            deployment,
            row,
            retryable,
            estimator_for(deployment, launched),
            launched.raised_limit,
            settings_of_jobs(deployment.settings, launched.job_options, pipeline.name),
        )
        records, ending = sum(one.records for one in retryable), retry.records_of_cancelled_jobs()
        report.records += records
        plan = plan_invocation(launched.below_minimum, limits, records - ending)
        too_few = plan.mode == "waiting" and records > ending and not row.cancel_requested_at
        if too_few and not ending:
            deployment.ledger.retry_rounds.hold(row, retryable, plan.reason or "")
            report.waits_for = plan.reason
            continue
        nothing = InvocationPlan("none", limits.model_copy(update={"min_records": 1}))
        if stopped := too_few or _waits_for_operator(retryable[0], row):
            plan = replace(nothing, mode="batch")  # apart from the cancelled ones, the records go on waiting
        chunks = retry.uploaded(plan) if records > ending else []
        ended = retry.uploaded(nothing, after=len(chunks), cancelled=True) if ending else []
        if deployment.ledger.retry_rounds.enter(
            row,
            retryable=retryable,
            chunks=chunks,
            cancelled=ended,
            stopped=stopped,
            max_jobs=limits.max_jobs,
        ):
            report.chunks += chunks + ended
    return report


def _pools(retryable: list[RetryableRecords], row: DatasetRow) -> Iterator[list[RetryableRecords]]:
    """Retryable records that may go into one job: of the same settings, and not waiting for an operator.

    Those of cancelled jobs alone are apart, so that they wait for nothing. So are those that wait for an operator together
    with records of a cancelled job: the others go on waiting in a chunk of their own.
    """
    pools: dict[tuple[str, str, str, bool, str], list[RetryableRecords]] = {}
    for one in retryable:
        waiting = _waits_for_operator(one, row)
        if not waiting or one.cancelled:
            chunk, ends = one.chunk, one.origins == one.cancelled
            key = (chunk.model_id, chunk.quota_group, chunk.settings_digest, ends)
            pools.setdefault((*key, str(chunk.chunk_id) if waiting else ""), []).append(one)
    for pool in sorted(pools):
        yield pools[pool]


def _waits_for_operator(one: RetryableRecords, row: DatasetRow) -> bool:
    """Whether some of the records wait for an operator, although those of cancelled jobs wait for nothing."""
    return one.waits_for == "operator" and not row.cancel_requested_at and one.origins != one.cancelled


@dataclass(frozen=True)
class _RetryRound:
    deployment: Deployment
    row: DatasetRow
    retryable: list[RetryableRecords]
    estimator: Estimator
    raised: RaisedLimit
    settings: Settings

    def records_of_cancelled_jobs(self) -> int:
        """How many of the records are of a job that was cancelled."""
        mixed = (one for one in self.retryable if one.cancelled and one.origins != one.cancelled)
        ending = {str(origin) for one in self.retryable for origin in one.cancelled}
        whole = sum(one.records for one in self.retryable if one.origins == one.cancelled)
        return whole + sum(
            origin in ending for one in mixed for origin in self._index(one)[ORIGIN].to_pylist()
        )

    def uploaded(self, plan: InvocationPlan, *, after: int = 0, cancelled: bool = False) -> list[NewChunk]:
        """Pack and upload the records of cancelled jobs, or those of the others.

        Args:
            plan: how they are sent.
            after: how many chunks of the round precede.
            cancelled: which of them.
        """
        row = self.row
        before = self.retryable[0].chunk
        number = max(one.chunk.attempt for one in self.retryable) + 1
        carry = self._carry()
        lines = plan.lines(
            self._lines(carry.names, cancelled=cancelled),
            lambda wire: (wire, None, *(None for _ in carry)),
        )
        uploader = ChunkUploader(
            self.deployment,
            row.pipeline,
            row.dataset,
            row.version,
            self._content(plan, cancelled=cancelled),
            before.model_id,
            before.quota_group,
            lambda chunk_id, uri: create_again(
                self.settings, before.request, row.pipeline, row.dataset, chunk_id, uri
            ),
            before.settings_digest,
            self.estimator,
            plan,
            attempt=number,
            first=after
            + self.deployment.ledger.retry_rounds.next_sequence(
                row.pipeline, row.dataset, row.version, number
            ),
        )
        with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
            schema = pa.schema([*_OWN, *carry])
            return uploader.all(pack(line_batches_of(lines, schema), plan.limits, schema, Path(folder)))

    def _content(self, plan: InvocationPlan, *, cancelled: bool) -> str:
        """A digest of everything that determines the chunks.

        Records that are too few to be sent may have the same plan as those of cancelled jobs.
        """
        digest = hashlib.sha256(repr((plan.cut, self.raised)).encode())
        if cancelled:
            digest.update(b"cancelled")
        for one in self.retryable:
            digest.update(one.chunk.chunk_id.bytes)
            digest.update(repr(sorted(one.cancelled)).encode())
        return digest.hexdigest()

    def _carry(self) -> pa.Schema:
        return carried(read_schema(self.deployment.objects, self.retryable[0].chunk.index_uri))

    def _lines(self, carry: list[str], *, cancelled: bool) -> Iterator[Line]:
        for one in self.retryable:
            if not one.cancelled if cancelled else one.origins == one.cancelled:
                continue
            retried = self._table(f"{one.chunk.parsed_uri}{RETRYABLE}", ["position", "why"])
            if retried.num_rows != one.records:
                raise damaged(f"{one.chunk.parsed_uri}{RETRYABLE}")
            found = lines_at(input_lines(self.deployment, one.chunk), retried["position"].to_pylist())
            for data, (batch, row), why in zip(
                found, _rows(self._index(one)), retried["why"].to_pylist(), strict=True
            ):
                record_id = batch["record_id"][row].as_py()
                origin = (ORIGIN in batch.schema.names and batch[ORIGIN][row].as_py()) or str(
                    one.chunk.chunk_id
                )
                if (UUID(origin) in one.cancelled) == cancelled:
                    wire = later_wire_id(origin, record_id)
                    values = cells_of(batch, row, carry)
                    line = self.raised.line(data) if why == Incomplete.CUT_OFF else data
                    yield Line(record_id, (wire, origin, *values), readdressed(line, wire))

    def _positions(self, one: RetryableRecords) -> pa.ChunkedArray:
        return self._table(f"{one.chunk.parsed_uri}{RETRYABLE}", ["position"])["position"]

    def _index(self, one: RetryableRecords) -> pa.Table:
        """The rows of the chunk's index that are retryable."""
        return self._table(one.chunk.index_uri).take(self._positions(one))

    def _table(self, uri: str, columns: list[str] | None = None) -> pa.Table:
        return read_table(self.deployment.objects, uri, columns)


def _rows(table: pa.Table) -> Iterator[tuple[pa.RecordBatch, int]]:
    for batch in table.to_batches(_ROWS):
        for row in range(batch.num_rows):
            yield batch, row
