"""The switches for what the documentation leaves open, and a job's timeout and Stop in every state."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline.emulator.control import EmulatorError, EmulatorProcess
from bedrock_pipeline.emulator.signature import basic_authorization
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import (
    BARE,
    BUCKET,
    claude,
    emulator,
    ended,
    lines,
    manifest,
    output,
    request,
)

#: One state lasts an hour, so that a job stays there.
LASTS = {
    "Submitted": ("--submitted-seconds", "3600"),
    "Validating": ("--validating-seconds", "3600"),
    "Scheduled": ("--scheduled-seconds", "3600"),
    "InProgress": ("--in-progress-seconds", "3600"),
}
Start = Callable[..., tuple[EmulatorProcess, Any, Any]]

_SHOWN = {"Authorization": basic_authorization(("a", "b")), "Content-Type": "application/json"}


@pytest.fixture
def start(stack_endpoints: Endpoints, tmp_path: Path) -> Iterator[Start]:
    """Starts an emulator with options; gives it and its clients for Bedrock and S3."""
    started: list[EmulatorProcess] = []

    def begin(*options: str) -> tuple[EmulatorProcess, Any, Any]:
        process = emulator(stack_endpoints, tmp_path / f"data-{len(started)}", *options)
        started.append(process)
        session = process.session()
        s3 = session.client("s3")
        s3.put_object(Bucket=BUCKET, Key="in/b.jsonl", Body=lines(120))
        return process, session.client("bedrock", config=BARE), s3

    yield begin
    for process in started:
        with process:
            pass


def create(bedrock: Any, **changes: Any) -> dict[str, Any]:
    answer: dict[str, Any] = bedrock.create_model_invocation_job(**request("in/b.jsonl", **changes))
    return answer


@pytest.mark.parametrize(
    ("options", "same", "other", "jobs"),
    [
        ((), "same ARN", "ConflictException", 1),
        (("--same-token", "silent"), "no ARN", "ConflictException", 1),
        (("--other-request", "ignored"), "same ARN", "same ARN", 1),
        (("--token-lifetime", "60", "--job-names", "repeatable"), "same ARN", "ConflictException", 2),
    ],
)
def test_a_token_comes_again(
    start: Start, options: tuple[str, ...], same: str, other: str, jobs: int
) -> None:
    process, bedrock, _ = start(*options)
    first = create(bedrock, clientRequestToken="token")["jobArn"]

    def told(**changes: Any) -> str:
        try:
            arn = create(bedrock, clientRequestToken="token", **changes).get("jobArn")
        except ClientError as error:
            return type(error).__name__
        return "no ARN" if arn is None else "same ARN" if arn == first else "new ARN"

    assert told() == same
    assert told(jobName="other") == other
    process.control.advance(100)
    told()
    assert len(process.control.jobs()) == jobs


def test_over_the_quota_jobs_are_rejected_or_wait(start: Start) -> None:
    _, bedrock, _ = start("--max-jobs", "1", *LASTS["InProgress"], "--speed", "1000")
    create(bedrock)
    with pytest.raises(bedrock.exceptions.ServiceQuotaExceededException, match="quota of 1"):
        create(bedrock)
    process, bedrock, _ = start("--max-jobs", "1", "--over-quota", "queued", *LASTS["InProgress"])
    process.control.set_quota(1)
    arns = [create(bedrock)["jobArn"] for _ in range(3)]
    assert [ended(bedrock, arn)["status"] for arn in arns] == ["Completed"] * 3
    assert process.control.most_in_flight() == {request("x")["modelId"]: 3}


@pytest.mark.parametrize(
    ("options", "ids", "status", "said"),
    [
        ((), ["same"] * 120, "Completed", None),
        (("--duplicate-ids", "rejected"), ["same"] * 120, "Failed", "is in the job already"),
        ((), [None] * 120, "Completed", None),
        (("--missing-ids", "rejected"), [None] * 120, "Failed", "has no recordId"),
    ],
)
def test_record_ids_that_are_there_twice_or_not_at_all(
    start: Start, options: tuple[str, ...], ids: list[str | None], status: str, said: str | None
) -> None:
    _, bedrock, s3 = start(*options)
    records = [
        {"recordId": one, "modelInput": claude("q")} if one else {"modelInput": claude("q")} for one in ids
    ]
    s3.put_object(Bucket=BUCKET, Key="in/ids.jsonl", Body=b"\n".join(orjson.dumps(one) for one in records))
    arn = bedrock.create_model_invocation_job(**request("in/ids.jsonl"))["jobArn"]
    job = ended(bedrock, arn)
    assert job["status"] == status
    if said:
        assert said in job["message"]
    else:
        assert output(s3, arn, "ids.jsonl").total() == 120


@pytest.mark.parametrize("status", list(LASTS))
def test_a_job_is_stopped_in_any_state(start: Start, status: str) -> None:
    _, bedrock, _ = start("--speed", "1000", *LASTS[status], "--stopping-seconds", "300")
    arn = create(bedrock)["jobArn"]
    ended(bedrock, arn, also=(status,))
    bedrock.stop_model_invocation_job(jobIdentifier=arn)
    bedrock.stop_model_invocation_job(jobIdentifier=arn)
    assert ended(bedrock, arn, also=("Stopping",))["status"] in ("Stopping", "Stopped")
    assert ended(bedrock, arn)["status"] == "Stopped"
    with pytest.raises(bedrock.exceptions.ValidationException, match="State was: Stopped"):
        bedrock.stop_model_invocation_job(jobIdentifier=arn)


@pytest.mark.parametrize(("option", "written"), [("kept", True), ("dropped", False)])
def test_the_output_of_a_stopped_job_is_kept_or_not(start: Start, option: str, written: bool) -> None:
    _, bedrock, s3 = start("--speed", "1000", *LASTS["InProgress"], "--stopped-output", option)
    arn = create(bedrock)["jobArn"]
    while not ended(bedrock, arn, also=("InProgress",))["processedRecordCount"]:
        time.sleep(0.05)
    bedrock.stop_model_invocation_job(jobIdentifier=arn)
    job = ended(bedrock, arn)
    assert 0 < job["processedRecordCount"] < 120
    if written:
        assert output(s3, arn, "b.jsonl").total() == job["processedRecordCount"]
        assert manifest(s3, arn)["processedRecordCount"] == job["processedRecordCount"]
    else:
        with pytest.raises(s3.exceptions.NoSuchKey):
            output(s3, arn, "b.jsonl")


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("Submitted", "Expired"),
        ("Validating", "Expired"),
        ("Scheduled", "Expired"),
        ("InProgress", "PartiallyCompleted"),
    ],
)
def test_a_timeout_ends_a_job(start: Start, status: str, end: str) -> None:
    process, bedrock, s3 = start("--speed", "100", *LASTS[status])
    arn = create(bedrock)["jobArn"]
    while True:
        job = ended(bedrock, arn, also=(status,))
        if status != "InProgress" or job["processedRecordCount"]:
            break
        time.sleep(0.05)
    process.control.advance(24 * 3600)
    job = ended(bedrock, arn)
    assert job["status"] == end
    assert "timeout" in job["message"]
    if end == "PartiallyCompleted":
        assert output(s3, arn, "b.jsonl").total() == job["processedRecordCount"] < 120


@pytest.mark.parametrize(
    ("route", "body", "said"),
    [
        ("quota", b"{", "The body is not JSON."),
        ("quota", b"[" * 100_000, "The body is not JSON."),
        ("quota", b"\xff", "The body is not JSON."),
        ("quota", b"[1]", "The body is not a JSON object."),
        ("quota", b"{}", "maxJobs is missing or not a number from 0 on"),
        ("quota", b'{"maxJobs": "3"}', "maxJobs is missing or not a number"),
        ("quota", b'{"maxJobs": true}', "maxJobs is missing or not a number"),
        ("quota", b'{"maxJobs": -1}', "maxJobs is missing or not a number"),
        ("clock", b'{"seconds": null}', "seconds is missing or not a number from 0 on"),
        ("clock", b'{"seconds": NaN}', "seconds is missing or not a number"),
        ("clock", b'{"seconds": 1e300}', "seconds is beyond what a date can hold"),
        ("roles", b"{}", "roleArn is missing"),
        ("roles", b'{"roleArn": "a", "policy": "all"}', "policy is not an object"),
        ("roles", b'{"roleArn": "a", "policy": {}}', "a policy is"),
        ("behaviour", b'{"nothing": 1}', "'nothing' is no switch"),
        ("behaviour", b'{"job_ids": ["arn"]}', "job_ids must be one of"),
        ("behaviour", b'{"token_lifetime": "soon"}', "token_lifetime must be a number"),
        ("faults", b"{}", "kind must be one of"),
        ("faults", b'{"kind": ["a"]}', "kind is not text"),
        ("faults", b'{"kind": "record-error", "rate": "often"}', "rate is not a number"),
        ("faults", b'{"kind": "record-error", "record_ids": 5}', "record_ids is not a list of texts"),
        ("faults", b'{"kind": "record-error", "nothing": 5}', "'nothing' is no member"),
        ("faults", b'{"faults": 5}', "faults must be a list"),
    ],
)
def test_a_malformed_post_to_the_routes_of_the_emulator_itself_is_a_400_with_a_sentence(
    standing: EmulatorProcess, route: str, body: bytes, said: str
) -> None:
    call = urllib.request.Request(
        f"{standing.url}/_emulator/{route}", method="POST", data=body, headers=_SHOWN
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(call)
    assert raised.value.code == 400
    assert said in orjson.loads(raised.value.read())["message"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Authorization": ""}, 401),
        ({"Authorization": basic_authorization(("a", "c"))}, 401),
        ({"Authorization": basic_authorization(("a", "")) + "ü"}, 401),
        ({"Host": "evil.example:4600"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "[::1]:80"}, 200),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "emulator"}, 200),
        ({}, 200),
    ],
    ids=str,
)
def test_neither_a_web_page_nor_who_lacks_the_keys_controls_the_emulator(
    standing: EmulatorProcess, headers: dict[str, str], code: int
) -> None:
    """A page can send simple requests, and make a name of its own lead to this machine; other users reach its ports."""
    call = urllib.request.Request(f"{standing.url}/_emulator/jobs", headers=_SHOWN | headers)
    try:
        got = urllib.request.urlopen(call).status
    except urllib.error.HTTPError as error:
        got = error.code
    assert got == code


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_form_of_a_web_page_can_send_is_rejected(standing: EmulatorProcess, kind: str) -> None:
    headers = _SHOWN | {"Content-Type": kind}
    call = urllib.request.Request(
        f"{standing.url}/_emulator/clock", method="POST", data=b'{"seconds": 1}', headers=headers
    )
    with pytest.raises(urllib.error.HTTPError, match="415"):
        urllib.request.urlopen(call)


def test_an_emulator_without_keys_is_controlled_by_nobody(tmp_path: Path) -> None:
    with EmulatorProcess(tmp_path, None, "", "") as process, pytest.raises(EmulatorError, match="key pair"):
        process.control.jobs()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("data"), None, "a", "b") as process:
        yield process


def test_the_quota_is_lowered_while_jobs_run(start: Start) -> None:
    process, bedrock, _ = start(*LASTS["Scheduled"], "--speed", "1")
    for _ in range(3):
        create(bedrock)
    process.control.set_quota(2)
    with pytest.raises(bedrock.exceptions.ServiceQuotaExceededException):
        create(bedrock)
    process.control.set_quota(4)
    create(bedrock)
