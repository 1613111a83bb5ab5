"""What the end of a chunk means for its records, and when an operator must act."""

from dataclasses import replace
from typing import Any

import pytest

from bedrock_pipeline.collect.disposition import EndedChunk, disposition_of
from bedrock_pipeline.collect.tally import TallyCounter

COMPLETED = EndedChunk("p", "d", "d--00000", 100, 1, "batch", "completed", None, cancelled=False)
LAST: dict[str, Any] = {"attempt": 3}


@pytest.mark.parametrize(
    ("changes", "code", "retried"),
    [
        ({}, "missing", {"missing", "429", "403", "404", "500", "answer-invalid"}),
        (LAST, "missing", {"missing", "429", "403", "404"}),
        (
            {"status": "expired"},
            "job-expired",
            {"job-expired", "missing", "429", "403", "404", "500", "answer-invalid"},
        ),
        ({"status": "expired", **LAST}, "job-expired", {"job-expired", "429", "403", "404"}),
        (
            {"status": "failed", "status_message": "Access denied"},
            "job-failed",
            {"job-failed", "missing", "429", "403", "404", "500", "answer-invalid"},
        ),
        (
            {"status": "failed", "status_message": "Access denied", **LAST},
            "job-failed",
            {"job-failed", "429", "403", "404"},
        ),
        ({"status": "stopped", **LAST}, "job-stopped", {"job-stopped", "429", "403", "404"}),
        ({"status": "stopped", "cancelled": True}, "cancelled", set()),
        ({"cancelled": True}, "missing", set()),
        ({"status": "stopped", "mode": "none"}, "below-minimum", set()),
    ],
)
def test_only_a_reason_of_the_records_own_makes_a_final_error(
    changes: dict[str, Any], code: str, retried: set[str]
) -> None:
    disposition = disposition_of(replace(COMPLETED, **changes), 3)
    assert disposition.no_answer[0] == code
    every = {code, "missing", "429", "403", "404", "500", "400", "answer-invalid", "answer-shape"}
    assert {one for one in every if disposition.retries(one)} == retried


@pytest.mark.parametrize(
    ("changes", "codes", "said"),
    [
        ({}, {}, None),
        ({}, {"429": 7, "500": 2, "missing": 1}, None),
        (
            LAST,
            {"429": 7, "missing": 2},
            "last automatic attempt of records without a response (429: 7, missing: 2). 9",
        ),
        ({}, {"429": 7, "403": 1}, "had no access for some records (403). 8 records wait"),
        ({"status": "stopped"}, {"job-stopped": 7}, "7 records wait: retry them with"),
        ({"status": "expired"}, {"job-expired": 7}, None),
        ({"status": "expired", **LAST}, {"job-expired": 7}, "(job-expired: 7)"),
        ({"status": "failed", "status_message": "Internal server error"}, {"job-failed": 9}, None),
        (
            {"status": "failed", "status_message": "x" * 400},
            {"job-failed": 9},
            f"ended failed, with Bedrock's message: {'x' * 300}…. 9",
        ),
        ({"status": "failed", "status_message": "Access denied"}, {"429": 9}, None),
    ],
)
def test_when_an_operator_must_decide(
    changes: dict[str, Any], codes: dict[str, int], said: str | None
) -> None:
    waits = disposition_of(replace(COMPLETED, **changes), 3).waits(codes)
    assert waits is None if said is None else said in (waits or "")


def test_an_operator_must_decide_about_a_job_without_any_output() -> None:
    waits = disposition_of(COMPLETED, 3).waits(
        {"missing": 100}, lost="its output folder s3://b/out/abc/ holds neither a manifest nor a line"
    )
    assert "is completed, and its output folder s3://b/out/abc/ holds neither a manifest nor a line" in (
        waits or ""
    )


@pytest.mark.parametrize(
    ("changes", "counts", "said"),
    [
        ({}, {"answered": 100}, None),
        ({}, {"retryable": 100}, None),
        ({}, {"answered": 1, "final_errors": 99}, None),
        ({}, {"final_errors": 100, "reasons": {"400: no"}}, "failed for one reason: 400: no. Records: r1."),
        (
            {},
            {"final_errors": 100, "reasons": {"400: no", "413: b"}},
            "for reasons such as: 400: no; 413: b.",
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
