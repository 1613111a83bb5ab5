"""Pack a snapshot into chunks: uploaded, then entered into the ledger all at once.

What belongs here: the order of reading, packing, uploading and entering. The cutting itself is `records.pack`.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger.datasets import Packed
from bedrock_pipeline.ledger.rows import DatasetRow, InputFile, NewChunk
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.encode import NotRenderableError, RequestTemplate
from bedrock_pipeline.records.keys import ChunkKey
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.records.pack import Line, PackedChunk, pack, too_large
from bedrock_pipeline.records.rejections import Rejection, RejectionWriter
from bedrock_pipeline.stages.context import Context
from bedrock_pipeline.stages.request import chunk_uuid, create_request
from bedrock_pipeline.stages.snapshot import request_template

_READ_ROWS = 4096


class NoSnapshotError(BedrockPipelineError):
    """There is nothing to pack yet."""


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed.

    Attributes:
        outcome: entered, unchanged (it was packed before), or replaced (nothing had been submitted).
        rejections: number of records that could not be packed, by reason.
    """

    outcome: Packed
    chunks: list[NewChunk]
    records: int
    bytes: int
    rejected: int
    rejections: dict[str, int]


def pack_dataset(context: Context, pipeline: Pipeline, dataset: str) -> PackReport:
    """Pack the dataset's snapshot; the same again changes nothing.

    Raises:
        NoSnapshotError: `input_dataset` was not materialized.
        BelowMinimumError: too few records for one job.
        DatasetChangedError: something else was packed under this key, and submitted.
    """
    row = context.ledger.datasets.ensure(pipeline.name, dataset)
    if row.snapshot_uri is None:
        raise NoSnapshotError(f"Dataset {dataset!r} has no snapshot yet.", "Materialize input_dataset first.")
    effective = pipeline.for_dataset(row.request)
    packed_hash = _packed_hash(context, effective, row)
    with tempfile.TemporaryDirectory(prefix="bedrock-pipeline-") as folder:
        rejected = RejectionWriter(Path(folder) / "rejected.parquet")
        packer = _Packer(context, effective, row, packed_hash, Path(folder), context.ledger.deployment_id)
        chunks = packer.upload_all(rejected)
        rejected.close()
        if rejected.count:
            context.objects.upload(Path(folder) / "rejected.parquet", f"{row.snapshot_uri}not-packed.parquet")
    outcome = context.ledger.datasets.enter_chunks(
        pipeline.name,
        dataset,
        packed_hash=packed_hash,
        rejected=rejected.count,
        chunks=chunks,
        max_jobs=effective.effective_limits.max_jobs,
    )
    return PackReport(
        outcome=outcome,
        chunks=chunks,
        records=sum(chunk.records for chunk in chunks),
        bytes=sum(chunk.bytes for chunk in chunks),
        rejected=rejected.count,
        rejections=dict(rejected.by_reason),
    )


@dataclass(frozen=True)
class _Packer:
    context: Context
    pipeline: Pipeline
    row: DatasetRow
    packed_hash: str
    folder: Path
    deployment_id: UUID

    def upload_all(self, rejected: RejectionWriter) -> list[NewChunk]:
        """Every chunk, uploaded while the next is packed."""
        limits = self.pipeline.effective_limits
        template = request_template(self.pipeline)
        schema = self._schema()
        carry = pa.schema([schema.field(name) for name in self.pipeline.carry if name != "record_id"])
        lines = _lines(self._rows(schema), template, carry.names, limits, rejected)
        with ThreadPoolExecutor(max_workers=1) as uploads:
            pending: list[Future[NewChunk]] = []
            for chunk in pack(lines, limits, carry, self.folder):
                if pending:
                    pending[-1].result()  # at most one chunk waits on disk
                pending.append(uploads.submit(self._upload, chunk))
            return [upload.result() for upload in pending]

    def _parts(self) -> list[str]:
        return [item.uri for item in self.context.objects.list(f"{self.row.snapshot_uri}part-")]

    def _schema(self) -> pa.Schema:
        with self.context.objects.random_access(self._parts()[0]) as stream:
            return pq.read_schema(stream)

    def _rows(self, schema: pa.Schema) -> Iterator[dict[str, object]]:
        for uri in self._parts():
            with self.context.objects.random_access(uri) as stream:
                for batch in pq.ParquetFile(stream).iter_batches(_READ_ROWS, columns=schema.names):
                    yield from batch.to_pylist()

    def _upload(self, chunk: PackedChunk) -> NewChunk:
        row, settings = self.row, self.context.settings
        # Packing the same content again gives the same chunks.
        chunk_id = chunk_uuid(
            self.deployment_id, row.pipeline, row.dataset, row.version, self.packed_hash, chunk.sequence
        )
        base = settings.uri(settings.input_prefix, row.pipeline, row.dataset, str(chunk_id))
        folder = f"{base}/{chunk.content_hash[:16]}"
        files = []
        for number, file in enumerate(chunk.files):
            uri = f"{folder}/{number:05}.jsonl"
            self.context.objects.upload(file.path, uri)
            files.append(InputFile(uri, file.records, file.bytes, file.sha256))
            file.path.unlink()
        self.context.objects.upload(chunk.index, f"{base}/index.parquet")
        chunk.index.unlink()
        return NewChunk(
            chunk_id=chunk_id,
            round=1,
            sequence=chunk.sequence,
            chunk_key=str(ChunkKey(row.dataset, row.version, 1, chunk.sequence)),
            records=chunk.records,
            bytes=chunk.bytes,
            files=tuple(files),
            content_hash=chunk.content_hash,
            index_uri=f"{base}/index.parquet",
            model_id=self.pipeline.model_id,
            quota_group=self.pipeline.slots_of(settings.region),
            request=create_request(
                settings,
                self.pipeline,
                row.dataset,
                chunk_id,
                files[0].uri if len(files) == 1 else f"{folder}/",
            ),
        )


def _lines(
    rows: Iterator[dict[str, object]],
    template: RequestTemplate,
    carry: list[str],
    limits: Limits,
    rejected: RejectionWriter,
) -> Iterator[Line]:
    for position, row in enumerate(rows):
        record_id = str(row["record_id"])
        try:
            data = template.line(record_id, row)
        except NotRenderableError as error:
            rejected.add(Rejection(position, str(error), record_id))
            continue
        if too_large(data, limits):
            reason = f"the record is larger than a file may be ({limits.max_file_bytes} bytes)"
            rejected.add(Rejection(position, reason, record_id))
            continue
        yield Line(record_id, tuple(row[name] for name in carry), data)


def _packed_hash(context: Context, pipeline: Pipeline, row: DatasetRow) -> str:
    """What decides whether packing again would give the same jobs."""
    settings, limits = context.settings, pipeline.effective_limits
    digest = hashlib.sha256(request_template(pipeline).constant())
    cut = limits.min_records, limits.max_records, limits.max_file_bytes, limits.max_job_bytes
    for part in (
        row.snapshot_hash,
        pipeline.model_id,
        pipeline.carry,
        cut,
        pipeline.timeout_hours,
        settings.role_arn,
    ):
        digest.update(repr(part).encode())
    return digest.hexdigest()
