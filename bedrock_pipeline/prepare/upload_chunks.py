"""Upload packed chunks to S3, and describe them for the ledger; read their lines back."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq

from bedrock_pipeline.aws.parquet_objects import damaged
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.ledger.rows import ChunkRow, InputFile, NewChunk
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.prepare.chunks.below_minimum import InvocationPlan
from bedrock_pipeline.prepare.count_tokens import token_counter
from bedrock_pipeline.pricing.estimates import Estimator, overrides
from bedrock_pipeline.pricing.prices import price_of
from bedrock_pipeline.records.job_names import chunk_uuid
from bedrock_pipeline.records.keys import ChunkKey
from bedrock_pipeline.records.packed_chunk import PackedChunk
from bedrock_pipeline.records.record_ids import is_filler
from bedrock_pipeline.records.result_schema import ORIGIN


def estimator_for(deployment: Deployment, pipeline: BasePipeline, at: datetime | None = None) -> Estimator:
    """An estimator at the prices of a time (now), corrected by the tokens that its earlier chunks needed."""
    at = at or deployment.system.now()
    price = price_of(pipeline.model_id, at, overrides(deployment.settings, pipeline))
    group = pipeline.group_in(deployment.settings.region, deployment.settings.account)
    return Estimator(
        pipeline,
        price,
        deployment.ledger.spending.measured(pipeline.name, pipeline.model_id),
        deployment.ledger.quota_groups.max_jobs(group),
        token_counter(deployment.runtime, pipeline) if pipeline.count_tokens else None,
    )


@dataclass(frozen=True)
class ChunkUploader:
    """Uploads the chunks of one attempt of a dataset.

    Attributes:
        version: the dataset's version.
        content: identifies the chunks; the same content gives the same UUIDs and keys. A function where it depends on
            the packed chunk.
        request: maps a chunk's UUID and the location of its input to its Create request.
        settings_digest: of the frozen settings by which its responses are judged.
        estimator: estimates tokens and cost of each chunk.
        plan: how the chunks are sent.
        first: sequence of the first chunk.
    """

    deployment: Deployment
    pipeline: str
    dataset: str
    version: int
    content: str | Callable[[PackedChunk], str]
    model_id: str
    quota_group: str
    request: Callable[[UUID, str], dict[str, Any]]
    settings_digest: str
    estimator: Estimator
    plan: InvocationPlan
    attempt: int = 1
    first: int = 0

    def all(self, chunks: Iterable[PackedChunk]) -> list[NewChunk]:
        """Upload every chunk while the next is packed; at most one waits on disk."""
        deployment_id = self.deployment.ledger.deployment_id
        with self.deployment.system.executor(1) as uploads:
            pending: list[Future[NewChunk]] = []
            for chunk in chunks:
                if pending:
                    pending[-1].result()
                pending.append(uploads.submit(self._upload, deployment_id, chunk))
            return [upload.result() for upload in pending]

    def _upload(self, deployment_id: UUID, chunk: PackedChunk) -> NewChunk:
        settings, objects = self.deployment.settings, self.deployment.objects
        content = self.content if isinstance(self.content, str) else self.content(chunk)
        chunk_id = chunk_uuid(
            deployment_id, self.pipeline, self.dataset, self.version, content, chunk.sequence
        )
        base = settings.uri(settings.input_prefix, self.pipeline, self.dataset, str(chunk_id))
        folder = f"{base}/{chunk.content_hash[:16]}"
        estimate = self.estimator.of_packed(chunk, self.plan.mode)
        files = []
        for number, file in enumerate(chunk.files):
            uri = f"{folder}/{number:05}.jsonl"
            objects.upload(file.path, uri)
            files.append(InputFile(uri, file.records, file.bytes, file.digest))
            file.path.unlink()
        origins, fillers = _origins(chunk), _fillers(chunk) if self.plan.padded else 0
        # Beside the folder of the input, of which Bedrock reads everything; its name has its hash, so that it never changes.
        index_uri = f"{base}/index-{_file_hash(chunk.index)}.parquet"
        objects.upload(chunk.index, index_uri)
        chunk.index.unlink()
        sequence = self.first + chunk.sequence
        return NewChunk(
            chunk_id=chunk_id,
            attempt=self.attempt,
            sequence=sequence,
            chunk_key=str(ChunkKey(self.dataset, self.version, self.attempt, sequence)),
            records=chunk.records - fillers,
            bytes=chunk.bytes,
            files=tuple(files),
            content_hash=chunk.content_hash,
            index_uri=index_uri,
            model_id=self.model_id,
            quota_group=self.quota_group,
            request=self.request(chunk_id, files[0].uri if len(files) == 1 else f"{folder}/"),
            settings_digest=self.settings_digest,
            mode=self.plan.mode,
            why=self.plan.reason,
            origins=origins,
            estimate=estimate,
        )


def input_lines(deployment: Deployment, chunk: ChunkRow) -> Iterator[bytes]:
    """Read the lines of a chunk's input, in the order of its index.

    Raises:
        ObjectMissingError, ObjectDamagedError: a file was deleted, or has another size than it was written with.
    """
    for file in chunk.input_files:
        found = deployment.objects.head(file.uri)
        if found and found.size != file.bytes:
            raise damaged(file.uri)
        with deployment.objects.open(file.uri) as stream:
            yield from stream


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _origins(chunk: PackedChunk) -> tuple[UUID, ...]:
    if ORIGIN not in pq.read_schema(chunk.index).names:
        return ()
    found = pq.read_table(chunk.index, columns=[ORIGIN])[ORIGIN].unique().drop_null()
    return tuple(sorted(UUID(origin) for origin in found.to_pylist()))


def _fillers(chunk: PackedChunk) -> int:
    return sum(map(is_filler, pq.read_table(chunk.index, columns=["record_id"])["record_id"].to_pylist()))
