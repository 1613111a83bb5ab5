"""Estimate a dataset before anything is submitted.

The records are those of the ledger's chunks, or an input that is packed into a work folder as it would be for Bedrock,
measured and deleted.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.chunks.packer import Progress, no_progress
from bedrock_pipeline.prepare.chunks.snapshot_packer import pack_snapshot
from bedrock_pipeline.prepare.open_source import open_source
from bedrock_pipeline.prepare.read_attachment import attachment_reader
from bedrock_pipeline.prepare.reject_duplicates import REJECTED
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.writer import write_snapshot
from bedrock_pipeline.prepare.upload_chunks import estimator_for
from bedrock_pipeline.pricing.estimates import ChunkEstimate, Estimate, Estimator
from bedrock_pipeline.records.packed_chunk import Mode, PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import Source, local_file, notes_of

_Measured: TypeAlias = tuple[int, int, Mode, ChunkEstimate]


def estimate_dataset(
    deployment: Deployment,
    pipeline: Pipeline,
    dataset: str,
    at: datetime,
    *,
    reread: bool = False,
    progress: Progress = no_progress,
    counted: Callable[[Source], Source] = lambda source: source,
) -> Estimate:
    """Estimate a dataset as it is packed, or as it would be, at the prices of a time.

    Args:
        deployment: with ledger and S3.
        pipeline: as it would be launched.
        dataset: its key.
        at: the time whose prices count.
        reread: the input is read even if the dataset is packed, since the pipeline has changed.
        progress: called with the records and bytes that were packed so far.
        counted: the source with what watches it being read.

    Raises:
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input cannot be used.
        NoSourceError: neither pipeline nor dataset names an input.
        BelowMinimumError: too few records for one job.
    """
    estimator = estimator_for(deployment, pipeline, at)
    row = deployment.ledger.datasets.get(pipeline.name, dataset)
    chunks = deployment.ledger.chunks.of_dataset(pipeline.name, dataset, row.version) if row else []
    packed = [
        (
            chunk.records,
            chunk.bytes,
            chunk.mode,
            ChunkEstimate(
                0,
                0,
                chunk.estimated_input_tokens or 0,
                chunk.estimated_output_tokens or 0,
                chunk.estimated_cost_usd,
            ),
        )
        for chunk in chunks
        if chunk.attempt == 1
    ]
    if packed and not reread:
        return estimator.together(packed)
    source = open_source(deployment, pipeline, dataset)
    return estimate_source(counted(source), pipeline, estimator, deployment.objects, progress=progress)


def estimate_source(
    source: Source,
    pipeline: Pipeline,
    estimator: Estimator,
    objects: S3Objects | None = None,
    *,
    progress: Progress = no_progress,
) -> Estimate:
    """Estimate the records of an input; reads all of it.

    Raises:
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input cannot be used.
        BelowMinimumError: too few records for one job.
    """

    def measured(chunks: Iterator[PackedChunk], plan: InvocationPlan) -> list[_Measured]:
        found = []
        for chunk in chunks:
            found.append((chunk.records, chunk.bytes, plan.mode, estimator.of_packed(chunk, plan.mode)))
            chunk.delete()
        return found

    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as name:
        folder = Path(name)
        with RejectionWriter(folder / REJECTED) as rejected:
            fetch = attachment_reader(pipeline.attachment_roots, objects)
            snapshot = write_snapshot(source, SnapshotPlan.of(pipeline), folder, rejected, fetch)
            parts = [local_file(str(part)) for part in snapshot.parts]
            packed = estimator.together(pack_snapshot(parts, pipeline, folder, rejected, measured, progress))
            return replace(packed, notes=(*packed.notes, *notes_of(source), *snapshot.notes))
