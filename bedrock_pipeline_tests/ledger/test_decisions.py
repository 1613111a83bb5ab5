"""What an operator decides is answered rightly, whichever part of its commit is lost."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg.rows import dict_row

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.interventions import Interventions
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline_tests.ledger.entered import enter_chunks
from bedrock_pipeline_tests.ledger.test_database import Losing
from bedrock_pipeline_tests.ledger.test_submissions import GROUP, intend, new_chunk

_ARN = "arn:job"


@pytest.fixture
def ledger(postgres_dsn: str) -> Iterator[Ledger]:
    with Ledger(postgres_dsn) as opened:
        yield opened


def _chunk(ledger: Ledger, state: str) -> UUID:
    """The only chunk of dataset `d`, in a state in which somebody decides."""
    chunk = new_chunk(0)
    if state == "waiting":
        chunk = replace(chunk, mode="waiting")
    ledger.quota_groups.set_max_jobs(GROUP, 5)
    enter_chunks(ledger, [chunk], dataset="d")
    if state in ("waiting", "pending"):
        return chunk.chunk_id
    intent = intend(ledger, chunk.chunk_id)
    assert isinstance(intent, Intent)
    if state == "rejected":
        assert ledger.submissions.reject(chunk.chunk_id, intent.fence, reason="no access")
    elif state == "needs-resolution":
        assert ledger.submissions.need_resolution(chunk.chunk_id, intent.fence, reason="two jobs")
    else:
        assert ledger.submissions.record_accepted(chunk.chunk_id, intent.fence, _ARN)
    ledger.database.execute(
        "UPDATE bedrock_pipeline.deployment SET clock_offset = clock_offset + %s", (timedelta(hours=1),)
    )
    return chunk.chunk_id


@pytest.mark.parametrize("lost", ["acknowledgement", "commit"])
@pytest.mark.parametrize(
    ("state", "decide", "answer", "status"),
    [
        ("rejected", lambda one, _: one.retry_rejected("p", "d"), 1, "pending"),
        ("waiting", lambda one, _: one.release("p", "d", "pad"), (0, True), "pending"),
        ("pending", lambda one, _: [c.status for c in one.cancel("p", "d")], ["stopped"], "stopped"),
        ("in flight", lambda one, _: [c.status for c in one.cancel("p", "d")], ["queued"], "queued"),
        ("needs-resolution", lambda one, chunk: one.resolve_without_job(chunk), None, "pending"),
        ("needs-resolution", lambda one, chunk: one.give_up_submission(chunk), None, "stopped"),
        ("in flight", lambda one, chunk: one.give_up_job(chunk, _ARN), None, "stopped"),
    ],
)
def test_a_decision_is_answered_by_what_it_did(
    ledger: Ledger,
    postgres_dsn: str,
    lost: str,
    state: str,
    decide: Callable[[Interventions, UUID], object],
    answer: object,
    status: str,
) -> None:
    chunk_id = _chunk(ledger, state)

    def connect() -> Losing:
        return Losing.connect(postgres_dsn, row_factory=dict_row)

    with Ledger(postgres_dsn, connect=connect) as losing:
        Losing.lost[:] = [lost]
        assert decide(losing.interventions, chunk_id) == answer
        assert not Losing.lost
    now = ledger.chunks.by_id(chunk_id)
    assert now is not None
    assert now.status == status
