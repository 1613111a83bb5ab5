"""What is retried and what is final, by code and by message."""

import pytest

from bedrock_pipeline.collect.retry_policy import retryable, transient
from bedrock_pipeline.records.record_ids import filler_id, is_filler, later_wire_id, record_id_of, wire_id
from bedrock_pipeline.records.wire_line import address_of, body_of, lines_at, readdressed

LINE = b'{"recordId":"a","modelInput":{"text":"x\\",\\"modelInput\\":1"}}\n'


@pytest.mark.parametrize(
    ("code", "again"),
    [
        ("429", True),
        (" 500 ", True),
        ("503", True),
        ("599", True),
        ("408", True),
        ("424", True),
        ("400", False),
        ("403", False),
        ("404", False),
        ("413", False),
        ("ThrottlingException", True),
        ("Throttling", True),
        ("TooManyRequestsException", True),
        ("InternalServerException", True),
        ("InternalServerError", True),
        ("internal_server_error", True),
        ("ServiceUnavailable", True),
        ("ServiceUnavailableException", True),
        ("ModelTimeoutException", True),
        ("ModelTimeout", True),
        ("ModelErrorException", True),
        ("ModelNotReadyException", True),
        ("ValidationException", False),
        ("AccessDeniedException", False),
        ("ResourceNotFoundException", False),
        ("missing", True),
        ("unknown", True),
        ("answer-invalid", True),
        ("answer-shape", False),
        ("cancelled", False),
        ("job-failed", False),
        ("", False),
    ],
)
def test_records_are_retried_by_their_code(code: str, again: bool) -> None:
    assert retryable(code) is again


@pytest.mark.parametrize(
    ("message", "again"),
    [
        ("Internal server error", True),
        ("InternalServerException: something went wrong", True),
        ("The service encountered an internal error. Please try your request again.", True),
        ("The system encountered an unexpected error during processing. Try your request again.", True),
        ("Service unavailable", True),
        ("The service is temporarily unavailable", True),
        ("Request was throttled", True),
        ("Too many requests, please wait", True),
        ("Batch job contains less records (1) than the required minimum of: 100", False),
        ("Access denied when reading s3://internal-server/data. Try again after granting access.", False),
        ("The role is not authorized to perform s3:GetObject", False),
        ("Malformed input request, please reformat your input and try again.", False),
        ("ValidationException: internal error", False),
        ("as the fault wants", False),
        ("", False),
        (None, False),
    ],
)
def test_failed_jobs_are_retried_by_their_message(message: str | None, again: bool) -> None:
    assert transient(message) is again


def test_a_line_is_sent_again_under_another_name_and_nothing_else_of_it_changes() -> None:
    again = readdressed(LINE, "b")
    assert again == LINE.replace(b'"a"', b'"b"')
    assert address_of(again) == b'"b"'
    assert body_of(again) == body_of(LINE) == b'{"text":"x\\",\\"modelInput\\":1"}'


def test_lines_are_selected_by_position() -> None:
    lines = [b"0\n", b"1\n", b"2\n", b"3\n"]
    assert list(lines_at(iter(lines), [0, 2])) == [b"0\n", b"2\n"]
    assert list(lines_at(iter(lines), [])) == []
    with pytest.raises(ValueError, match="no line 7"):
        list(lines_at(iter(lines), [3, 7]))


def test_wire_ids_of_later_attempts_differ_by_origin() -> None:
    ids = {
        later_wire_id("o1", "r"),
        later_wire_id("o2", "r"),
        wire_id("r"),
        wire_id("ü"),
        wire_id(filler_id(1)),
    }
    assert len(ids) == 5
    assert later_wire_id("o1", "r") == later_wire_id("o1", "r")


def test_no_record_of_a_user_is_a_filler() -> None:
    assert is_filler(filler_id(7))
    assert record_id_of(filler_id(7))[0] is None
