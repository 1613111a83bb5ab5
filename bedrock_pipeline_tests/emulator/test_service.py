"""The emulator as boto3 sees it."""

import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import orjson
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import claude, ended, lines, request


@pytest.fixture
def bedrock(stack_endpoints: Endpoints) -> Any:
    return boto3.client(
        "bedrock",
        endpoint_url=stack_endpoints.bedrock_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=stack_endpoints.access_key_id,
        aws_secret_access_key=stack_endpoints.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )


@pytest.fixture
def s3(stack_endpoints: Endpoints) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=stack_endpoints.s3_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=stack_endpoints.access_key_id,
        aws_secret_access_key=stack_endpoints.secret_access_key,
    )


def test_a_job_runs_and_writes_its_output_where_bedrock_does(bedrock: Any, s3: Any) -> None:
    s3.put_object(
        Bucket="bedrock-pipeline",
        Key="in/a.jsonl",
        Body=lines(150, lambda n: {} if n == 7 else claude(f"q{n}")),
    )
    arn = bedrock.create_model_invocation_job(**request("in/a.jsonl"))["jobArn"]
    job = ended(bedrock, arn)
    assert job["status"] == "Completed"
    assert (job["totalRecordCount"], job["successRecordCount"], job["errorRecordCount"]) == (150, 149, 1)
    folder = f"out/{arn.rpartition('/')[2]}/"
    output = s3.get_object(Bucket="bedrock-pipeline", Key=f"{folder}a.jsonl.out")["Body"].read().splitlines()
    records = {record["recordId"]: record for record in map(orjson.loads, output)}
    assert len(output) == len(records) == 150
    assert records["r7"]["error"] == {
        "errorCode": 400,
        "errorMessage": "anthropic_version: Field required",
        "expired": False,
        "retryable": False,
    }
    assert records["r8"]["modelOutput"]["usage"]["output_tokens"] > 0
    assert list(records) != [f"r{n}" for n in range(150)], "the order is not guaranteed"
    manifest = orjson.loads(
        s3.get_object(Bucket="bedrock-pipeline", Key=f"{folder}manifest.json.out")["Body"].read()
    )
    assert manifest["successRecordCount"] == 149


@pytest.mark.parametrize(
    ("key", "data", "said"),
    [
        (
            "in/few.jsonl",
            lines(99, lambda n: claude(f"q{n}")),
            "less records (99) than the required minimum of: 100",
        ),
        ("in/broken.jsonl", b"no json\n" * 100, "Line 1 of in/broken.jsonl is not valid JSON"),
        ("in/bare.jsonl", b"{}\n" * 100, "has no modelInput"),
        ("in/absent.jsonl", None, "could not be read"),
        ("in/nothing-here/", None, "No .jsonl files"),
    ],
)
def test_input_that_is_not_fit_fails_the_job_after_create(
    bedrock: Any, s3: Any, key: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        s3.put_object(Bucket="bedrock-pipeline", Key=key, Body=data)
    job = ended(bedrock, bedrock.create_model_invocation_job(**request(key))["jobArn"])
    assert job["status"] == "Failed"
    assert said in job["message"]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"jobName": "under_score"}, "ValidationException", "'jobName' failed to satisfy constraint"),
        ({"roleArn": "arn:aws:iam::1:role/x"}, "ValidationException", "'roleArn'"),
        (
            {"timeoutDurationInHours": 5},
            "ValidationException",
            "'timeoutDurationInHours'.*greater than or equal to 24",
        ),
        ({"clientRequestToken": "a_b"}, "ValidationException", "'clientRequestToken'"),
        ({"modelId": "acme.model-v1:0"}, "ValidationException", "not supported for the requested model"),
        (
            {"inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://b/dt=2026/x.jsonl"}}},
            "ValidationException",
            "s3Uri",
        ),
    ],
)
def test_a_request_that_breaks_the_service_model_is_rejected(
    bedrock: Any, changes: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(ClientError, match=said) as caught:
        bedrock.create_model_invocation_job(**request("in/a.jsonl", **changes))
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_token_gives_one_job_and_a_conflict_for_another_request(bedrock: Any) -> None:
    token = f"token{time.monotonic_ns()}"
    given = request("in/absent.jsonl", clientRequestToken=token)
    first = bedrock.create_model_invocation_job(**given)
    again = bedrock.create_model_invocation_job(**given)
    assert first["jobArn"] == again["jobArn"]
    with pytest.raises(bedrock.exceptions.ConflictException):
        bedrock.create_model_invocation_job(
            **request("in/absent.jsonl", jobName="other"), clientRequestToken=token
        )


def test_list_filters_sorts_and_pages(bedrock: Any) -> None:
    mark = f"m{time.monotonic_ns()}"
    arns = [
        bedrock.create_model_invocation_job(**request("in/absent.jsonl", jobName=f"{mark}-{n}"))["jobArn"]
        for n in range(5)
    ]
    for arn in arns:
        ended(bedrock, arn)
    pages = bedrock.get_paginator("list_model_invocation_jobs").paginate(
        nameContains=mark, sortOrder="Ascending", sortBy="CreationTime", maxResults=2
    )
    listed = [page["invocationJobSummaries"] for page in pages]
    assert [len(page) for page in listed] == [2, 2, 1]
    assert [job["jobArn"] for page in listed for job in page] == arns
    assert (
        bedrock.list_model_invocation_jobs(nameContains=mark, statusEquals="Completed")[
            "invocationJobSummaries"
        ]
        == []
    )
    later = datetime.now(UTC) + timedelta(hours=1)
    assert (
        bedrock.list_model_invocation_jobs(nameContains=mark, submitTimeAfter=later)["invocationJobSummaries"]
        == []
    )


def test_stopping_a_job_that_has_ended_says_its_state(bedrock: Any) -> None:
    arn = bedrock.create_model_invocation_job(**request("in/absent.jsonl"))["jobArn"]
    ended(bedrock, arn)
    with pytest.raises(ClientError, match="State was: Failed"):
        bedrock.stop_model_invocation_job(jobIdentifier=arn)
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
        bedrock.get_model_invocation_job(jobIdentifier=arn[:-12] + "a" * 12)


def test_a_wrong_secret_is_rejected(stack_endpoints: Endpoints) -> None:
    wrong = boto3.client(
        "bedrock",
        endpoint_url=stack_endpoints.bedrock_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=stack_endpoints.access_key_id,
        aws_secret_access_key="wrong",
    )
    with pytest.raises(ClientError) as caught:
        wrong.list_model_invocation_jobs()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{stack_endpoints.bedrock_endpoint_url}/model-invocation-jobs")
