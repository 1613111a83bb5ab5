"""What a chunk waits for that no process tries to submit."""

import pytest

from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.submissions import Intent, NotNow
from bedrock_pipeline.models.quota_group import QuotaGroup
from bedrock_pipeline_tests.ledger.entered import enter_chunks
from bedrock_pipeline_tests.ledger.test_submissions import intend, new_chunk
from bedrock_pipeline_tests.ledger.test_submissions import ledger as ledger


@pytest.mark.parametrize(
    ("own_limit", "slots", "said"),
    [
        (1, 20, "has 1 jobs of the 1 that its limits allow"),
        (5, 1, "All 1 slots of"),
        (5, 0, "The limit of"),
    ],
)
def test_status_says_that_a_chunk_waits_for_a_slot(
    ledger: Ledger, own_limit: int, slots: int, said: str
) -> None:
    """As its submission would; but none is tried while there is no slot."""
    entered = [new_chunk(number) for number in range(2)]
    enter_chunks(ledger, entered, max_jobs=own_limit)
    first, second = (one.chunk_id for one in entered)
    assert {one.next for one in ledger.status_report.chunks("p", "d")} == {None}
    assert isinstance(intend(ledger, first), Intent)
    chunk = ledger.chunks.by_id(second)
    assert chunk is not None
    ledger.quota_groups.set_max_jobs(QuotaGroup.of(chunk.quota_group), slots)
    assert ledger.submissions.due(["p"], 10) == []
    rejected = intend(ledger, second)
    assert isinstance(rejected, NotNow)
    assert said in rejected.reason
    dataset = ledger.status_report.dataset("p", "d")
    assert dataset is not None
    assert [one.next for one in ledger.status_report.chunks("p", "d")] == [None, rejected.reason]
    assert dataset.next == rejected.reason
