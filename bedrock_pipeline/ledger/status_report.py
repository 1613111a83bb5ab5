"""What `bedrock-pipeline status` shows: one statement for the datasets, one for the chunks of a dataset."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from bedrock_pipeline.ledger.database import Database
from bedrock_pipeline.ledger.quota_groups import SlotsInUse
from bedrock_pipeline.ledger.rows import Budget, ChunkRow, State, WaitingChunks
from bedrock_pipeline.ledger.served_pipelines import RUNNING_WITHIN
from bedrock_pipeline.ledger.status import Status
from bedrock_pipeline.ledger.status_statements import CHUNKS, DATASETS, WAITING
from bedrock_pipeline.records.packed_chunk import Mode

#: What happens to a submission of which it is not known whether it made a job.
_LOOKED_UP: Final = "its job is looked up in the list of jobs, and it is sent again if there is none"
#: What a launched dataset in one of these states is about to be.
_NEXT: Final = {
    "requested": "Dagster is about to read its input",
    "snapshotted": "its input is read; Dagster is about to pack it into chunks",
}
#: What a run of each kind does with a dataset or a chunk.
_HAS_DONE: Final = {
    "prepare": "prepared {}",
    "submit": "submitted {}",
    "collect": "read the responses of {}",
    "retry": "packed the records to retry of {}",
    "publish": "published {}",
}
#: What one in these states waits for that is not launched, and that no run prepares.
_NOT_LAUNCHED: Final = {
    "requested": "it is not launched: materialize input_dataset and batch_chunks in Dagster, or",
    "snapshotted": "its input is read, and it is not launched: materialize batch_chunks in Dagster, or",
}


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """A dataset's current version: its records by outcome, its chunks by status, and what it waits for.

    Attributes:
        state: of the version; a day of a queue is `packed` while a job of it is not final, and `final` until it is published.
        records: records with their duplicates; `answered`, `failed`, `retryable`, and those without an outcome yet.
        duplicates: of them, those that get the response to another record.
        processed: of them, processed by Bedrock.
        answered: records with a response.
        failed: records with a final error.
        failed_by_code: by the code of their error.
        rejected: rows of the input that are not sent.
        retryable: records that wait for a retry round.
        waiting_records: of these, those that wait for an operator, or for more records.
        chunks: their number by status, such as `2 pending, 1 queued`.
        cost_usd: US dollars of the collected chunks; None if there are none, or a price is unknown.
        expected_cost_usd: with the estimates of the others; None if there are no chunks, or a price is unknown.
        results: URI of the published results; None before the first publication.
        why: why chunks wait; None if none waits for a time or an operator.
        until: when the first of the waiting chunks is submitted again, where nothing else holds them; None once that is over.
        next: what happens next by itself; None while Bedrock works, and at the end.
    """

    pipeline: str
    dataset: str
    version: int
    state: State | Literal["final"]
    records: int
    duplicates: int
    processed: int
    answered: int
    failed: int
    failed_by_code: dict[str, int]
    rejected: int
    retryable: int
    waiting_records: int
    chunks: str
    cost_usd: Decimal | None
    expected_cost_usd: Decimal | None
    results: str | None
    why: str | None
    until: datetime | None
    next: str | None

    @property
    def waiting(self) -> str | None:
        """What it waits for, or what happens next; None while Bedrock works, and at the end."""
        return self.why or self.next


@dataclass(frozen=True, slots=True)
class ChunkStatus:
    """A chunk, and what it waits for.

    Attributes:
        chunk: the chunk's key.
        mode: how its records are sent.
        processed: of its records, processed by Bedrock.
        answered: records with a response; None until collected.
        failed_by_code: records with a final error, by its code.
        job: ARN of its job.
        retryable: records that wait for a retry round; None until collected.
        waiting_records: of these, those that wait for an operator, or for more records.
        retried: records that are in a chunk of a later attempt.
        cost_usd: US dollars; None until collected, or if the price is unknown.
        why: why it waits, or what its job's problem was.
        until: when it is submitted again, if it waits for a time; None once that is over.
        next: what happens next by itself; None while Bedrock works, and at the end.
    """

    chunk: str
    status: Status
    mode: Mode
    records: int
    processed: int
    answered: int | None
    failed_by_code: dict[str, int]
    job: str | None
    retryable: int | None
    waiting_records: int
    retried: int
    cost_usd: Decimal | None
    why: str | None
    until: datetime | None
    next: str | None


class StatusReport:
    """Reports over all pipelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def datasets(self, pipeline: str | None = None, limit: int = 50) -> list[DatasetStatus]:
        """The datasets requested last, newest first; None: of all pipelines.

        What was cancelled before anything of it was packed is not among them.
        """
        rows = self._database.fetch(
            DATASETS,
            {"pipeline": pipeline, "dataset": None, "limit": limit, "running_within": RUNNING_WITHIN},
        )
        return [_dataset_status(row) for row in rows]

    def dataset(self, pipeline: str, dataset: str) -> DatasetStatus | None:
        """One dataset; None if there is none of this key."""
        rows = self._database.fetch(
            DATASETS,
            {"pipeline": pipeline, "dataset": dataset, "limit": 1, "running_within": RUNNING_WITHIN},
        )
        return _dataset_status(rows[0]) if rows else None

    def unresolved_of_replaced_versions(self) -> list[tuple[str, str]]:
        """Pipeline and key of chunks that need resolution and belong to a version that is not the current one."""
        rows = self._database.fetch(
            """SELECT c.pipeline, c.chunk_key FROM bedrock_pipeline.chunks c
               JOIN bedrock_pipeline.datasets d USING (pipeline, dataset)
               WHERE c.status = 'needs-resolution' AND c.dataset_version < d.version ORDER BY 1, 2"""
        )
        return [(row["pipeline"], row["chunk_key"]) for row in rows]

    def waiting_for_operator(self, pipelines: list[str], most: int = 50) -> dict[str, WaitingChunks]:
        """The chunks of these pipelines that wait for an operator, at most `most` of each by name.

        Those of replaced versions are among them only where they keep a slot.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self._database.fetch(WAITING, {"pipelines": pipelines, "most": most}):
            found.setdefault(row["pipeline"], []).append(row)
        return {
            pipeline: WaitingChunks(rows[0]["count"], tuple((row["chunk_key"], row["why"]) for row in rows))
            for pipeline, rows in found.items()
        }

    def chunks(self, pipeline: str, dataset: str) -> list[ChunkStatus]:
        """The chunks of a dataset's current version, in order."""
        rows = self._database.fetch(CHUNKS, {"pipeline": pipeline, "dataset": dataset})
        return [_chunk_status(row) for row in rows]


def _dataset_status(row: dict[str, Any]) -> DatasetStatus:
    """An operator's decision comes before what passes with time."""
    why, until = row["state_reason"], None
    forget = (
        f"To take it off the list of datasets: bedrock-pipeline cancel {row['pipeline']} {row['dataset']}"
    )
    if row["state"] == "failed" and row["never_packed"]:
        why = f"{_sentence(why)} {forget}"
    if row["unserved"]:
        why = f"no running code location has a pipeline {row['pipeline']!r}: it waits for one that has."
        why += f" {forget}" if row["never_packed"] else ""
    elif row["publication_rejected"]:
        why = f"{row['publication_rejected']} {_retry(row)}"
    elif row["unresolved"]:
        why = f"waits for an operator, with {row['unresolved']} of its chunks: {_sentence(row['unresolved_reason'])} "
        why += _resolve(row["pipeline"], row["unresolved_key"])
    elif row["for_operator"]:
        why = f"waits for an operator, with {row['for_operator']} of its chunks: {_sentence(row['operator_reason'])} {_retry(row)}"
    elif row["too_few"]:
        why = f"{_sentence(row['too_few_reason'])} {_send(row)}"
    elif row["over_budget"]:
        why = Budget.of(row).reason
    elif row["requeued"]:
        why, until = f"{row['requeued']} requeued: {row['requeue_reason']}", row["until"]
    elif row["backoff_until"]:
        why, until = row["backoff_reason"], row["backoff_until"]
    elif row["state"] in _NOT_LAUNCHED and not row["launch_requested_at"] and not row["preparing"]:
        why = f"{_NOT_LAUNCHED[row['state']]} bedrock-pipeline launch {row['pipeline']} {row['dataset']}"
    if row["launch_failure"]:
        why = " ".join(filter(None, [f"the last launch has failed: {_sentence(row['launch_failure'])}", why]))
    values = row | {"why": why, "until": until, "state": _state(row), "next": _next(row)}
    return DatasetStatus(**{field.name: values[field.name] for field in fields(DatasetStatus)})


def _state(row: dict[str, Any]) -> str:
    """Of a day of a queue, which goes on being packed, what its jobs are."""
    state: str = row["state"]
    if not row["open"] or state not in ("packed", "published"):
        return state
    if row["unfinished"]:
        return "packed"
    return "published" if row["collections"] == row["published_collections"] else "final"


def _next(row: dict[str, Any]) -> str | None:
    """What happens to a dataset where it waits for nothing."""
    if row["launch_requested_at"] and row["state"] in ("packed", "published"):
        return _failed(row, "prepare") or (
            f"it is launched again; Dagster is about to compare its input with version {row['version']}"
        )
    if row["in_doubt"]:
        return f"submissions in doubt: {row['in_doubt']}; {_LOOKED_UP}"
    if row["to_collect"]:
        return _failed(row, "collect") or (
            f"chunks that have ended: {row['to_collect']}; their responses are about to be read"
        )
    if row["state"] == "packed" and not row["unfinished"] and not row["open"]:
        return _failed(row, "publish") or "its results are about to be published"
    if row["retryable"] > row["waiting_records"] and (failed := _failed(row, "retry")):
        return failed
    if "pending" in row["chunks"] and (waits := _failed(row, "submit") or _no_slot(row)):
        return waits
    if not row["launch_requested_at"]:
        return "a run prepares it" if row["state"] in _NEXT and row["preparing"] else None
    return (row["state"] in _NEXT and _failed(row, "prepare")) or _NEXT.get(row["state"])


def _failed(row: dict[str, Any], kind: str) -> str | None:
    """That a run of this kind has failed for a dataset or a chunk; None if none has since the last that has not."""
    subject, failure = (row["failures"] or {}).get(kind, (None, ""))
    if subject is None:
        return None
    name = failure.partition(": ")[2].partition(":")[0]  # what is behind it may quote a row
    what = "it" if subject == row["dataset"] else f"chunk {subject}"
    return f"a run that {_HAS_DONE[kind].format(what)} has failed with {name}, see its log in Dagster; it is tried again"


def _chunk_status(row: dict[str, Any]) -> ChunkStatus:
    chunk = ChunkRow.of(row)
    why: str | None = row["wait_reason"] or chunk.lasting_problem or chunk.status_message
    until: datetime | None = None
    if chunk.status == "needs-resolution":
        why = f"{_sentence(chunk.status_message)} {_resolve(chunk.pipeline, chunk.chunk_key)}"
    elif row["for_operator"]:
        why = f"{_sentence(row['wait_reason'] or chunk.status_message)} {_retry(row)}"
    elif row["too_few"]:
        why = f"{_sentence(row['wait_reason'] or chunk.status_message)} {_send(row)}"
    elif row["over_budget"]:
        why = Budget.of(row).reason
    elif chunk.requeued_since:
        why, until = chunk.requeue_reason, row["submitted_at"]
    elif row["backoff_until"]:
        why, until = row["backoff_reason"], row["backoff_until"]
    following = None if row["for_operator"] else _next_of_chunk(chunk, row)
    values = row | {"why": why, "until": until, "next": following, "retryable": row["open_records"]}
    return ChunkStatus(**{field.name: values[field.name] for field in fields(ChunkStatus)})


def _next_of_chunk(chunk: ChunkRow, row: dict[str, Any]) -> str | None:
    if chunk.status == "in-doubt":
        return _LOOKED_UP
    if chunk.ended and chunk.collected_at is None:
        return _failed(row, "collect") or "it has ended; its responses are about to be read"
    if chunk.cancel_requested_at and not chunk.ended:
        return "it is cancelled; its job is about to be stopped"
    return _failed(row, "submit") or _no_slot(row) if chunk.status == "pending" else None


def _no_slot(row: dict[str, Any]) -> str | None:
    return SlotsInUse(**row["slots"]).why_none if row["slots"] else None


def _sentence(reason: str | None) -> str:
    text = reason or "the reason is unknown"
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def _resolve(pipeline: str, chunk_key: str) -> str:
    """What an operator does who has looked at the jobs of a chunk."""
    command = f"bedrock-pipeline resolve {pipeline} {chunk_key}"
    return f"With the ARN of its job: {command} --job ARN. If it has none: {command} --no-job"


def _send(row: dict[str, Any]) -> str:
    """What an operator does with records that are too few for a job."""
    command = f"bedrock-pipeline retry {row['pipeline']} {row['dataset']} --below-minimum on_demand"
    return f"To send them all the same: {command}"


def _retry(row: dict[str, Any]) -> str:
    """What an operator does where the cause is not the records' own."""
    return f"Once the cause is fixed: bedrock-pipeline retry {row['pipeline']} {row['dataset']}"
