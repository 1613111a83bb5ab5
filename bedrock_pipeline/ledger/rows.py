"""Rows of the ledger as typed objects.

What belongs here: the shapes that the other packages read. No statement.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import ROUND_UP, Decimal
from typing import Any, Final, Literal, Self
from uuid import UUID

from bedrock_pipeline.ledger.status import ENDED, Status
from bedrock_pipeline.pricing.estimates import ChunkEstimate
from bedrock_pipeline.records.packed_chunk import Mode


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
    digest: str


@dataclass(frozen=True, slots=True)
class FrozenSettings:
    """A pipeline's settings as they were when something was launched (see `bedrock_pipeline.frozen_settings`).

    Attributes:
        digest: of the whole document.
        content_digest: of what decides the responses; limits, prices and policies do not.
        document: JSON.
    """

    digest: str
    content_digest: str
    document: str


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A packed and uploaded chunk that is to be entered.

    Attributes:
        chunk_id: its UUID, derived from its content, so that packing again gives the same.
        index_uri: parquet with record_id, wire_id and the carried columns of its records.
        request: the parts of the Create request that follow from the pipeline (see `submit/submit_chunk.py`).
        settings_digest: of the frozen settings by which its responses are judged.
        records: without filler records, which a padded chunk's files hold at their end.
        mode: how its records are sent.
        why: why they are not sent as a job.
        origins: the chunks of attempt 1 whose records it holds; none in attempt 1.
        estimate: tokens and cost; a chunk without one is not submitted where its dataset has a cap.
    """

    chunk_id: UUID
    attempt: int
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
    settings_digest: str
    mode: Mode = "batch"
    why: str | None = None
    origins: tuple[UUID, ...] = ()
    estimate: ChunkEstimate | None = None


@dataclass(frozen=True, slots=True)
class ChunkRow(_Row):
    """A chunk and its job."""

    chunk_id: UUID
    pipeline: str
    dataset: str
    dataset_version: int
    attempt: int
    sequence: int
    chunk_key: str
    records: int
    bytes: int
    files: list[dict[str, Any]]
    content_hash: str
    index_uri: str
    model_id: str
    quota_group: str
    max_jobs: int | None
    request: dict[str, Any]
    settings_digest: str
    mode: Mode
    status: Status
    status_message: str | None
    cancel_requested_at: datetime | None
    fence: int
    token: str | None
    frozen_request: dict[str, Any] | None
    submissions: int
    next_attempt_at: datetime
    requeued_since: datetime | None
    requeue_reason: str | None
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
    final_by_code: dict[str, int]
    retryable: int | None
    input_tokens: int | None
    output_tokens: int | None
    problem: str | None
    estimated_input_tokens: int | None
    estimated_output_tokens: int | None
    estimated_cost_usd: Decimal | None
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.status in ENDED

    @property
    def lasting_problem(self) -> str | None:
        """What an operator must know whatever comes later; the problem of records that wait has passed once they are retried."""
        return None if self.retryable else self.problem

    @property
    def input_files(self) -> tuple[InputFile, ...]:
        """The chunk's JSONL files."""
        return tuple(InputFile(**file) for file in self.files)


State = Literal["requested", "snapshotted", "packed", "published", "replaced", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class DatasetRow(_Row):
    """A dataset of a pipeline with its current version.

    Attributes:
        launch_id: of the launch that no run has carried out yet; None if there is none.
        snapshot_launch_id: of the launch that the snapshot was taken for.
        launch_failure: why the last launch has failed, where it left the version as it was.
        settings_digest: of the frozen settings; None before the snapshot is taken.
        below_minimum: an operator's decision, in place of the frozen policy.
        schema_only_since: when it was decided to judge responses by the JSON schema, without a class's own validators.
        publication_rejected: why its table does not take the results, until an operator has acted.
        duplicates_failed_by_code: published duplicates with a final error, by its code.
    """

    pipeline: str
    dataset: str
    version: int
    state: State
    state_reason: str | None
    request: dict[str, Any]
    launch_id: UUID | None
    launch_requested_at: datetime | None
    launch_failure: str | None
    preparation_began_at: datetime | None
    snapshot_launch_id: UUID | None
    settings_digest: str | None
    below_minimum: str | None
    schema_only_since: datetime | None
    publication_rejected: str | None
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
    published_failed: int | None
    published_at: datetime | None
    latest_written_publication: int
    latest_writes: int
    latest_check_at: datetime | None
    open: bool
    collections: int
    published_collections: int
    snapshot_duplicates: int
    packed_duplicates: int
    duplicates_failed_by_code: dict[str, int]
    max_cost_usd: Decimal | None

    @property
    def keeps_snapshot(self) -> bool:
        """Whether the launch is for the snapshot that was packed before: the input is not read again."""
        return (
            bool(self.packed_hash)
            and self.launch_id is not None
            and self.launch_id == self.snapshot_launch_id
        )

    @property
    def rejected(self) -> int:
        """Rows of the input that were left out."""
        return (self.snapshot_rejected or 0) + (self.packed_rejected or 0)


@dataclass(frozen=True, slots=True)
class VersionRow(_Row):
    """One version of a dataset, for its history.

    Attributes:
        jobs: of its chunks, those that have a job, whether it has ended or not.
        in_flight: of its jobs, those that have not ended.
        cost_usd: US dollars of its collected chunks; None if there are none, or a price is unknown.
    """

    version: int
    state: State
    state_reason: str | None
    state_changed_at: datetime
    created_at: datetime
    request: dict[str, Any]
    settings_digest: str | None
    snapshot_hash: str | None
    jobs: int
    in_flight: int
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class DatasetProgress(_Row):
    """How far a dataset is: chunks by status and records by outcome, over its current version.

    Attributes:
        records: those that are sent and their duplicates, which are answered at publication.
        duplicates: records that receive another record's response.
        retryable: records that wait for the retry round, or for an operator.
        cost_usd: of the chunks that are collected; None where none is, or one has no known price.
        on_demand_cost_usd: what on-demand calls would have cost in their place.
    """

    chunks: int
    uncollected: int
    records: int
    duplicates: int
    duplicates_settled: int
    processed: int
    answered: int
    final_errors: int
    retryable: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None
    on_demand_cost_usd: Decimal | None
    by_status: dict[str, int]


@dataclass(frozen=True, slots=True)
class WaitingChunks:
    """The chunks of a pipeline that wait for an operator.

    Attributes:
        count: how many there are.
        first: key and reason of the first of them.
    """

    count: int
    first: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Budget(_Row):
    """What the current version of a dataset may cost.

    Attributes:
        cap_usd: `max_cost_usd`, or what an operator approved last.
        committed_usd: spent or in flight, by estimate until it is known; None if a price is unknown.
        wanted_usd: with all that waits.
    """

    pipeline: str
    dataset: str
    version: int
    cap_usd: Decimal
    committed_usd: Decimal | None
    wanted_usd: Decimal | None

    @property
    def reason(self) -> str:
        """Why the rest is not submitted, and what to do, where it costs too much."""
        where = f"{self.pipeline} {self.dataset}"
        if self.committed_usd is None or self.wanted_usd is None:
            return (
                f"The price of {where} is unknown, so its max_cost_usd cannot be kept: give `prices` for its model and "
                f"materialize batch_chunks again (docs/costs.md)."
            )
        return (
            f"{where} may cost {usd(self.cap_usd)}: {usd(self.committed_usd)} is spent or in flight, and with all that waits it "
            f"would come to {usd(self.wanted_usd)}. To go on: bedrock-pipeline approve {where} --up-to {cents(self.wanted_usd)}"
        )


_LEAST_SHOWN: Final = Decimal("0.0001")


def usd(amount: Decimal) -> str:
    """An amount as text, such as `$0.0123`; what would be shown as nothing is less than the least."""
    if 0 < amount < _LEAST_SHOWN:
        return f"<${_LEAST_SHOWN}"
    return f"${amount:.2f}" if amount >= 10 else f"${amount:.4f}"


def cents(amount: Decimal) -> Decimal:
    """An amount rounded up to whole cents."""
    return amount.quantize(Decimal("0.01"), ROUND_UP)
