"""Rows of the ledger as typed objects.

What belongs here: the shapes that the other rooms read. No statement.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from bedrock_pipeline.ledger.status import ENDED, Status

#: How a chunk is asked: as a job, call by call, not until a person decides, or not at all.
Mode = Literal["batch", "on-demand", "held", "none"]


class _Row:
    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        """Take from a row what this class has fields for."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})  # type: ignore[arg-type]  # subclasses are dataclasses


@dataclass(frozen=True, slots=True)
class InputFile:
    """One JSONL file of a chunk in S3."""

    uri: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A packed and uploaded chunk that is to be entered.

    Attributes:
        chunk_id: its UUID, derived from its content, so that packing again gives the same.
        index_uri: parquet with record_id, wire_id and the carried columns of its records.
        request: the parts of the Create request that follow from the pipeline (see `stages/submit.py`).
        records: without filler records, which a padded chunk's files hold at their end.
        mode: how it is asked.
        why: why it is not asked as a job.
        origins: the chunks of round 1 whose records it holds; none in round 1.
    """

    chunk_id: UUID
    round: int
    sequence: int
    chunk_key: str
    records: int
    bytes: int
    files: tuple[InputFile, ...]
    content_hash: str
    index_uri: str
    model_id: str
    quota_group: str
    request: dict[str, Any]
    mode: Mode = "batch"
    why: str | None = None
    origins: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class ChunkRow(_Row):
    """A chunk and its job, as the ledger knows them now."""

    chunk_id: UUID
    pipeline: str
    dataset: str
    dataset_version: int
    round: int
    sequence: int
    chunk_key: str
    records: int
    bytes: int
    files: list[dict[str, Any]]
    content_hash: str
    index_uri: str
    model_id: str
    quota_group: str
    request: dict[str, Any]
    mode: Mode
    status: Status
    status_message: str | None
    cancel_requested_at: datetime | None
    epoch: int
    token: str | None
    frozen_request: dict[str, Any] | None
    attempts: int
    next_attempt_at: datetime
    put_back_since: datetime | None
    put_back_reason: str | None
    lease_expires_at: datetime | None
    job_arn: str | None
    submitted_at: datetime | None
    ended_at: datetime | None
    total_count: int | None
    processed_count: int | None
    success_count: int | None
    error_count: int | None
    collected_at: datetime | None
    parsed_uri: str | None
    answered: int | None
    final_errors: int | None
    leftovers: int | None
    input_tokens: int | None
    output_tokens: int | None
    problem: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.status in ENDED

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The chunk's JSONL files."""
        return tuple(InputFile(**file) for file in self.files)


@dataclass(frozen=True, slots=True)
class DatasetRow(_Row):
    """A dataset of a pipeline."""

    pipeline: str
    dataset: str
    version: int
    request: dict[str, Any]
    launch_requested_at: datetime | None
    snapshot_uri: str | None
    snapshot_hash: str | None
    snapshot_records: int | None
    snapshot_rejected: int | None
    packed_hash: str | None
    packed_records: int | None
    packed_rejected: int | None
    packed_at: datetime | None
    cancel_requested_at: datetime | None
    publication: int
    published_version: int | None
    results_uri: str | None
    published_records: int | None
    published_at: datetime | None
    snapshot_followers: int
    packed_followers: int


@dataclass(frozen=True, slots=True)
class DatasetProgress(_Row):
    """How far a dataset is: chunks by status and records by outcome, over its current version.

    Attributes:
        records: those that are sent and their followers, which are answered at publication.
        followers: records that are answered with another's answer.
        leftovers: records that wait for the next round, or for a person.
    """

    chunks: int
    uncollected: int
    records: int
    followers: int
    followers_settled: int
    processed: int
    answered: int
    final_errors: int
    leftovers: int
    input_tokens: int
    output_tokens: int
    by_status: dict[str, int]
