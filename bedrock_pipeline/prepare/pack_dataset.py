"""Pack a dataset's snapshot into chunks, upload them, and enter them in the ledger all at once."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import BinaryIO

from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.parquet_objects import damaged
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import ConfigurationError, StateError
from bedrock_pipeline.frozen_settings import freeze, pipeline_of
from bedrock_pipeline.ledger.datasets import Packed
from bedrock_pipeline.ledger.rows import DatasetRow, NewChunk
from bedrock_pipeline.ledger.versions import replaced
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.chunks.create_request import create_request
from bedrock_pipeline.prepare.chunks.snapshot_packer import pack_snapshot
from bedrock_pipeline.prepare.reject_duplicates import (
    NOT_PACKED,
    NOT_PACKED_DUPLICATES,
    packed_name,
    reject_duplicates,
)
from bedrock_pipeline.prepare.upload_chunks import ChunkUploader, estimator_for
from bedrock_pipeline.pricing.estimates import Estimate, Estimator
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import InputFile
from bedrock_pipeline.sources.errors import InputError


class NoSnapshotError(StateError):
    """A dataset has no snapshot to pack yet."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed.

    Attributes:
        version: of the dataset.
        outcome: entered, unchanged (it was packed before), replaced (its chunks waited for an operator's decision), or
            kept (it was submitted or published; nothing was entered).
        records: the canonical records, which are sent.
        duplicates: records that get the response of their canonical record.
        rejections: number of records that could not be packed, by reason.
        estimate: tokens and cost, before anything is submitted.
        max_cost_usd: the version's cost limit; None if it has none.
        code_differs: whether the code's settings are not those that the version was launched with, and is packed by.
    """

    version: int
    outcome: Packed
    chunks: list[NewChunk]
    records: int
    duplicates: int
    bytes: int
    rejected: int
    rejections: dict[str, int]
    estimate: Estimate
    max_cost_usd: Decimal | None
    code_differs: bool


def pack_dataset(deployment: Deployment, pipeline: Pipeline, dataset: str) -> PackReport:
    """Pack the dataset's snapshot by the settings that are frozen with it; the same again changes nothing.

    Raises:
        NoSnapshotError: `input_dataset` was not materialized.
        VersionReplacedError: the dataset was launched again, and that version has no snapshot yet.
        BelowMinimumError: too few records for one job and the policy is `fail`, or the records are too large.
        DatasetCancelledError: the dataset was cancelled before it was packed.
        ObjectDamagedError: a part of the snapshot was deleted or changed since it was taken.
    """
    row = deployment.ledger.datasets.ensure(pipeline.name, dataset)
    if row.snapshot_uri is None:
        if row.version > 1 and row.launch_id:
            raise replaced(row, row.version - 1)
        raise NoSnapshotError(f"Dataset {dataset!r} has no snapshot yet.", "Materialize input_dataset first.")
    assert row.settings_digest is not None  # the constraint snapshot_is_whole
    effective = pipeline_of(deployment.ledger, row.settings_digest, pipeline, row)
    assert isinstance(effective, Pipeline)  # as it was frozen
    estimator = estimator_for(deployment, effective)
    upload = partial(_upload, deployment, effective, row, estimator)
    duplicates = row.snapshot_duplicates
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as name:
        folder = Path(name)
        with RejectionWriter(folder / NOT_PACKED) as rejected, _reading(row):
            packed_hash, chunks = pack_snapshot(
                _parts(deployment, row, folder),
                effective,
                folder,
                rejected,
                upload,
                executor=deployment.system.executor,
            )
        rejections = rejected.by_reason.copy()
        _require_whole(row, sum(chunk.records for chunk in chunks) + rejections.total())
        if rejections:
            repeats = reject_duplicates(deployment, row, rejected.path, folder)
            rejections += repeats.by_reason
            duplicates -= repeats.count
            if packed_hash != row.packed_hash:  # else they are there
                for path, file in (rejected.path, NOT_PACKED), (repeats.path, NOT_PACKED_DUPLICATES):
                    deployment.objects.upload(path, f"{row.snapshot_uri}{packed_name(packed_hash, file)}")
    outcome = deployment.ledger.datasets.enter_chunks(
        row,
        packed_hash=packed_hash,
        rejected=rejections.total(),
        chunks=chunks,
        max_jobs=effective.effective_limits.max_jobs,
        duplicates=duplicates,
    )
    if outcome == "kept":
        chunks = []
    return PackReport(
        version=row.version,
        outcome=outcome,
        chunks=chunks,
        records=sum(chunk.records for chunk in chunks),
        duplicates=duplicates,
        bytes=sum(chunk.bytes for chunk in chunks),
        rejected=rejections.total(),
        rejections=dict(rejections),
        estimate=estimator.together((c.records, c.bytes, c.mode, c.estimate) for c in chunks if c.estimate),
        max_cost_usd=row.max_cost_usd,
        code_differs=_differs(pipeline, row, effective),
    )


@contextmanager
def _reading(row: DatasetRow) -> Iterator[None]:
    """Raise what is said of the parts, as of any input, as an `ObjectDamagedError`: this package wrote them."""
    try:
        yield
    except InputError as error:
        if isinstance(error.__cause__, MemoryError):
            raise
        raise damaged(f"The snapshot {row.snapshot_uri}") from error


def _require_whole(row: DatasetRow, canonical: int) -> None:
    """Check that the snapshot had as many canonical records as were written.

    Raises:
        ObjectDamagedError: a part of it was deleted or changed since.
    """
    if canonical != (row.snapshot_records or 0) - row.snapshot_duplicates:
        raise damaged(f"The snapshot {row.snapshot_uri}")


def _differs(code: Pipeline, row: DatasetRow, launched: Pipeline) -> bool:
    try:
        return freeze(code.for_dataset(row.request)).content_digest != freeze(launched).content_digest
    except ConfigurationError:  # the code does not even take the dataset's settings any more
        return True


def _parts(deployment: Deployment, row: DatasetRow, folder: Path) -> list[InputFile]:
    local = _LocalPart(deployment.objects, folder / "part.parquet")
    uris = [item.uri for item in deployment.objects.list(f"{row.snapshot_uri}part-")]
    if not uris:
        _require_whole(row, 0)
    return [InputFile(uri, partial(local.open, uri)) for uri in uris]


@dataclass(slots=True)
class _LocalPart:
    """The part of a snapshot that is read now, as a local file: a request for every range of it would cost as much again."""

    objects: S3Objects
    path: Path
    uri: str | None = None

    def open(self, uri: str) -> BinaryIO:
        if self.uri != uri:
            self.uri = None
            self.path.unlink(missing_ok=True)
            self.objects.download(uri, self.path)
            self.uri = uri
        return self.path.open("rb")


def _upload(
    deployment: Deployment,
    pipeline: Pipeline,
    row: DatasetRow,
    estimator: Estimator,
    chunks: Iterator[PackedChunk],
    plan: InvocationPlan,
) -> tuple[str, list[NewChunk]]:
    """Upload the chunks; with the hash of how the version is packed."""
    assert row.settings_digest is not None  # the constraint snapshot_is_whole
    settings = deployment.ledger.versions.settings(row.settings_digest)
    uploader = ChunkUploader(
        deployment,
        row.pipeline,
        row.dataset,
        row.version,
        _packed_hash(row, settings.content_digest, plan),
        pipeline.model_id,
        str(pipeline.group_in(deployment.settings.region, deployment.settings.account)),
        partial(create_request, deployment.settings, pipeline, row.dataset),
        settings.digest,
        estimator,
        plan,
    )
    return _packed_hash(row, settings.digest, plan), uploader.all(chunks)


def _packed_hash(row: DatasetRow, settings: str, plan: InvocationPlan) -> str:
    """A hash of the snapshot, settings, and how they are sent, which is not frozen.

    With the digest of all settings it is equal if packing again would change nothing. With that of the settings that decide
    responses it identifies the chunks: after a restored backup, other prices must not make other jobs.
    """
    return hashlib.sha256(repr((row.snapshot_hash, settings, plan.cut)).encode()).hexdigest()
