"""What the service rejects of requests and jobs, and the switches where that is not known or a client is not ready."""

import json
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline.emulator.behaviour import Behaviour, switches
from bedrock_pipeline.emulator.control import EmulatorError
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import BUCKET, CLAUDE, claude, emulator, ended, lines, request
from bedrock_pipeline_tests.emulator.world import World

ACCOUNT = "arn:aws:bedrock:us-east-1:123456789012"
NOVA, HAIKU_45 = "amazon.nova-lite-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0"
NO_BATCH = "Batch inference is not supported for the requested model."
TAKEN = None


@pytest.mark.parametrize(
    ("changes", "switch", "said"),
    [
        ({"roleArn": "arn:aws:iam::999999999999:role/batch"}, {}, "Cross-account pass role is not allowed."),
        # the role is looked at before the model
        ({"roleArn": "arn:aws:iam::999999999999:role/batch", "modelId": "acme.model-v1:0"}, {}, "Cross-account pass role"),
        ({"modelId": "acme.model-v1:0"}, {}, NO_BATCH),
        ({"modelId": "anthropic.claude-nonsense"}, {}, NO_BATCH),
        ({"modelId": "anthropic.claude-nonsense"}, {"unknown_models": "family"}, TAKEN),
        ({"modelId": "us.anthropic.claude-sonnet-5"}, {}, NO_BATCH),
        ({"modelId": "us.anthropic.claude-opus-4-7"}, {}, NO_BATCH),
        ({"modelId": "us.anthropic.claude-opus-5"}, {}, TAKEN),
        ({"modelId": HAIKU_45}, {}, f"not supported for model {HAIKU_45} in region us-east-1"),
        ({"modelId": f"global.{HAIKU_45}"}, {}, TAKEN),
        ({"modelId": f"eu.{HAIKU_45}"}, {}, f"not supported for model eu.{HAIKU_45} in region us-east-1"),
        ({"modelId": f"mars.{HAIKU_45}"}, {}, f"not supported for model mars.{HAIKU_45}"),
        ({"modelId": f"mars.{HAIKU_45}"}, {"unknown_models": "family"}, TAKEN),
        ({"modelId": f"arn:aws:bedrock:eu-west-1::foundation-model/{NOVA}"}, {}, "ARN is invalid for the service region"),
        ({"modelId": f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"}, {}, TAKEN),
        ({"modelId": f"{ACCOUNT}:inference-profile/us.{HAIKU_45}"}, {}, TAKEN),
        ({"modelId": f"{ACCOUNT}:provisioned-model/abcdefghijkl"}, {}, "'modelId' failed to satisfy"),
        ({"modelId": "openai.gpt-oss-120b-1:0"}, {}, TAKEN),
        ({"modelId": "deepseek.v3.2"}, {}, TAKEN),
        ({"modelId": "amazon.titan-embed-image-v1"}, {}, TAKEN),
        ({"modelId": "cohere.embed-english-v3"}, {}, NO_BATCH),
        ({"modelId": "cohere.embed-english-v3"}, {"unlisted_batch": "taken"}, TAKEN),
        ({"modelId": CLAUDE}, {}, TAKEN),
        ({"modelId": CLAUDE}, {"legacy_models": "rejected"}, "marked by provider as Legacy"),
    ],
)  # fmt: skip
def test_what_create_rejects(changes: dict[str, Any], switch: dict[str, Any], said: str | None) -> None:
    world = World(**switch)
    if said is TAKEN:
        assert world.bedrock.create_model_invocation_job(**request("in/a.jsonl", **changes))["jobArn"]
        return
    with pytest.raises(ClientError) as caught:
        world.bedrock.create_model_invocation_job(**request("in/a.jsonl", **changes))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("switch", "token", "said"),
    [
        ({"job_names": "repeatable"}, "other", TAKEN),
        ({}, "other", "ConflictException"),
        ({"job_names": "invalid"}, "other", "ValidationException"),
        ({"job_names": "conflict"}, "token", TAKEN),
        ({"job_names": "conflict", "first_check": "name"}, "token", "ConflictException"),
    ],
)
def test_a_job_name_comes_again_after_its_job_has_ended(
    switch: dict[str, Any], token: str, said: str | None
) -> None:
    world = World(**switch)
    first = world.job(jobName="a-job", clientRequestToken="token")
    given = request("in/a.jsonl", clientRequestToken=token)
    if said is TAKEN:
        again = world.bedrock.create_model_invocation_job(**given)["jobArn"]
        assert (again == first["jobArn"]) is (token == "token")
        return
    with pytest.raises(ClientError, match="The provided job name is currently in use") as caught:
        world.bedrock.create_model_invocation_job(**given)
    assert caught.value.response["Error"]["Code"] == said
    world.bedrock.create_model_invocation_job(**{**given, "jobName": "new", "clientRequestToken": "new"})


@pytest.mark.parametrize(
    ("switch", "said"), [({}, "The provided ARN is invalid."), ({"job_ids": "short"}, TAKEN)]
)
def test_a_job_is_named_by_its_arn(switch: dict[str, Any], said: str | None) -> None:
    world = World(**switch)
    arn = world.bedrock.create_model_invocation_job(**request("in/a.jsonl"))["jobArn"]
    for act in (world.bedrock.get_model_invocation_job, world.bedrock.stop_model_invocation_job):
        act(jobIdentifier=arn)
        if said is TAKEN:
            act(jobIdentifier=arn[-12:])
        else:
            with pytest.raises(ClientError, match=said):
                act(jobIdentifier=arn[-12:])


def allow(*actions: str, resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


S3 = allow(
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
    resource=[f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
)
PROFILE = f"{ACCOUNT}:inference-profile/us.{HAIKU_45}"
MODEL = f"arn:aws:bedrock:%s::foundation-model/{HAIKU_45}"
NOT_INVOKED = "Customer doesn't have permissions to invokeModel"


@pytest.mark.parametrize(
    ("statements", "status", "said"),
    [
        (None, "Completed", None),
        ([S3, allow("bedrock:*")], "Completed", None),
        ([S3, allow("bedrock:InvokeModel", resource=[PROFILE, MODEL % "*"])], "Completed", None),
        ([S3, allow("bedrock:InvokeModel", resource=PROFILE)], "Failed", NOT_INVOKED),
        ([S3, allow("bedrock:InvokeModel", resource=[PROFILE, MODEL % "us-east-1"])], "Failed", NOT_INVOKED),
        ([S3], "Failed", NOT_INVOKED),
        ([S3, allow("bedrock:*"), {**allow("s3:GetObject"), "Effect": "Deny"}], "Failed", "validate GetObject permissions"),
        ([allow("s3:GetObject", "s3:PutObject", "bedrock:*")], "Failed", "Could not validate ListBucket permissions"),
        ([allow("s3:ListBucket", "s3:PutObject", "bedrock:*")], "Failed", "Could not validate GetObject permissions"),
        ([allow("s3:ListBucket", "s3:GetObject", "bedrock:*")], "Failed", "Could not validate PutObject permissions"),
        ([], "Failed", "Could not validate ListBucket permissions"),
    ],
)  # fmt: skip
def test_what_a_jobs_role_must_be_allowed(
    statements: list[Any] | None, status: str, said: str | None
) -> None:
    world = World()
    policy = None if statements is None else {"Version": "2012-10-17", "Statement": statements}
    world.emulator.roles.set(request("x")["roleArn"], policy)
    job = world.job(modelId=f"us.{HAIKU_45}")
    assert (job["status"], job.get("message") is None) == (status, said is None)
    assert said is None or said in job["message"]
    began = job["endTime"] - job["submitTime"]
    in_progress = said in (None, NOT_INVOKED)
    assert (began > timedelta(minutes=10)) is in_progress, "a model that may not be invoked shows at the end"
    assert len(world.objects) == (3 if status == "Completed" else 1)


@pytest.mark.parametrize(
    ("actions", "status"),
    [(("kms:Decrypt", "kms:GenerateDataKey"), "Completed"), (("kms:Decrypt",), "Failed")],
)
@pytest.mark.parametrize("named", ["id", "ARN"])
def test_a_key_that_encrypts_the_output_must_be_allowed(
    actions: tuple[str, ...], status: str, named: str
) -> None:
    world, key = World(), "11111111-2222-3333-4444-555555555555"
    arn = f"arn:aws:kms:us-east-1:123456789012:key/{key}"
    statements = [S3, allow("bedrock:*"), allow(*actions, resource=arn)]
    world.emulator.roles.set(request("x")["roleArn"], {"Statement": statements})
    output = {"s3Uri": f"s3://{BUCKET}/out/", "s3EncryptionKeyId": key if named == "id" else arn}
    job = world.job(outputDataConfig={"s3OutputDataConfig": output})
    assert job["status"] == status
    assert status == "Completed" or "Could not validate PutObject permissions" in job["message"]


def test_an_output_bucket_that_is_not_there_fails_the_job_before_it_runs() -> None:
    job = World().job(outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://elsewhere/out/"}})
    assert job["status"] == "Failed"
    assert job["message"] == "Could not validate PutObject permissions for S3URI: s3://elsewhere/out/"
    assert job["processedRecordCount"] == 0


def test_the_least_number_of_records_is_told_with_the_job() -> None:
    world = World()
    world.objects[BUCKET, "in/a.jsonl"] = lines(99)
    job = world.job()
    assert job["message"] == (
        f"Batch job {job['jobArn']} contains less records (99) than the required minimum of: 100"
    )


TOOL = {"name": "t", "input_schema": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
NATIVE_TOOL = {**claude("q"), "tools": [TOOL]}
NATIVE_SCHEMA = {**claude("q"), "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "q"}]}]}
SPEC = {"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}
CONVERSE_TOOL = {**CONVERSE, "toolConfig": {"tools": [SPEC]}}
JSON_SCHEMA = {"name": "a", "schema": json.dumps(SCHEMA)}
CONVERSE_SCHEMA = {
    **CONVERSE,
    "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": JSON_SCHEMA}}},
}


@pytest.mark.parametrize(
    ("body", "rejected_by"),
    [
        (NATIVE_TOOL, ["none"]),
        (NATIVE_SCHEMA, ["none"]),
        (CONVERSE_TOOL, ["invoke-model", "none"]),
        (CONVERSE_SCHEMA, ["none"]),
        (CONVERSE, []),
    ],
)
@pytest.mark.parametrize("switch", ["any", "invoke-model", "none"])
def test_tools_and_structured_output_in_jobs(
    body: dict[str, Any], rejected_by: list[str], switch: str
) -> None:
    world = World(batch_tools=switch, model_features="any")
    kind = "InvokeModel" if "anthropic_version" in body else "Converse"
    world.objects[BUCKET, "in/a.jsonl"] = lines(100, lambda _: body)
    job = world.job(modelInvocationType=kind)
    assert job["status"] == "Completed", "the errors of all its records do not change how a job ends"
    rejected = switch in rejected_by
    assert job["errorRecordCount"] == (100 if rejected else 0)
    if rejected:
        assert world.records(job)["r1"]["error"]["errorCode"] == 400
    if kind == "Converse":
        world.runtime.converse(modelId=CLAUDE, **body)  # on demand it is taken all the same


@pytest.mark.parametrize(("switch", "written"), [("omitted", False), ("written", True)])
def test_members_that_are_not_set_are_nulls_in_the_output_of_converse_jobs(
    switch: str, written: bool
) -> None:
    world = World(converse_nulls=switch)
    world.objects[BUCKET, "in/a.jsonl"] = lines(100, lambda _: CONVERSE)
    record = world.records(world.job(modelInvocationType="Converse"))["r1"]["modelOutput"]
    [block] = record["output"]["message"]["content"]
    assert block["text"]
    assert [name for name, value in block.items() if value is not None] == ["text"]
    assert len(block) == (12 if written else 1)
    assert record["usage"]["inputTokens"] > 0
    assert ("cacheDetails" in record["usage"]) is written
    world.objects[BUCKET, "in/a.jsonl"] = lines(100)
    assert "usage" in world.records(world.job(jobName="native"))["r1"]["modelOutput"], (
        "only Converse's have nulls"
    )


def test_prompt_caching_is_an_error_of_each_record_with_its_own_code() -> None:
    world = World()
    system = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    world.objects[BUCKET, "in/a.jsonl"] = lines(100, lambda _: {**claude("q"), "system": system})
    job = world.job(modelId=f"us.{HAIKU_45}")
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 100)
    error = world.records(job)["r1"]["error"]
    assert (error["errorCode"], error["retryable"]) == (403, False)
    assert "did not allow prompt caching" in error["errorMessage"]


def test_each_input_file_in_nested_folders_has_its_own_output() -> None:
    world = World()
    del world.objects[BUCKET, "in/a.jsonl"]
    files = {"a.jsonl": 100, "x/a.jsonl": 30, "x/y/a.jsonl": 7}
    for name, count in files.items():
        world.objects[BUCKET, f"in/deep/{name}"] = lines(count)
    job = world.job(inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/in/deep/"}})
    assert job["totalRecordCount"] == 137
    assert {name: len(world.records(job, name)) for name in files} == files


@pytest.mark.parametrize(
    ("input_uri", "uri", "taken"),
    [
        ("in/", "in/pictures/a.png", True),
        ("in/", "elsewhere/a.png", False),
        ("in/", "in-other/a.png", False),
        ("in/a.jsonl", "in/a.png", False),  # the folder must be named, not the file
    ],
)
def test_a_place_in_s3_must_be_in_the_input_folder(input_uri: str, uri: str, taken: bool) -> None:
    """The warning in "Format and upload your batch inference data"."""
    world = World()
    source = {"s3Location": {"uri": f"s3://{BUCKET}/{uri}"}}
    content = [{"text": "q"}, {"image": {"format": "png", "source": source}}]
    body = {"messages": [{"role": "user", "content": content}]}
    world.objects[BUCKET, "in/a.jsonl"] = lines(100, lambda _: body)
    job = world.job(
        modelId=NOVA, inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/{input_uri}"}}
    )
    assert job["errorRecordCount"] == (0 if taken else 100)


def test_a_body_however_deep_is_one_record() -> None:
    """What can be read is echoed; its depth is nobody else's matter."""
    world = World()
    text = '{"a":' * 600 + "1" + "}" * 600
    deep = b'{"recordId":"DEEP","modelInput":' + text.encode() + b"}\n"
    world.objects[BUCKET, "in/a.jsonl"] = lines(100) + deep
    job = world.job()
    assert (job["totalRecordCount"], job["errorRecordCount"]) == (101, 1)


@pytest.mark.parametrize(("switch", "grows"), [("at-end", False), ("growing", True)])
def test_output_appears_at_the_end_or_while_the_job_runs(switch: str, grows: bool) -> None:
    world = World(output_appears=switch)
    arn = world.bedrock.create_model_invocation_job(**request("in/a.jsonl"))["jobArn"]
    job = {"jobArn": arn}
    sizes = set()
    while world.emulator.store.active():
        world.run(minutes=1)
        if (BUCKET, f"out/{arn[-12:]}/a.jsonl.out") in world.objects:
            sizes.add(len(world.records(job)))
    assert max(sizes) == 450
    assert (len(sizes) > 5) is grows


def test_an_id_that_is_a_profile_only_is_rejected_on_demand() -> None:
    world = World()
    body = orjson.dumps(claude("hello")).decode()
    with pytest.raises(
        ClientError, match=f"Invocation of model ID {HAIKU_45} with on-demand throughput isn.t supported"
    ):
        world.runtime.invoke_model(modelId=HAIKU_45, body=body)
    world.runtime.invoke_model(modelId=f"us.{HAIKU_45}", body=body)
    with pytest.raises(ClientError, match="The provided model identifier is invalid"):
        world.runtime.invoke_model(modelId=f"eu.{HAIKU_45}", body=body)


def test_the_type_of_an_error_stands_in_the_header_as_bedrock_writes_it() -> None:
    world, headers = World(), list[str]()
    world.bedrock.meta.events.register(
        "after-call", lambda http_response, **_: headers.append(http_response.headers["x-amzn-errortype"])
    )
    with pytest.raises(world.bedrock.exceptions.ValidationException):
        world.bedrock.get_model_invocation_job(jobIdentifier="abcdefghijkl")
    assert headers == ["ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/"]


@pytest.mark.parametrize("given", [{"job_names": "unique"}, {"no_such": "x"}, {"token_lifetime": "soon"}])
def test_a_switch_that_makes_no_sense_is_rejected_and_changes_nothing(given: dict[str, Any]) -> None:
    behaviour = Behaviour()
    with pytest.raises(ValueError, match=r"must be one of|no switch|must be a number"):
        behaviour.change({"batch_tools": "none", **given})
    assert behaviour == Behaviour()


@pytest.mark.parametrize(("name", "switch"), switches().items())
def test_each_switch_is_documented_with_its_default_first(name: str, switch: type[StrEnum]) -> None:
    page = (Path(__file__).parents[2] / "docs/emulator.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| `--{name.replace('_', '-')}` "))
    values = row.split("|")[2]
    assert [values.index(f"`{value}`") for value in switch] == sorted(values.index(f"`{v}`") for v in switch)
    assert getattr(Behaviour(), name) is next(iter(switch))


def test_switches_and_roles_by_flag_and_while_it_runs(stack_endpoints: Endpoints, tmp_path: Path) -> None:
    """Over HTTP: each switch has a flag, whose first value is the default."""
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"Statement": [S3]}))
    role = request("x")["roleArn"]
    options = ["--role", f"{role}={file}", "--token-lifetime", "60"]
    for name, switch in switches().items():
        options += [f"--{name.replace('_', '-')}", list(switch)[-1]]
    options += ["--missing-ids", "generated"]
    with emulator(stack_endpoints, tmp_path / "data", *options) as started:
        shown = started.control.set_behaviour()
        expected = {name: list(switch)[-1] for name, switch in switches().items()}
        assert shown == {**expected, "missing_ids": "generated", "token_lifetime": 60.0}
        assert started.control.set_behaviour(job_names="repeatable")["job_names"] == "repeatable"
        with pytest.raises(EmulatorError, match="must be one of"):
            started.control.set_behaviour(job_names="unique")
        started.control.set_behaviour(legacy_models="taken", same_token="same-arn")
        session = started.session()
        session.client("s3").put_object(Bucket=BUCKET, Key="in/role.jsonl", Body=lines(100))
        bedrock = session.client("bedrock")

        def ends() -> str:
            arn = bedrock.create_model_invocation_job(**request("in/role.jsonl"))["jobArn"]
            job = ended(bedrock, arn)
            return str(job.get("message") or job["status"])

        assert ends() == NOT_INVOKED
        started.control.set_role(role, None)
        assert ends() == "Completed"
        with pytest.raises(EmulatorError, match="a policy is"):
            started.control.set_role(role, {"Version": "2012-10-17"})
