"""What the end of a chunk means for its records, and when an operator must act."""

from dataclasses import replace
from typing import Any

import pytest

from bedrock_pipeline.collect.disposition import EndedChunk, disposition_of
from bedrock_pipeline.collect.tally import TallyCounter

COMPLETED = EndedChunk("p", "d", "d--00000", 100, 1, "batch", "completed", None, cancelled=False)
LAST: dict[str, Any] = {"attempt": 3}


@pytest.mark.parametrize(
    ("changes", "code", "missing", "throttled", "invalid"),
    [
        ({}, "missing", True, True, False),
        (LAST, "missing", False, False, False),
        ({"status": "expired"}, "job-expired", True, True, False),
        ({"status": "expired", **LAST}, "job-expired", False, False, False),
        ({"status": "failed", "status_message": "Access denied"}, "job-failed", False, True, False),
        ({"status": "failed", "status_message": "Internal server error"}, "job-failed", True, True, False),
        ({"status": "stopped"}, "job-stopped", True, True, False),
        ({"status": "stopped", **LAST}, "job-stopped", True, True, False),
        ({"status": "stopped", "cancelled": True}, "cancelled", False, False, False),
        ({"cancelled": True}, "missing", False, False, False),
        ({"status": "stopped", "mode": "none"}, "below-minimum", False, False, False),
    ],
)
def test_which_records_are_retried(
    changes: dict[str, Any], code: str, missing: bool, throttled: bool, invalid: bool
) -> None:
    disposition = disposition_of(replace(COMPLETED, **changes), 3)
    assert disposition.no_answer[0] == code
    assert [disposition.retries(one) for one in (code, "429", "400")] == [missing, throttled, invalid]


@pytest.mark.parametrize(
    ("changes", "counts", "said"),
    [
        ({}, {"answered": 100}, None),
        ({}, {"retryable": 100}, None),
        ({}, {"answered": 1, "final_errors": 99}, None),
        ({}, {"final_errors": 100, "reasons": {"400: no"}}, "failed for one reason: 400: no. Records: r1."),
        (
            {},
            {"final_errors": 100, "reasons": {"400: no", "403: b"}},
            "for reasons such as: 400: no; 403: b.",
        ),
        ({"status": "stopped"}, {"retryable": 7}, "7 records wait: retry them with"),
        ({"status": "expired"}, {"missing": 7, "retryable": 7}, None),
        ({"status": "expired", **LAST}, {"missing": 7, "final_errors": 7}, "ended expired. Records: r1."),
        (
            {"status": "failed", "status_message": "x" * 400},
            {"missing": 100, "final_errors": 100},
            f"ended failed. Bedrock's message: {'x' * 300}….",
        ),
        ({"status": "stopped", "cancelled": True}, {"missing": 100, "final_errors": 100}, None),
        ({"status": "stopped", "mode": "none"}, {"missing": 100, "final_errors": 100}, None),
    ],
)
def test_what_an_operator_is_shown(changes: dict[str, Any], counts: dict[str, Any], said: str | None) -> None:
    examples = ["r1"] if counts.get("final_errors") else []
    counter = TallyCounter(100, examples=examples, **counts)
    problem = disposition_of(replace(COMPLETED, **changes), 3).problem(counter)
    assert problem is None if said is None else said in (problem or "")
