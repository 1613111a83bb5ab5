"""Each fault, as a client sees it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from bedrock_pipeline.emulator.control import Control, EmulatorError, EmulatorProcess
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import (
    BARE,
    BUCKET,
    emulator,
    ended,
    lines,
    manifest,
    output,
    request,
)
from bedrock_pipeline_tests.waiting import until

RECORDS = 200


@pytest.fixture(scope="module")
def running(
    stack_endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatorProcess]:
    with emulator(stack_endpoints, tmp_path_factory.mktemp("faults")) as started:
        started.session().client("s3").put_object(Bucket=BUCKET, Key="in/faults.jsonl", Body=lines(RECORDS))
        yield started


@pytest.fixture
def control(running: EmulatorProcess) -> Control:
    running.control.reset()
    return running.control


@pytest.fixture(scope="module")
def bedrock(running: EmulatorProcess) -> Any:
    return running.session().client("bedrock", config=BARE)


@pytest.fixture(scope="module")
def s3(running: EmulatorProcess) -> Any:
    return running.session().client("s3")


def create(bedrock: Any, **changes: Any) -> str:
    arn: str = bedrock.create_model_invocation_job(**request("in/faults.jsonl", **changes))["jobArn"]
    return arn


@pytest.mark.parametrize(
    ("operation", "error", "status"),
    [
        ("CreateModelInvocationJob", "ThrottlingException", 429),
        ("CreateModelInvocationJob", "ServiceQuotaExceededException", 400),
        ("ListModelInvocationJobs", "AccessDeniedException", 403),
        (None, "InternalServerException", 500),
    ],
)
def test_an_operation_is_rejected_so_often_and_then_not(
    bedrock: Any, control: Control, operation: str | None, error: str, status: int
) -> None:
    control.add_fault("error", operation=operation, error=error, times=2)
    act = (
        bedrock.create_model_invocation_job
        if "Create" in str(operation)
        else bedrock.list_model_invocation_jobs
    )
    given = request("in/faults.jsonl") if "Create" in str(operation) else {}
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            act(**given)
        assert type(caught.value).__name__ == error
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    act(**given)
    assert [fault["struck"] for fault in control.faults()] == [2]


def test_a_fault_lasts_for_its_time_and_a_rate_is_a_share(bedrock: Any, control: Control) -> None:
    control.add_fault("error", operation="ListModelInvocationJobs", error="ThrottlingException", rate=0.5)
    rejected = 0
    for _ in range(60):
        try:
            bedrock.list_model_invocation_jobs()
        except ClientError:
            rejected += 1
    assert 10 < rejected < 50
    control.clear_faults()
    control.add_fault("error", error="ThrottlingException", seconds=0.2)

    def carried_out() -> bool:
        try:
            return bool(bedrock.list_model_invocation_jobs())
        except ClientError:
            return False

    until(carried_out, "the end of the fault", step=0.02)


def test_an_answer_is_lost_after_the_job_was_accepted(bedrock: Any, control: Control) -> None:
    control.add_fault("answer_lost", operation="CreateModelInvocationJob", times=1)
    with pytest.raises(ConnectionClosedError):
        create(bedrock)
    assert len(control.jobs()) == 1


def test_an_error_comes_after_the_job_was_accepted(bedrock: Any, control: Control) -> None:
    control.add_fault("error_after", operation="CreateModelInvocationJob", times=1)
    with pytest.raises(bedrock.exceptions.InternalServerException):
        create(bedrock)
    assert len(control.jobs()) == 1


def test_an_operation_is_late(bedrock: Any, control: Control) -> None:
    control.add_fault("delay", operation="CreateModelInvocationJob", delay=0.4, job_name="slow")
    began = time.monotonic()
    create(bedrock, jobName="slow-one")
    assert time.monotonic() - began >= 0.4


def test_list_lags_behind_create(bedrock: Any, control: Control) -> None:
    lag = 2.0
    control.add_fault("list_lag", delay=lag)
    began = time.monotonic()
    arn = create(bedrock)
    listed = bedrock.list_model_invocation_jobs()["invocationJobSummaries"]
    assert listed == [] or time.monotonic() - began >= lag, "a busy machine may come too late to see it"
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["jobArn"] == arn
    until(lambda: len(bedrock.list_model_invocation_jobs()["invocationJobSummaries"]) == 1, "it is listed")


def test_pages_of_list_are_empty_or_repeated(bedrock: Any, control: Control) -> None:
    arns = {create(bedrock) for _ in range(3)}
    control.add_fault("list_empty_page", times=1)
    control.add_fault("list_repeated", times=1)
    pages = list(bedrock.get_paginator("list_model_invocation_jobs").paginate(maxResults=2))
    listed = [[job["jobArn"] for job in page["invocationJobSummaries"]] for page in pages]
    assert [len(page) for page in listed] == [0, 4, 1]
    assert {arn for page in listed for arn in page} == arns


def test_a_status_goes_backwards_once(bedrock: Any, control: Control) -> None:
    arn = create(bedrock)
    ended(bedrock, arn)
    control.add_fault("status_backwards", times=1)
    seen = [bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] for _ in range(2)]
    assert seen == ["InProgress", "Completed"]


@pytest.mark.parametrize(
    ("kind", "members", "records", "most"),
    [
        ("line_missing", {"record_ids": ["r7"]}, RECORDS - 1, 1),
        ("line_repeated", {"record_ids": ["r7"]}, RECORDS, 2),
        ("line_extra", {"record_ids": ["r7"]}, RECORDS + 1, 1),
        ("line_cut", {"record_ids": ["r7"]}, RECORDS, 1),
        ("line_missing", {"times": 5}, RECORDS - 5, 1),
    ],
)
def test_lines_of_the_output_go_wrong(
    bedrock: Any, s3: Any, control: Control, kind: str, members: dict[str, Any], records: int, most: int
) -> None:
    control.add_fault(kind, **members)
    arn = create(bedrock)
    assert ended(bedrock, arn)["status"] == "Completed"
    found = output(s3, arn, "faults.jsonl")
    assert len(found) == records
    assert max(found.values()) == most


def test_records_fail_at_a_rate_and_a_job_run_again_fails_the_same(
    bedrock: Any, s3: Any, control: Control
) -> None:
    control.add_fault("record_error", rate=0.1, error_code=429, message="Too many requests")
    control.set_behaviour(job_names="repeatable")  # the name decides which records fail
    arns = [create(bedrock, jobName="again") for _ in range(2)]
    control.set_behaviour(job_names="conflict")
    failed = {ended(bedrock, arn)["errorRecordCount"] for arn in arns}
    assert len(failed) == 1
    assert 5 <= failed.pop() <= 40
    assert manifest(s3, arns[0])["errorRecordCount"] == manifest(s3, arns[1])["errorRecordCount"]


def test_the_manifest_is_missing_or_wrong(bedrock: Any, s3: Any, control: Control) -> None:
    control.add_fault("manifest_missing", job_name="without")
    control.add_fault("manifest_wrong", job_name="wrong")
    without, wrong = create(bedrock, jobName="without"), create(bedrock, jobName="wrong")
    for arn in (without, wrong):
        ended(bedrock, arn)
    with pytest.raises(s3.exceptions.NoSuchKey):
        manifest(s3, without)
    assert manifest(s3, wrong)["processedRecordCount"] == RECORDS + 1


@pytest.mark.parametrize(
    ("status", "lines_written"),
    [("Failed", 50), ("Stopped", 50), ("PartiallyCompleted", 50), ("Expired", None)],
)
def test_a_job_ends_at_a_given_point(
    bedrock: Any, s3: Any, control: Control, status: str, lines_written: int | None
) -> None:
    control.add_fault("job_ends", status=status, at=0.25, message="as wanted", times=1)
    arn = create(bedrock)
    job = ended(bedrock, arn)
    assert (job["status"], job["message"]) == (status, "as wanted")
    if lines_written is None:
        with pytest.raises(s3.exceptions.NoSuchKey):
            output(s3, arn, "faults.jsonl")
    else:
        assert output(s3, arn, "faults.jsonl").total() == lines_written == job["processedRecordCount"]
    assert ended(bedrock, create(bedrock))["status"] == "Completed"


def test_a_fault_that_makes_no_sense_is_rejected(control: Control) -> None:
    for members in ({"kind": "no such"}, {"kind": "error", "rate": 2}, {"kind": "error", "what": 1}):
        with pytest.raises(EmulatorError):
            control.add_fault(**members)
    with pytest.raises(EmulatorError, match="not one of the service's"):
        control.add_fault("error", error="NoSuchException")


def test_faults_by_flag_and_by_file(stack_endpoints: Endpoints, tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"faults": [{"kind": "delay", "delay": 0}]}')
    with emulator(
        stack_endpoints,
        tmp_path / "data",
        *("--faults", str(file), "--fault", '{"kind": "error", "error": "ThrottlingException"}'),
    ) as started:
        assert [fault["kind"] for fault in started.control.faults()] == ["delay", "error"]
        with pytest.raises((ClientError, BotoCoreError), match="as the fault wants"):
            started.session().client("bedrock", config=BARE).list_model_invocation_jobs()
    with pytest.raises(EmulatorError, match="expected"):
        emulator(stack_endpoints, tmp_path / "data", "--fault", "[]")
