"""The service model that botocore ships, walked: shapes of answers, constraints of requests, declared errors."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.session import Session
from botocore.validate import ParamValidator

from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import (
    BARE,
    BUCKET,
    CLAUDE,
    claude,
    emulator,
    ended,
    lines,
    request,
)

MODELS = {name: Session().get_service_model(name) for name in ("bedrock", "bedrock-runtime")}
OPERATIONS = {
    "CreateModelInvocationJob": "bedrock",
    "GetModelInvocationJob": "bedrock",
    "ListModelInvocationJobs": "bedrock",
    "StopModelInvocationJob": "bedrock",
    "ListFoundationModels": "bedrock",
    "GetFoundationModel": "bedrock",
    "GetFoundationModelAvailability": "bedrock",
    "ListInferenceProfiles": "bedrock",
    "GetInferenceProfile": "bedrock",
    "InvokeModel": "bedrock-runtime",
    "Converse": "bedrock-runtime",
    "CountTokens": "bedrock-runtime",
}
#: A request with every member set.
FULL: dict[str, dict[str, Any]] = {
    "CreateModelInvocationJob": request(
        "in/c.jsonl",
        clientRequestToken="a-token",
        timeoutDurationInHours=24,
        modelInvocationType="InvokeModel",
        vpcConfig={"subnetIds": ["subnet-0123456789abcdef0"], "securityGroupIds": ["sg-0123456789abcdef0"]},
        tags=[{"key": "team", "value": "data"}],
        inputDataConfig={
            "s3InputDataConfig": {
                "s3Uri": f"s3://{BUCKET}/in/c.jsonl",
                "s3InputFormat": "JSONL",
                "s3BucketOwner": "123456789012",
            }
        },
        outputDataConfig={
            "s3OutputDataConfig": {
                "s3Uri": f"s3://{BUCKET}/out/",
                "s3EncryptionKeyId": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
                "s3BucketOwner": "123456789012",
            }
        },
    ),
    "GetModelInvocationJob": {"jobIdentifier": "abcdefghijkl"},
    "ListModelInvocationJobs": {
        "submitTimeAfter": "2026-01-01T00:00:00Z",
        "submitTimeBefore": "2036-01-01T00:00:00Z",
        "statusEquals": "Completed",
        "nameContains": "a",
        "maxResults": 5,
        "nextToken": "MA==",
        "sortBy": "CreationTime",
        "sortOrder": "Ascending",
    },
    "StopModelInvocationJob": {"jobIdentifier": "abcdefghijkl"},
    "ListFoundationModels": {
        "byProvider": "Anthropic",
        "byOutputModality": "TEXT",
        "byInferenceType": "ON_DEMAND",
    },
    "GetFoundationModel": {"modelIdentifier": CLAUDE},
    "GetFoundationModelAvailability": {"modelId": CLAUDE},
    "ListInferenceProfiles": {"maxResults": 5, "nextToken": "MA==", "typeEquals": "SYSTEM_DEFINED"},
    "GetInferenceProfile": {"inferenceProfileIdentifier": f"us.{CLAUDE}"},
    "CountTokens": {
        "modelId": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}},
    },
    "InvokeModel": {"modelId": CLAUDE, "body": json.dumps(claude("hello"))},
    "Converse": {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": "hello"}]}]},
}


#: Members that are a part of the path.
_IN_THE_PATH = ("jobIdentifier", "modelId", "modelIdentifier", "inferenceProfileIdentifier")


def operation(name: str) -> OperationModel:
    return MODELS[OPERATIONS[name]].operation_model(name)


def broken(
    shape: Shape, value: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[str, tuple[str | int, ...], Any]]:
    """Each constraint of a shape, the path to its member, and a value that breaks it."""
    bounds = shape.metadata
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if name in shape.required_members:
                yield "required", (*path, name), None
            if name in value:
                yield from broken(member, value[name], (*path, name))
        return
    if isinstance(shape, ListShape):
        if "max" in bounds:
            yield "max", path, value * (bounds["max"] + 1)
        if bounds.get("min", 0) > 0:
            yield "min", path, []
        yield from broken(shape.member, value[0], (*path, 0))
        return
    if shape.type_name in ("integer", "long"):
        for bound, step in (("min", -1), ("max", 1)):
            if bound in bounds:
                yield bound, path, bounds[bound] + step
        return
    if shape.type_name == "string":
        if "max" in bounds:
            yield "max", path, "a" * (bounds["max"] + 1)
        if bounds.get("min", 0) > 0 and path[-1] not in _IN_THE_PATH:  # an empty path is another path
            yield "min", path, ""
        if "pattern" in bounds:
            assert not re.fullmatch(bounds["pattern"], "§ %")
            yield "pattern", path, "§ %"
        if getattr(shape, "enum", None):
            yield "enum", path, "NoSuchValue"


def constraints() -> Iterator[Any]:
    for name in (
        "CreateModelInvocationJob",
        "GetModelInvocationJob",
        "ListModelInvocationJobs",
        "StopModelInvocationJob",
        "ListFoundationModels",
        "GetFoundationModel",
        "GetFoundationModelAvailability",
        "ListInferenceProfiles",
        "GetInferenceProfile",
    ):
        shape = operation(name).input_shape
        assert shape is not None
        for kind, path, value in broken(shape, FULL[name], ()):
            if kind == "required" and path[-1] in _IN_THE_PATH:
                continue  # it is a part of the path
            yield pytest.param(name, path, value, id=f"{name}: {kind} of {'.'.join(map(str, path))}")


@pytest.fixture(scope="module")
def running(
    stack_endpoints: Endpoints, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmulatorProcess]:
    with emulator(stack_endpoints, tmp_path_factory.mktemp("conformance"), "--max-jobs", "1000") as started:
        started.session().client("s3").put_object(Bucket=BUCKET, Key="in/c.jsonl", Body=lines(100))
        yield started


@pytest.fixture(scope="module")
def clients(running: EmulatorProcess) -> dict[str, Any]:
    session = running.session()
    return {
        "bedrock": session.client("bedrock", config=BARE),
        "bedrock-runtime": session.client("bedrock-runtime", config=BARE),
    }


def call(clients: dict[str, Any], name: str, values: dict[str, Any]) -> Any:
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return getattr(clients[OPERATIONS[name]], method)(**values)


def _keep_raw(raw: dict[str, Any]) -> Any:
    def keep(http_response: Any, model: OperationModel, **_: Any) -> None:
        raw[model.name] = json.loads(http_response.content or b"{}")

    return keep


def test_each_answer_has_its_output_shape(clients: dict[str, Any], running: EmulatorProcess) -> None:
    raw: dict[str, Any] = {}
    for name, service in OPERATIONS.items():
        if name != "InvokeModel":  # its body is a stream, which can be read once
            clients[service].meta.events.register(f"after-call.*.{name}", _keep_raw(raw))
    arn = call(clients, "CreateModelInvocationJob", FULL["CreateModelInvocationJob"])["jobArn"]
    ended(clients["bedrock"], arn)
    answers = {
        "GetModelInvocationJob": call(clients, "GetModelInvocationJob", {"jobIdentifier": arn}),
        "ListModelInvocationJobs": call(clients, "ListModelInvocationJobs", {"maxResults": 1}),
        "CreateModelInvocationJob": call(clients, "CreateModelInvocationJob", request("in/c.jsonl")),
        **{
            name: call(clients, name, FULL[name])
            for name in ("ListFoundationModels", "GetFoundationModel", "ListInferenceProfiles")
        },
        **{
            name: call(clients, name, FULL[name])
            for name in ("GetFoundationModelAvailability", "GetInferenceProfile", "Converse", "CountTokens")
        },
    }
    assert answers["GetModelInvocationJob"]["endTime"] >= answers["GetModelInvocationJob"]["submitTime"]
    for name, answer in answers.items():
        shape = operation(name).output_shape
        assert isinstance(shape, StructureShape)
        metadata = answer.pop("ResponseMetadata")
        assert metadata["RequestId"]
        assert metadata["HTTPHeaders"]["date"]
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), (name, report.generate_report())
        assert raw[name].keys() <= shape.members.keys(), name
    listed = operation("ListModelInvocationJobs").output_shape
    assert isinstance(listed, StructureShape)
    summaries = listed.members["invocationJobSummaries"]
    assert isinstance(summaries, ListShape)
    assert isinstance(summaries.member, StructureShape)
    for job in raw["ListModelInvocationJobs"]["invocationJobSummaries"]:
        assert job.keys() <= summaries.member.members.keys()
    said = call(clients, "InvokeModel", FULL["InvokeModel"])
    assert said["contentType"] == "application/json"
    assert json.load(said["body"])["content"][0]["type"] == "text"
    job = call(clients, "CreateModelInvocationJob", request("in/c.jsonl"))["jobArn"]
    assert (
        call(clients, "StopModelInvocationJob", {"jobIdentifier": job})["ResponseMetadata"]["HTTPStatusCode"]
        == 200
    )


@pytest.mark.parametrize(("name", "path", "value"), list(constraints()))
def test_each_constraint_is_rejected_when_broken(
    clients: dict[str, Any], name: str, path: tuple[str | int, ...], value: Any
) -> None:
    values = copy.deepcopy(FULL[name])
    place: Any = values
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    with pytest.raises(ClientError) as caught:
        call(clients, name, values)
    assert type(caught.value).__name__ == "ValidationException"
    named = [str(step + 1) + ".member" if isinstance(step, int) else step for step in path]
    assert f"'{'.'.join(named)}'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error"),
    [(name, error.name) for name in OPERATIONS for error in operation(name).error_shapes],
)
def test_each_declared_error_is_an_exception_of_its_own(
    clients: dict[str, Any], running: EmulatorProcess, name: str, error: str
) -> None:
    running.control.add_fault("error", operation=name, error=error, times=1, message="as the test wants")
    expected = getattr(clients[OPERATIONS[name]].exceptions, error)
    with pytest.raises(expected, match="as the test wants") as caught:
        call(clients, name, FULL[name])
    declared = next(shape for shape in operation(name).error_shapes if shape.name == error)
    status = declared.metadata["error"]["httpStatusCode"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_path_that_is_no_operation(running: EmulatorProcess, clients: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="UnknownOperationException"):
        clients["bedrock"].list_guardrails()
