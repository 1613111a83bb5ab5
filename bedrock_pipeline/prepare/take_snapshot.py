"""Take an immutable snapshot of a dataset's input."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bedrock_pipeline.aws.parquet_objects import read_schema, read_table
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.errors import StateError
from bedrock_pipeline.frozen_settings import freeze
from bedrock_pipeline.ledger.rows import DatasetRow
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.open_source import open_source
from bedrock_pipeline.prepare.read_attachment import attachment_reader
from bedrock_pipeline.prepare.reject_duplicates import REJECTED
from bedrock_pipeline.prepare.snapshot.plan import SnapshotPlan
from bedrock_pipeline.prepare.snapshot.stored_columns import input_schema
from bedrock_pipeline.prepare.snapshot.writer import write_snapshot
from bedrock_pipeline.records.keys import check_dataset_key
from bedrock_pipeline.records.rejections import RejectionWriter
from bedrock_pipeline.sources import Source, UpstreamAsset, notes_of


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A snapshot in S3.

    Attributes:
        uri: folder of the version's snapshot, ends in `/`; nothing in it is ever written again.
        records: duplicates included.
        duplicates: records with the same request as a canonical record; they get its response.
        rejections: number of rejected rows, by reason.
        rejected_uri: parquet with position, record id and reason of each rejected row.
        version: of the dataset, that the snapshot belongs to.
        unchanged: whether that version had a snapshot of the same content.
        settings_kept: whether jobs of that version were submitted with other limits, prices or policies than the
            pipeline has now, so that it keeps those that it was launched with.
        notes: how the input was read, where that had to be found out; and files that were not read.
    """

    version: int
    uri: str
    content_hash: str
    records: int
    duplicates: int
    rejected: int
    rejections: dict[str, int]
    rejected_uri: str
    schema: pa.Schema
    unchanged: bool
    settings_kept: bool
    notes: tuple[str, ...]


def take_snapshot(
    deployment: Deployment,
    pipeline: Pipeline,
    dataset: str,
    load: Callable[[Deployment, Pipeline, str], Source] | None = None,
) -> SnapshotReport:
    """Read the dataset's input once, and freeze with it the settings that its version will be finished by.

    The same content with the same settings again changes nothing; other content makes another version. Where an operator has
    released a version that waits, its snapshot stands: neither the input nor the code is looked at.

    Args:
        deployment: where the snapshot is kept.
        pipeline: as the code has it now.
        dataset: its key.
        load: opens the pipeline's upstream asset, unless the dataset names an input of its own.

    Raises:
        DatasetChangedError: jobs were submitted for other content under this key.
        DatasetCancelledError: the dataset was cancelled before it was packed.
        VersionReplacedError: it was launched again meanwhile.
        InputError, ColumnError, TemplateError, EmptyDatasetError: the input cannot be used.
        NoSourceError: neither pipeline nor dataset names an input.
    """
    check_dataset_key(dataset)
    row = deployment.ledger.datasets.begin_preparation(pipeline.name, dataset)
    if row.keeps_snapshot:
        return _existing(deployment, row)
    effective = pipeline.for_dataset(row.request)
    upstream = effective.source if isinstance(effective.source, UpstreamAsset) else None
    source = (load if upstream and load else open_source)(deployment, effective, dataset)
    uri = _new_folder(deployment, pipeline.name, dataset)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as name:
        folder = Path(name)
        with RejectionWriter(folder / REJECTED) as rejected:
            fetch = attachment_reader(effective.attachment_roots, deployment.objects)
            plan = SnapshotPlan.of(effective)
            snapshot = write_snapshot(source, plan, folder, rejected, fetch, compression="zstd")
        notes = [*notes_of(source), *snapshot.notes]
        _upload(deployment, [*snapshot.parts, *snapshot.duplicate_parts, rejected.path], uri)
    settings = freeze(effective, plan.template.constant())
    try:
        recorded, unchanged = deployment.ledger.datasets.record_snapshot(
            row,
            settings,
            uri=uri,
            content_hash=snapshot.content_hash,
            records=snapshot.records,
            duplicates=snapshot.duplicates,
            rejected=rejected.count,
            max_cost_usd=effective.max_cost_usd,
            new_version=upstream is not None and upstream.on_change == "new_version",
        )
    except StateError:
        # Rejected, maybe only when it was repeated after the acknowledgement of its commit was lost.
        if deployment.ledger.datasets.ensure(pipeline.name, dataset).snapshot_uri != uri:
            deployment.objects.discard(uri)
        raise
    if recorded.snapshot_uri != uri:
        deployment.objects.discard(uri)
    return SnapshotReport(
        version=recorded.version,
        uri=recorded.snapshot_uri or "",
        content_hash=snapshot.content_hash,
        records=snapshot.records,
        duplicates=snapshot.duplicates,
        rejected=rejected.count,
        rejections=dict(rejected.by_reason),
        rejected_uri=f"{recorded.snapshot_uri}{REJECTED}",
        schema=snapshot.schema,
        unchanged=unchanged,
        settings_kept=recorded.settings_digest != settings.digest,
        notes=tuple(notes),
    )


def _existing(deployment: Deployment, row: DatasetRow) -> SnapshotReport:
    """The snapshot that a version has."""
    uri = row.snapshot_uri or ""
    first = next((item.uri for item in deployment.objects.list(f"{uri}part-")), None)
    if first is None:
        raise StateError(
            f"The snapshot of version {row.version} of {row.dataset}, below {uri}, is gone.",
            "See the lifecycle rules of the bucket; launch the dataset with --new-version.",
        )
    schema = input_schema(read_schema(deployment.objects, first))
    rejected = read_table(deployment.objects, f"{uri}{REJECTED}", ["reason"])
    rejections = Counter(rejected["reason"].to_pylist())
    return SnapshotReport(
        version=row.version,
        uri=uri,
        content_hash=row.snapshot_hash or "",
        records=row.snapshot_records or 0,
        duplicates=row.snapshot_duplicates,
        rejected=row.snapshot_rejected or 0,
        rejections=dict(rejections),
        rejected_uri=f"{uri}{REJECTED}",
        schema=schema,
        unchanged=True,
        settings_kept=False,
        notes=(),
    )


def _new_folder(deployment: Deployment, pipeline: str, dataset: str) -> str:
    """A folder of this run's own, so that nothing of another version is changed whether it is recorded or rejected."""
    settings, own = deployment.settings, deployment.system.new_id().hex
    return settings.uri(settings.work_prefix, "snapshots", pipeline, dataset, own) + "/"


def _upload(deployment: Deployment, files: list[Path], uri: str) -> None:
    try:
        for file in files:
            deployment.objects.upload(file, f"{uri}{file.name}")
    except BaseException:
        deployment.objects.discard(uri)
        raise
