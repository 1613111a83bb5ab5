"""Pack a snapshot into chunks: uploaded, then entered into the ledger all at once.

What belongs here: the order of reading, packing, uploading and entering. The cutting itself is `prepare.chunks.packer`.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.datasets import Packed
from bedrock_pipeline.ledger.rows import DatasetRow, NewChunk
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import Small
from bedrock_pipeline.prepare.chunks.create_request import create_request
from bedrock_pipeline.prepare.chunks.pack_rows import packed
from bedrock_pipeline.prepare.chunks.packer import Packer, TooFewRecordsError, pack
from bedrock_pipeline.prepare.reject_duplicates import NOT_PACKED, NOT_PACKED_DUPLICATES, reject_duplicates
from bedrock_pipeline.prepare.requests.renderer import Renderer
from bedrock_pipeline.prepare.take_snapshot import request_template
from bedrock_pipeline.prepare.upload_chunks import ChunkUploader, estimator_for
from bedrock_pipeline.pricing.estimates import Estimate, Estimator
from bedrock_pipeline.records.line_batch import LineBatch, line_batches_of, lines_of
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import InputFile
from bedrock_pipeline.sources.parquet import ParquetSource


class NoSnapshotError(BedrockPipelineError):
    """There is nothing to pack yet."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed.

    Attributes:
        outcome: entered, unchanged (it was packed before), or replaced (nothing had been submitted).
        records: that are sent.
        duplicates: records that an answer to one of them will serve.
        rejections: number of records that could not be packed, by reason.
        estimate: tokens and cost, before anything is submitted.
        max_cost_usd: what the dataset may cost; None where it has no cap.
    """

    outcome: Packed
    chunks: list[NewChunk]
    records: int
    duplicates: int
    bytes: int
    rejected: int
    rejections: dict[str, int]
    estimate: Estimate
    max_cost_usd: Decimal | None


def pack_dataset(deployment: Deployment, pipeline: Pipeline, dataset: str) -> PackReport:
    """Pack the dataset's snapshot; the same again changes nothing.

    Raises:
        NoSnapshotError: `input_dataset` was not materialized.
        BelowMinimumError: too few records for one job, and the policy is `fail`; or records too large.
        DatasetChangedError: something else was packed under this key, and submitted.
    """
    row = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    if row.snapshot_uri is None:
        raise NoSnapshotError(f"Dataset {dataset!r} has no snapshot yet.", "Materialize input_dataset first.")
    effective = pipeline.for_dataset(row.request)
    estimator = estimator_for(deployment, effective, datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        done = _Packing(deployment, effective, row, Path(folder), estimator).done()
        rejections = done.rejected.by_reason.copy()
        duplicates = row.snapshot_duplicates
        if rejections:
            following = reject_duplicates(deployment, row, done.rejected.path, Path(folder))
            rejections += following.by_reason
            duplicates -= following.count
            deployment.objects.upload(done.rejected.path, f"{row.snapshot_uri}{NOT_PACKED}")
            deployment.objects.upload(following.path, f"{row.snapshot_uri}{NOT_PACKED_DUPLICATES}")
    outcome = deployment.ledger.datasets.enter_chunks(
        pipeline.name,
        dataset,
        packed_hash=done.content,
        rejected=rejections.total(),
        chunks=done.chunks,
        max_jobs=effective.effective_limits.max_jobs,
        duplicates=duplicates,
        max_cost_usd=effective.max_cost_usd,
    )
    return PackReport(
        outcome=outcome,
        chunks=done.chunks,
        records=sum(chunk.records for chunk in done.chunks),
        duplicates=duplicates,
        bytes=sum(chunk.bytes for chunk in done.chunks),
        rejected=rejections.total(),
        rejections=dict(rejections),
        estimate=estimator.together(
            (c.records, c.bytes, c.mode, c.estimate) for c in done.chunks if c.estimate
        ),
        max_cost_usd=effective.max_cost_usd,
    )


@dataclass(frozen=True)
class _Packed:
    content: str
    chunks: list[NewChunk]
    rejected: RejectionWriter


@dataclass(frozen=True)
class _Packing:
    deployment: Deployment
    pipeline: Pipeline
    row: DatasetRow
    folder: Path
    estimator: Estimator

    def done(self) -> _Packed:
        """Every chunk, uploaded; a dataset below the minimum as its policy says.

        Raises:
            BelowMinimumError: there are too few records and the policy is `fail`, or they are too large.
        """
        content, policy = _packed_hash(self.deployment, self.pipeline, self.row), self.pipeline.below_minimum
        try:
            return self._uploaded(content, None)
        except TooFewRecordsError as error:
            if policy == "fail" or not error.records:
                raise
            small = Small.by(policy, self.pipeline.effective_limits, error.records)
        return self._uploaded(hashlib.sha256(f"{content}{policy}".encode()).hexdigest(), small)

    def _uploaded(self, content: str, small: Small | None) -> _Packed:
        rejected = RejectionWriter(self.folder / "rejected.parquet")
        chunks = packed_parts(self._parts(), self.pipeline, self.pipeline.carry, small, rejected, self.folder)
        uploader = ChunkUploader(
            self.deployment,
            self.row.pipeline,
            self.row.dataset,
            self.row.version,
            content,
            self.pipeline.model_id,
            self.pipeline.slots_of(self.deployment.settings.region),
            self._request,
            self.estimator,
            mode=small.mode if small else "batch",
            why=small.why if small else None,
            padded=small is not None,
        )
        uploaded = uploader.all(chunks)
        rejected.close()
        return _Packed(content, uploaded, rejected)

    def _request(self, chunk_id: UUID, input_uri: str) -> dict[str, Any]:
        return create_request(self.deployment.settings, self.pipeline, self.row.dataset, chunk_id, input_uri)

    def _parts(self) -> list[InputFile]:
        objects = self.deployment.objects
        parts = [item.uri for item in objects.list(f"{self.row.snapshot_uri}part-")]
        return [InputFile(uri, partial(objects.random_access, uri)) for uri in parts]


def packed_parts(
    parts: Sequence[InputFile],
    pipeline: Pipeline,
    carry: Sequence[str],
    small: Small | None,
    rejected: RejectionWriter,
    folder: Path,
) -> Iterator[PackedChunk]:
    """Parts of a snapshot as chunks; rows that cannot be asked are rejected.

    Args:
        parts: the snapshot.
        pipeline: with what this dataset sets differently.
        carry: the carried columns.
        small: what the policy for few records makes of it, filler records too; None where there are enough.
        rejected: gets the rows that are left out.
        folder: the work folder.

    Raises:
        BelowMinimumError: too few records for one job, or too large ones.
    """
    source = ParquetSource(parts)
    schema = source.schema()
    carried = pa.schema([schema.field(name) for name in carry if name != "record_id"])
    renderer = Renderer(request_template(pipeline), carried, pipeline.effective_limits)
    batches = source.batches(schema.names)
    if small is None:
        packer = Packer(pipeline.effective_limits, carried, folder)
        return packed(batches, renderer.batch, packer, rejected)

    def few() -> Iterator[LineBatch]:
        for rendered in map(renderer.batch, batches):
            rejected.add(*rendered.rejected)
            yield rendered.block

    lines = small.lines(lines_of(few()), lambda _: (None,) * len(carried))
    return pack(line_batches_of(lines, carried), small.limits, carried, folder)


def _packed_hash(deployment: Deployment, pipeline: Pipeline, row: DatasetRow) -> str:
    """What decides whether packing again would give the same jobs."""
    settings, limits = deployment.settings, pipeline.effective_limits
    digest = hashlib.sha256(request_template(pipeline).constant())
    cut = limits.min_records, limits.max_records, limits.max_file_bytes, limits.max_job_bytes
    for part in (
        row.snapshot_hash,
        pipeline.model_id,
        pipeline.invocation,
        pipeline.carry,
        cut,
        pipeline.timeout_hours,
        settings.role_arn,
    ):
        digest.update(repr(part).encode())
    return digest.hexdigest()
