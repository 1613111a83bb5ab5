"""The policies of `deploy/iam` allow what the package calls, and nothing that it does not call.

A dataset is prepared, estimated, submitted, collected, retried, published and answered on demand with every call noted, and
each call is compared with the policy of what it was for. Whether AWS asks what its reference says could not be tried.
"""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import Session

import bedrock_pipeline
from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.collect.collect_chunk import collect_chunk
from bedrock_pipeline.collect.start_retry_round import start_retry_round
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.emulator.models.catalog import arns_invoked
from bedrock_pipeline.emulator.roles import Role
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.estimate_dataset import estimate_dataset
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.publish.publish_dataset import publish_dataset
from bedrock_pipeline.publish.read_results import open_results
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.submit.poll_jobs import poll_jobs, stop_jobs
from bedrock_pipeline.submit.reconcile import sweep_account
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.deploy.policies import (
    CALLERS,
    FOLDER,
    OF_DOCTOR,
    Need,
    allowed_actions,
    is_allowed,
    is_covered,
    needs,
    policy,
)
from bedrock_pipeline_tests.deploy.recorded import Call, Recorder
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.syntax import parsed
from bedrock_pipeline_tests.waiting import until

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
ACCOUNT = "123456789012"
#: Each purpose has a bucket of its own where the settings have a place for one, so that a policy cannot allow too much.
SOURCE, OUTPUT = "source-bucket", "output-bucket"
PARTS = 17 * 2**20
ROOT = Path(bedrock_pipeline.__file__).parent


def values(deployment: Deployment) -> dict[str, str]:
    """What the variables of the files stand for here."""
    settings = deployment.settings
    return {
        "PARTITION": "aws",
        "REGION": settings.region,
        "ACCOUNT": ACCOUNT,
        "BUCKET": settings.bucket,
        "OUTPUT_BUCKET": settings.output_bucket,
        "SOURCE_BUCKET": SOURCE,
        "ROLE_NAME": settings.role_arn.rpartition("/")[2],
        "MODEL": MODEL,
        "PROFILE": f"us.{MODEL}",
    }


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    found.install(monkeypatch)
    return found


@pytest.fixture
def noted(deployment: Deployment, recorder: Recorder) -> Iterator[Deployment]:
    """A deployment whose calls are noted, and whose output has a bucket of its own."""
    client = s3_client(deployment.settings)
    for bucket in (SOURCE, OUTPUT):
        with suppress(ClientError):  # the worker's tests share the embedded S3
            client.create_bucket(Bucket=bucket)
    lines = [{"id": f"r{n}", "text": f"Number {n}" if n else "Number 0, and fail"} for n in range(120)]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    client.put_object(Bucket=SOURCE, Key="rows/rows.jsonl", Body=body.encode())
    with open_deployment(deployment.settings.model_copy(update={"output_bucket": OUTPUT})) as opened:
        recorder.calls.clear()
        yield opened


def pipeline(**changes: Any) -> Pipeline:
    return Pipeline.model_validate(
        {
            "name": "p",
            "model_id": f"us.{MODEL}",
            "source": f"s3://{SOURCE}/rows/",
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=100, max_records=1000, max_jobs=20),
            **changes,
        }
    )


def clean_up(deployment: Deployment, folder: Path, *prefixes: str) -> None:
    """What is called where an upload breaks off, and where a folder is discarded that nothing names."""

    def broken(**_: object) -> None:
        raise OSError("the network is away")

    large, events = folder / "large", s3_of(deployment).meta.events
    large.write_bytes(bytes(PARTS))
    for prefix in prefixes:
        uri = deployment.settings.uri(prefix, "unfinished")
        events.register_last("before-parameter-build.s3.UploadPart", broken, unique_id="broken")
        with pytest.raises((OSError, AwsError)):
            deployment.objects.upload(large, uri)
        events.unregister("before-parameter-build.s3.UploadPart", unique_id="broken")
        deployment.objects.put(uri, b"")
        deployment.objects.discard(uri)


def s3_of(deployment: Deployment) -> Any:
    return deployment.objects._client


def from_launch_to_results(
    deployment: Deployment, recorder: Recorder, control: Control, one: Pipeline, folder: Path
) -> None:
    """A dataset with a retry round, step by step, each under what it is for."""
    settings = deployment.settings
    with recorder.of("estimate"):
        counted = estimate_dataset(
            deployment, one.model_copy(update={"count_tokens": True}), "d", datetime.now(UTC)
        )
    assert counted.records == 120
    with recorder.of("prepare"):
        take_snapshot(deployment, one, "d")
        keys = [chunk.chunk_key for chunk in pack_dataset(deployment, one, "d").chunks]
        clean_up(deployment, folder, settings.work_prefix, settings.input_prefix)
    control.add_fault("record_error", record_ids=["r1"], error_code=429)
    with recorder.of("submit"):
        [key] = keys
        submit_chunk(deployment, "p", key)
        until(lambda: not poll_jobs(deployment).in_flight, "the end of the job")
        job_arn = deployment.ledger.chunks.by_key("p", key).job_arn or ""
        stop_jobs(deployment, [job_arn])
        deployment.jobs.get(job_arn)  # as where List shows it no longer, or an operator names it
        sweep_account(deployment)
        sweep_account(deployment)  # what the first noted is read
    control.clear_faults()
    with recorder.of("collect"):
        assert collect_chunk(deployment, one, key).tally.retryable == 1
        [again] = start_retry_round(deployment, one, "d").chunks
    move_clock(deployment, 3600)
    with recorder.of("on-demand"):
        submit_chunk(deployment, "p", again.chunk_key)
    with recorder.of("collect"):
        collect_chunk(deployment, one, again.chunk_key)
        publish_dataset(deployment, one, "d")
        assert open_results(deployment, "p", "d").count_rows() == 120
        clean_up(deployment, folder, settings.work_prefix, settings.input_prefix, settings.results_prefix)
    with recorder.of("on-demand"), suppress(AwsError):
        deployment.runtime.resolve(MODEL, settings.region)


def test_each_policy_allows_what_is_called_and_nothing_else(
    noted: Deployment, recorder: Recorder, control: Control, tmp_path: Path
) -> None:
    from_launch_to_results(noted, recorder, control, pipeline(), tmp_path)
    for purpose in ("prepare", "estimate", "submit", "collect", "on-demand"):
        document = policy(purpose, values(noted))
        needed = {need for call in recorder.calls[purpose] for need in _needs(call)}
        denied = sorted(str(need) for need in needed if not is_allowed(document, need))
        assert not denied, f"{purpose}.json does not allow"
        unused = allowed_actions(document) - {need.action for need in needed}
        assert not unused, f"{purpose}.json allows what nothing calls"
        for statement in document["Statement"]:
            for resource in _listed(statement["Resource"]):
                one = {"Statement": [{**statement, "Resource": resource}]}
                assert any(is_allowed(one, need) for need in needed), (purpose, statement["Sid"], resource)


def _needs(call: Call) -> Iterator[Need]:
    return needs(call.service, call.operation, call.params, call.region, ACCOUNT)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_service_role_does_what_the_emulator_asks_of_it(
    noted: Deployment, recorder: Recorder, control: Control, tmp_path: Path
) -> None:
    """With an inference profile, which needs the model in every region that it routes to."""
    role = noted.settings.role_arn
    control.set_role(role, policy("service-role", values(noted)))
    try:
        from_launch_to_results(noted, recorder, control, pipeline(), tmp_path)
    finally:
        control.set_role(role, None)
    [first] = [chunk for chunk in noted.ledger.chunks.of_dataset("p", "d", 1) if chunk.attempt == 1]
    assert first.status == "completed", first.status_message


KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
OUTPUT_KEY = KEY.replace("1111-", "9999-")
OTHER_ACCOUNT = "210987654321"
FILLED = {
    "PARTITION": "aws",
    "REGION": "us-east-1",
    "URL_SUFFIX": "amazonaws.com",
    "ACCOUNT": ACCOUNT,
    "BUCKET": "b",
    "OUTPUT_BUCKET": "o",
    "SOURCE_BUCKET": "s",
    "ROLE_NAME": "batch",
    "MODEL": MODEL,
    "PROFILE": f"us.{MODEL}",
    "KMS_KEY_ARN": KEY,
    "OUTPUT_KMS_KEY_ARN": OUTPUT_KEY,
    "BUCKET_ACCOUNT": OTHER_ACCOUNT,
    "CALLER_ROLE_NAME": "pipeline",
    "APPLICATION_PROFILE": "abcdefghijkl",
    "SUBNET_ID": "subnet-1",
    "SECURITY_GROUP_ID": "sg-1",
}


def test_the_service_roles_policies_together_allow_all_that_a_job_does() -> None:
    """As the emulator knows it from AWS's pages: S3, the key, the network, the model in each region."""
    names = ("service-role", "service-role-vpc", "kms")
    role = Role({"Statement": [one for name in names for one in policy(name, FILLED)["Statement"]]})
    role.check_get("b", "bedrock-jobs/input/p/d/x.jsonl")
    role.check_put("o", "bedrock-jobs/output/p/d/")
    role.check_key("o", "bedrock-jobs/output/", KEY)
    role.check_key("o", "bedrock-jobs/output/", OUTPUT_KEY)
    role.check_decrypt("b", "bedrock-jobs/input/x", KEY)
    assert role.may_invoke(arns_invoked(f"us.{MODEL}", "us-east-1", ACCOUNT))
    for region in ("us-east-1", "us-east-2", "us-west-2"):
        assert role.allows("bedrock:InvokeModel", f"arn:aws:bedrock:{region}::foundation-model/{MODEL}")
    assert not role.allows("s3:GetObject", "arn:aws:s3:::b/results/x")
    assert not role.allows("s3:GetObject", "arn:aws:s3:::b/bedrock-jobs/work/x")
    assert not role.allows("bedrock:InvokeModel", "arn:aws:bedrock:us-east-1::foundation-model/other")


def test_an_application_inference_profile_has_a_policy_of_its_own() -> None:
    """For callers and for the service role; the models that it routes to are in the others."""
    profile = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abcdefghijkl"
    document = policy("application-profile", FILLED)
    for action in ("CreateModelInvocationJob", "InvokeModel", "GetInferenceProfile"):
        assert is_allowed(document, Need(f"bedrock:{action}", profile))
    assert not is_allowed(policy("submit", FILLED), Need("bedrock:CreateModelInvocationJob", profile))


def test_a_bucket_of_another_account_admits_jobs_and_those_who_collect() -> None:
    """Both sides must: the policies of the role and of the callers, and the bucket's own."""
    [condition] = [
        one["Condition"] for one in policy("service-role", FILLED)["Statement"] if "Condition" in one
    ]
    assert condition == {"StringEquals": {"aws:ResourceAccount": [ACCOUNT, OTHER_ACCOUNT]}}
    admitted: dict[str, set[tuple[str, str]]] = {}
    for one in policy("other-account-bucket-policy", FILLED)["Statement"]:
        for who in _listed(one["Principal"]["AWS"]):
            admitted.setdefault(who.rpartition("/")[2], set()).update(
                (action, one["Resource"]) for action in _listed(one["Action"])
            )
    bucket, output = "arn:aws:s3:::o", "arn:aws:s3:::o/bedrock-jobs/output/*"
    assert admitted == {
        "batch": {("s3:ListBucket", bucket), ("s3:GetObject", output), ("s3:PutObject", output)},
        "pipeline": {("s3:ListBucket", bucket), ("s3:GetObject", output)},
    }
    for who, file in (("batch", "service-role"), ("pipeline", "collect")):
        allowed = policy(file, FILLED)
        assert all(is_allowed(allowed, Need(*one)) for one in admitted[who]), file


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.json")))
def test_a_file_is_filled_in_by_envsubst_and_names_no_partition(name: str) -> None:
    """GovCloud and China have other ARNs; variables are those that the documentation lists."""
    text = (FOLDER / f"{name}.json").read_text()
    assert "arn:aws" not in text
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= FILLED.keys()
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= set(
        re.findall(r"`(\w+)`", (FOLDER / "README.md").read_text())
    )
    assert "${" not in json.dumps(policy(name, FILLED))


@pytest.mark.parametrize("name", [*CALLERS, "kms", "application-profile", "service-role", "service-role-vpc"])
def test_a_policy_fits_into_iam(name: str) -> None:
    """Source: "IAM and AWS STS quotas", IAM user guide: 6,144 characters without white space; ids of statements are alphanumeric."""
    document = policy(name, FILLED)
    assert document["Version"] == "2012-10-17"
    assert len(json.dumps(document, separators=(",", ":"))) < 6_144
    assert all(re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"]) for statement in document["Statement"])
    for action in allowed_actions(document):
        assert "*" not in action, "every action is named"


def test_every_method_of_boto3_in_the_code_is_one_that_the_policies_were_compared_with() -> None:
    """A method that only a rare path calls, which no recorded flow reaches, is found in the source."""
    session, found = Session(), set[tuple[str, str]]()
    methods: dict[str, list[tuple[str, str]]] = {}
    for service in ("s3", "bedrock", "bedrock-runtime", *OF_DOCTOR):
        for operation in session.get_service_model(service).operation_names:
            methods.setdefault(xform_name(operation), []).append((service, operation))
    for path in (ROOT / "aws").glob("*.py"):
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in methods:
                found |= set(methods[node.attr])
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get_paginator"
                and isinstance(node.args[0], ast.Constant)
            ):
                found |= set(methods[str(node.args[0].value)])
    assert {"create_model_invocation_job", "put_object"} <= {xform_name(operation) for _, operation in found}
    assert not [call for call in sorted(found) if not is_covered(*call)]
