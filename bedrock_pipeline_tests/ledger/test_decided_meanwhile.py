"""What an operator decides while a retry round is packed is not undone by it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.records.tally import Tally
from bedrock_pipeline_tests.ledger.test_scopes import collected, status
from bedrock_pipeline_tests.ledger.test_submissions import accepted, enter, ledger, new_chunk, seen

__all__ = ["ledger"]  # the fixture


def _release(ledger: Ledger) -> None:
    ledger.interventions.release("p", "d", "on_demand")


def _retry_job(ledger: Ledger) -> None:
    [waiting] = ledger.retry_rounds.open_of("p", "d", 1)
    assert ledger.interventions.retry_job(waiting.chunk.chunk_id) == (0, 10)


def _waits(ledger: Ledger) -> list[str | None]:
    return [one.waits_for for one in ledger.retry_rounds.open_of("p", "d", 1)]


@pytest.mark.parametrize("decided", [True, False])
def test_records_do_not_go_on_waiting_for_a_decision_that_was_made(ledger: Ledger, decided: bool) -> None:
    collected(ledger, enter(ledger, 1))
    row, retryable = ledger.datasets.ensure("p", "d"), ledger.retry_rounds.open_of("p", "d", 1)
    if decided:
        _release(ledger)
    ledger.retry_rounds.hold(row, retryable, "too few")
    assert _waits(ledger) == [None if decided else "minimum"]


@pytest.mark.parametrize("decide", [_release, _retry_job], ids=["of the dataset", "of a queue's job"])
def test_records_that_were_released_meanwhile_are_not_stopped(
    ledger: Ledger, decide: Callable[[Ledger], object]
) -> None:
    [chunk_id] = enter(ledger, 1)
    accepted(ledger, chunk_id, "arn:1")
    ledger.jobs.observe([seen("arn:1", "stopped", 100)])
    chunk = ledger.chunks.by_id(chunk_id)
    assert chunk is not None
    tally = Tally(100, answered=90, retryable=10)
    assert ledger.chunks.record_collected(
        chunk_id, chunk.fence, tally, parsed_uri="s3://b/", waits_for_operator="stopped in the console"
    )
    row, retryable = ledger.datasets.ensure("p", "d"), ledger.retry_rounds.open_of("p", "d", 1)
    later = replace(new_chunk(0), attempt=2, chunk_key="d--a2-00000", records=10, origins=(chunk_id,))
    decide(ledger)
    assert not ledger.retry_rounds.enter(row, retryable=retryable, chunks=[later], stopped=True)
    row, retryable = ledger.datasets.ensure("p", "d"), ledger.retry_rounds.open_of("p", "d", 1)
    assert ledger.retry_rounds.enter(row, retryable=retryable, chunks=[later])
    assert status(ledger, later.chunk_id) == "pending"
