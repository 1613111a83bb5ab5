"""The backoff of a quota group: throttling concerns all of its chunks."""

from datetime import timedelta

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline_tests.ledger.test_submissions import (
    LEASE,
    accepted,
    enter,
    intend,
    ledger,
    move_clock,
    requeue,
    taken,
)

__all__ = ["ledger"]  # the fixture


def test_throttling_holds_the_whole_group_longer_each_time_and_then_tries_one(ledger: Ledger) -> None:
    first, second, third = enter(ledger, 3, max_jobs=3)
    taken = intend(ledger, first)
    assert isinstance(taken, Intent)
    assert requeue(ledger, taken, timedelta(minutes=1), back_off_group=True) == "requeued"
    assert ledger.submissions.due(["p"], 10) == []
    held = intend(ledger, second)
    assert isinstance(held, NotNow)
    assert (held.reason, held.until is not None) == ("throttled", True)
    move_clock(ledger, timedelta(minutes=1))
    [probe] = ledger.submissions.due(["p"], 10)
    taken = intend(ledger, probe.chunk_id)
    assert isinstance(taken, Intent)
    requeue(ledger, taken, timedelta(minutes=1), back_off_group=True)
    [hold] = ledger.jobs.backoffs()
    assert hold["throttles"] == 2
    move_clock(ledger, timedelta(minutes=1))
    assert ledger.submissions.due(["p"], 10) == [], "the second wait is longer"
    move_clock(ledger, timedelta(minutes=1))
    accepted(ledger, ledger.submissions.due(["p"], 10)[0].chunk_id, "arn:1")
    assert ledger.jobs.backoffs() == []
    assert len(ledger.submissions.due(["p"], 10)) == 2
    assert third is not None


def test_requests_throttled_together_count_once_for_the_backoff(ledger: Ledger) -> None:
    burst = [taken(ledger, chunk_id) for chunk_id in enter(ledger, 5, max_jobs=5)]
    for intent in burst:
        assert requeue(ledger, intent, timedelta(minutes=1), back_off_group=True) == "requeued"
    assert [hold["throttles"] for hold in ledger.jobs.backoffs()] == [1]
    move_clock(ledger, timedelta(minutes=1, seconds=1))
    assert ledger.jobs.backoffs() == []
    assert all(chunk.requeued_since for chunk in ledger.chunks.of_dataset("p", "d", 1))


def test_after_a_backoff_one_chunk_tries_and_it_is_the_one_that_waits_longest(ledger: Ledger) -> None:
    first, second, third = enter(ledger, 3, max_jobs=3)
    requeue(ledger, taken(ledger, second), timedelta(minutes=1), back_off_group=True)
    move_clock(ledger, timedelta(minutes=2))
    assert [chunk.chunk_id for chunk in ledger.submissions.due(["p"], 10)] == [second]
    probe = taken(ledger, second)
    not_now = intend(ledger, first)
    assert isinstance(not_now, NotNow)
    assert "submitted as a probe" in not_now.reason
    assert "throttled" in not_now.reason
    move_clock(ledger, LEASE)  # whoever tries may have died
    taken(ledger, third)
    assert ledger.submissions.record_accepted(second, probe.fence, "arn:1")
    taken(ledger, first)
