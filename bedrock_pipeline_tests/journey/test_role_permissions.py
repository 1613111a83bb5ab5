"""A job that failed as a whole because of its role or its bucket: its records wait, and go on once that is corrected.

The messages are those that users of the real service report; the emulator ends a job with them where its role lacks the
permission ("Create a custom service role for batch inference", Amazon Bedrock user guide).
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.collect.collect_chunk import JobProblemError, collect_chunk
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.journey.driven import chunks, finish, pipeline
from bedrock_pipeline_tests.journey.test_main_job import wait_for_jobs
from bedrock_pipeline_tests.submit.test_below_minimum import packed

RECORDS = 120


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


@pytest.fixture
def control(control: Control, deployment: Deployment) -> Iterator[Control]:
    """The shared emulator's controls; afterwards the role may do everything again."""
    yield control
    control.set_role(deployment.settings.role_arn, None)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (("s3:*",), "Customer doesn't have permissions to invokeModel"),
        (
            ("s3:GetObject", "s3:PutObject", "bedrock:*"),
            "Could not validate ListBucket permissions for S3URI",
        ),
        (
            ("s3:ListBucket", "s3:PutObject", "bedrock:*"),
            "Could not validate GetObject permissions to access",
        ),
        (
            ("s3:ListBucket", "s3:GetObject", "bedrock:*"),
            "Could not validate PutObject permissions for S3URI",
        ),
    ],
)
def test_records_wait_for_the_role_and_go_on_when_it_is_corrected(
    deployment: Deployment, control: Control, tmp_path: Path, allowed: tuple[str, ...], message: str
) -> None:
    role, one = deployment.settings.role_arn, pipeline(tmp_path, [f"Number {n}" for n in range(RECORDS)])
    control.set_role(role, {"Version": "2012-10-17", "Statement": [allow(*allowed)]})
    waits(deployment, one, message)
    control.set_role(role, {"Version": "2012-10-17", "Statement": [allow("s3:*", "bedrock:InvokeModel")]})
    goes_on(deployment, one)


@pytest.mark.parametrize(
    "message",
    [
        "Your account is not authorized to perform this action. Please create a support case",
        "Batch job x contains less records (120) than the required minimum of: 1000",
        "The input location could not be read: NoSuchBucket",
    ],
)
def test_records_wait_for_access_to_the_model_a_quota_or_a_bucket(
    deployment: Deployment, control: Control, tmp_path: Path, message: str
) -> None:
    one = pipeline(tmp_path, [f"Number {n}" for n in range(RECORDS)])
    control.add_fault("job_ends", status="Failed", at=0, message=message)
    waits(deployment, one, message)
    control.clear_faults()
    goes_on(deployment, one)


def test_records_wait_for_an_output_bucket_that_is_not_there(
    deployment: Deployment, control: Control, tmp_path: Path
) -> None:
    one = pipeline(tmp_path, [f"Number {n}" for n in range(RECORDS)])
    settings = deployment.settings.model_copy(update={"output_bucket": "not-there"})
    waits(
        replace(deployment, settings=settings),
        one,
        "Could not validate PutObject permissions for S3URI: s3://not-there/",
    )


def waits(deployment: Deployment, one: Pipeline, message: str) -> None:
    """The records of the failed job wait for an operator, who is shown Bedrock's message and the command."""
    [key] = packed(deployment, one)
    submit_chunk(deployment, "p", key)
    wait_for_jobs(deployment)
    with pytest.raises(JobProblemError, match=re.escape(message)):
        collect_chunk(deployment, one, key)
    [chunk] = chunks(deployment)
    assert (chunk.status, chunk.answered, chunk.final_errors, chunk.retryable) == ("failed", 0, 0, RECORDS)
    [left] = deployment.ledger.retry_rounds.open_of("p", "d", 1)
    assert (left.records, left.waits_for) == (RECORDS, "operator")
    for shown in (str(left.wait_reason), str(chunk.problem)):
        assert message in shown
        assert "`bedrock-pipeline retry p d`" in shown
    assert deployment.ledger.publications.due(["p"], 9) == []


def goes_on(deployment: Deployment, one: Pipeline) -> None:
    """The records are sent again as the command that was shown does it."""
    assert deployment.ledger.interventions.release("p", "d") == (RECORDS, False)
    rows = finish(deployment, one)
    assert {row["status"] for row in rows} == {"succeeded"}
    assert len(rows) == RECORDS
