"""Estimate a dataset, before anything is submitted.

What belongs here: where the records come from: chunks in the ledger, or an input that is packed into a work folder
as it would be for Bedrock, measured and thrown away.
"""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan, plan_invocation
from bedrock_pipeline.prepare.chunks.packer import TooFewRecordsError
from bedrock_pipeline.prepare.pack_dataset import packed_parts
from bedrock_pipeline.prepare.snapshot.images import Fetch, nowhere
from bedrock_pipeline.prepare.snapshot.writer import write_snapshot
from bedrock_pipeline.prepare.take_snapshot import fetch_image, open_source, snapshot_plan
from bedrock_pipeline.prepare.upload_chunks import estimator_for
from bedrock_pipeline.pricing.estimates import ChunkEstimate, Estimate, Estimator
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import Source, local_file


def estimate_dataset(
    deployment: Deployment, pipeline: Pipeline, dataset: str, at: datetime, *, anew: bool = False
) -> Estimate:
    """What a dataset is expected to need: as it is packed, or as it would be.

    Args:
        deployment: the deployment.
        pipeline: with what this dataset sets differently.
        dataset: its key.
        at: when it would be submitted.
        anew: read the input even where the dataset is packed, since the pipeline is another.

    Raises:
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input is not fit.
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
    if packed and not anew:
        return estimator.together(packed)
    source = open_source(deployment, pipeline, dataset)
    return estimate_source(source, pipeline, estimator, partial(fetch_image, deployment.objects))


def estimate_source(
    source: Source, pipeline: Pipeline, estimator: Estimator, fetch: Fetch = nowhere
) -> Estimate:
    """What the records of an input are expected to need; reads all of it.

    Args:
        source: the input.
        pipeline: the pipeline.
        estimator: the pipeline's.
        fetch: reads an image from where a cell says.

    Raises:
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input is not fit.
        BelowMinimumError: too few records for one job.
    """
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        return estimator.together(_chunks(source, pipeline, estimator, Path(folder), fetch))


def _chunks(
    source: Source, pipeline: Pipeline, estimator: Estimator, folder: Path, fetch: Fetch
) -> Iterator[tuple[int, int, Mode, ChunkEstimate]]:
    policy, limits = pipeline.below_minimum, pipeline.effective_limits
    snapshot = write_snapshot(source, snapshot_plan(pipeline), folder, fetch)
    try:
        yield from _packed(snapshot.parts, pipeline, estimator, folder, plan_invocation(policy, limits))
    except TooFewRecordsError as error:
        if policy == "fail" or not error.records:
            raise
        plan = plan_invocation(policy, limits, error.records)
        yield from _packed(snapshot.parts, pipeline, estimator, folder, plan)


def _packed(
    parts: list[Path], pipeline: Pipeline, estimator: Estimator, folder: Path, plan: InvocationPlan
) -> Iterator[tuple[int, int, Mode, ChunkEstimate]]:
    rejected = RejectionWriter(folder / "not-packed.parquet")
    files = [local_file(str(part)) for part in parts]
    for chunk in packed_parts(files, pipeline, [], plan, rejected, folder):
        yield chunk.records, chunk.bytes, plan.mode, estimator.of_packed(chunk, plan.mode)
        for file in chunk.files:
            file.path.unlink()
        chunk.index.unlink()
