"""What a job has of the account: role, key, owners, VPC, tags; and that a request that is sent again never differs."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.job_options import JobOptions, settings_of_jobs
from bedrock_pipeline.ledger.submissions import Intent
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.chunks.create_request import create_request, with_account_options
from bedrock_pipeline.records.job_names import chunk_of_job, is_job_of, job_name
from bedrock_pipeline.records.job_tags import MOST, check_tags, default_tags, job_tags
from bedrock_pipeline.settings import InvalidSettingError, Settings
from bedrock_pipeline.submit.reconcile import reconcile_in_doubt
from bedrock_pipeline.submit.submit_chunk import Submitted, submit_chunk
from bedrock_pipeline_tests.faults.worker import move_clock
from bedrock_pipeline_tests.journey.driven import finish, pipeline
from bedrock_pipeline_tests.submit.test_below_minimum import packed

ACCOUNT = "123456789012"
KEY, OUTPUT_KEY = "11111111-2222-3333-4444-555555555555", "alias/output"
DEFAULT = {"bedrock-pipeline:pipeline": "p", "bedrock-pipeline:dataset": "d"}
OPTIONS: dict[str, Any] = {
    "bucket_owner": ACCOUNT,
    "kms_key_id": KEY,
    "subnet_ids": ("subnet-1", "subnet-2"),
    "security_group_ids": ("sg-1",),
    "job_tags": (("cost-center", "1234"),),
    "job_name_prefix": "team-a",
}


def _settings(**given: Any) -> Settings:
    return Settings.resolve({"bucket": "b", "role_arn": f"arn:aws:iam::{ACCOUNT}:role/x", **given}, {})


def _sent(settings: Settings, tags: dict[str, str] | None = None) -> dict[str, Any]:
    one = Pipeline(name="p", model_id="amazon.nova-lite-v1:0", prompt="{{ a }}", job_tags=tags or {})
    request = create_request(settings, one, "d", uuid4(), "s3://b/in/x.jsonl")
    return with_account_options(settings, request, DEFAULT)


def test_without_options_a_job_has_its_role_and_its_default_tags_alone() -> None:
    sent = _sent(_settings())
    assert sent.keys() == {
        *(
            "jobName",
            "roleArn",
            "modelId",
            "timeoutDurationInHours",
            "inputDataConfig",
            "outputDataConfig",
            "tags",
        )
    }
    assert sent["inputDataConfig"]["s3InputDataConfig"].keys() == {"s3Uri", "s3InputFormat"}
    assert sent["outputDataConfig"]["s3OutputDataConfig"].keys() == {"s3Uri"}
    assert {tag["key"]: tag["value"] for tag in sent["tags"]} == DEFAULT
    assert "tags" not in _sent(_settings(default_job_tags=False))


@pytest.mark.parametrize(
    ("options", "source", "target"),
    [
        ({"kms_key_id": KEY}, {}, {"s3EncryptionKeyId": KEY}),
        ({"kms_key_id": KEY, "output_kms_key_id": OUTPUT_KEY}, {}, {"s3EncryptionKeyId": OUTPUT_KEY}),
        ({"output_kms_key_id": OUTPUT_KEY}, {}, {"s3EncryptionKeyId": OUTPUT_KEY}),
        ({"bucket_owner": ACCOUNT}, {"s3BucketOwner": ACCOUNT}, {"s3BucketOwner": ACCOUNT}),
        ({"bucket_owner": ACCOUNT, "output_bucket": "o"}, {"s3BucketOwner": ACCOUNT}, {}),
        ({"output_bucket": "o", "output_bucket_owner": ACCOUNT}, {}, {"s3BucketOwner": ACCOUNT}),
        ({"output_bucket_owner": ACCOUNT}, {"s3BucketOwner": ACCOUNT}, {"s3BucketOwner": ACCOUNT}),
    ],
)
def test_key_and_owners_are_of_each_bucket(
    options: dict[str, Any], source: dict[str, str], target: dict[str, str]
) -> None:
    sent = _sent(_settings(**options))
    of_input = sent["inputDataConfig"]["s3InputDataConfig"]
    of_output = sent["outputDataConfig"]["s3OutputDataConfig"]
    assert {key: of_input[key] for key in of_input.keys() - {"s3Uri", "s3InputFormat"}} == source
    assert {key: of_output[key] for key in of_output.keys() - {"s3Uri"}} == target


def test_the_tags_of_a_pipeline_replace_those_of_the_deployment() -> None:
    settings = _settings(job_tags={"cost-center": "1", "team": "a", "bedrock-pipeline:dataset": "none"})
    tags = {tag["key"]: tag["value"] for tag in _sent(settings, {"team": "b"})["tags"]}
    assert tags == {**DEFAULT, "cost-center": "1", "team": "b", "bedrock-pipeline:dataset": "none"}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({f"k{n}": "" for n in range(46)}, None),
        ({f"k{n}": "" for n in range(47)}, "can have 46 beside"),
        ({"": "v"}, "no tag key"),
        ({"k" * 129: "v"}, "no tag key"),
        ({"k,": "v"}, "no tag key"),
        ({"k\N{NO-BREAK SPACE}": "v"}, "no tag key"),
        ({"Aws:k": "v"}, "AWS's own"),
        ({"k": "v" * 257}, "no tag value"),
        ({"k": "a&b"}, "no tag value"),
        ({"a b/c=d+e@f.g:h-i_j": "x y"}, None),
    ],
)
def test_tags_that_aws_does_not_take_are_found_before_a_job_is_sent(
    tags: dict[str, str], said: str | None
) -> None:
    if said is None:
        check_tags(tags)
        assert dict(_settings(job_tags=tags).job_tags) == tags
        return
    with pytest.raises(ValueError, match=said):
        check_tags(tags)
    with pytest.raises(InvalidSettingError, match=said):
        _settings(job_tags=tags)


_KEYS = st.text("abcdefgh", min_size=1, max_size=3)


@given(*[st.dictionaries(_KEYS, st.just("v"), max_size=46)] * 3)
def test_a_job_never_has_more_tags_than_aws_takes(
    deployment: dict[str, str], pipeline: dict[str, str], default: dict[str, str]
) -> None:
    tags = job_tags(deployment, pipeline, default)
    keys = [tag["key"] for tag in tags]
    assert keys == sorted(set(keys))
    assert len(keys) == min(MOST, len({**deployment, **pipeline, **default}))
    assert set(pipeline) <= set(keys), "a pipeline's own are the last to be left out"


@given(
    st.uuids(), st.uuids(), st.from_regex(r"[a-z][a-z0-9_]{0,39}", fullmatch=True), st.just("a-15-characters")
)
def test_a_prefix_leaves_the_chunk_in_the_jobs_name(
    deployment: UUID, chunk: UUID, pipeline: str, prefix: str
) -> None:
    for name in (job_name(pipeline, chunk), job_name(pipeline, chunk, prefix)):
        assert len(name) <= 63
        assert is_job_of(name, chunk)
        assert not is_job_of(name, uuid4())
        assert chunk_of_job(chunk, name) == chunk


def _jobs(endpoints: Endpoints) -> dict[str, dict[str, Any]]:
    """What the emulator was sent, by ARN."""
    return {job["jobArn"]: job for job in Control(endpoints.bedrock_endpoint_url, endpoints.keys).jobs()}


def test_a_job_has_what_the_settings_say_when_it_is_submitted(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    """Not what they said when its chunk was packed; and everything works with all of them."""
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)]).model_copy(update={"job_tags": {"team": "nlp"}})
    with open_deployment(deployment.settings.model_copy(update=OPTIONS)) as now:
        [key] = packed(deployment, one)
        outcome = submit_chunk(now, "p", key)
        assert isinstance(outcome, Submitted)
        job = _jobs(stack_endpoints)[outcome.job_arn]
        default = default_tags(deployment.ledger.deployment_id, "p", "d", 1)
        assert {tag["key"]: tag["value"] for tag in job["tags"]} == {
            **default,
            "cost-center": "1234",
            "team": "nlp",
        }
        assert job["vpcConfig"] == {"subnetIds": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}
        assert job["inputDataConfig"]["s3InputDataConfig"]["s3BucketOwner"] == ACCOUNT
        assert job["outputDataConfig"]["s3OutputDataConfig"]["s3EncryptionKeyId"] == KEY
        assert not job["jobName"].startswith("team-a"), "a chunk's name is that of its packing"
        assert {row["status"] for row in finish(now, one)} == {"succeeded"}
    assert job_name("p", outcome.chunk.chunk_id, "team-a").startswith("team-a-p-")


OWN: dict[str, Any] = {
    "role_arn": f"arn:aws:iam::{ACCOUNT}:role/own",
    "output_bucket": "outputs",
    "output_bucket_owner": "210987654321",
    "output_kms_key_id": OUTPUT_KEY,
    "subnet_ids": ("subnet-9",),
    "security_group_ids": ("sg-9",),
    "job_name_prefix": "own",
}


def test_the_options_of_a_pipeline_replace_those_of_the_deployment() -> None:
    settings = _settings(**OPTIONS, output_kms_key_id=KEY)
    one = Pipeline(
        name="p", model_id="amazon.nova-lite-v1:0", prompt="{{ a }}", job_options=JobOptions(**OWN)
    )
    request = create_request(settings, one, "d", uuid4(), "s3://b/in/x.jsonl")
    sent = with_account_options(settings_of_jobs(settings, one.job_options, "p"), request, DEFAULT)
    assert sent["roleArn"] == OWN["role_arn"]
    assert sent["jobName"].startswith("own-p-")
    target = sent["outputDataConfig"]["s3OutputDataConfig"]
    assert target["s3Uri"].startswith("s3://outputs/bedrock-jobs/output/p/d/")
    assert (target["s3BucketOwner"], target["s3EncryptionKeyId"]) == ("210987654321", OUTPUT_KEY)
    assert sent["inputDataConfig"]["s3InputDataConfig"]["s3BucketOwner"] == ACCOUNT, "the deployment's"
    assert sent["vpcConfig"] == {"subnetIds": ["subnet-9"], "securityGroupIds": ["sg-9"]}
    tags = {tag["key"]: tag["value"] for tag in sent["tags"]}
    assert tags["cost-center"] == "1234"


def test_an_output_bucket_of_a_pipeline_has_not_the_owner_of_the_deployments() -> None:
    settings = _settings(output_bucket="o", output_bucket_owner=ACCOUNT)
    in_force = JobOptions(output_bucket="arn:aws:s3:::own").over(settings, "p")
    assert (in_force.output_bucket, in_force.bucket_owners) == ("own", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"output_bucket": "s3://own/x"}, "output_bucket is no bucket's name"),
        ({"subnet_ids": ["subnet-1"]}, "subnet_ids and security_group_ids: give both"),
        ({"output_kms_key_id": "my key"}, "output_kms_key_id is no KMS key"),
        ({"bucket_owner": "me"}, "bucket_owner"),
        ({"job_name_prefix": "-"}, "job_name_prefix has letters"),
        ({"kms_key_id": KEY}, "kms_key_id"),
    ],
)
def test_an_option_of_a_pipeline_keeps_the_rules_of_its_setting(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Pipeline.model_validate(
            {"name": "p", "model_id": "amazon.nova-lite-v1:0", "prompt": "a", "job_options": options}
        )


def test_a_role_of_another_account_is_rejected_before_anything_is_sent() -> None:
    """Its jobs could not be looked up, so that a submission in doubt could never be settled."""
    options = JobOptions(role_arn="arn:aws:iam::210987654321:role/x")
    with pytest.raises(ConfigurationError, match=r"job_options\.role_arn is of another account"):
        options.over(_settings(), "p")


def test_jobs_and_their_retry_rounds_have_the_options_of_the_version(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    """From packing to results in the pipeline's own output bucket, whatever the code says meanwhile."""
    client = s3_client(deployment.settings)
    with suppress(ClientError):  # the worker's tests share the embedded S3
        client.create_bucket(Bucket="own-outputs")
    options = JobOptions(output_bucket="own-outputs", output_kms_key_id=OUTPUT_KEY, job_name_prefix="own")
    one = pipeline(tmp_path, [f"t{n}" for n in range(120)])
    [key] = packed(deployment, one.model_copy(update={"job_options": options}))
    outcome = submit_chunk(deployment, "p", key)
    assert isinstance(outcome, Submitted)
    job = _jobs(stack_endpoints)[outcome.job_arn]
    assert job["jobName"].startswith("own-p-")
    target = job["outputDataConfig"]["s3OutputDataConfig"]
    assert target["s3Uri"].startswith("s3://own-outputs/")
    assert target["s3EncryptionKeyId"] == OUTPUT_KEY
    assert {row["status"] for row in finish(deployment, one)} == {"succeeded"}


def test_a_request_that_is_sent_again_is_the_frozen_one(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    """A process died after its intent, and the settings were changed before List could be believed."""
    [key] = packed(deployment, pipeline(tmp_path, [f"t{n}" for n in range(120)]))
    chunk = deployment.ledger.chunks.by_key("p", key)
    with open_deployment(deployment.settings.model_copy(update=OPTIONS)) as before:
        request = with_account_options(before.settings, chunk.request, DEFAULT)
        taken = before.ledger.submissions.intend(
            chunk.chunk_id, uuid4(), request=request, lease=timedelta(seconds=60)
        )
    assert isinstance(taken, Intent)
    move_clock(deployment, 3600)
    assert reconcile_in_doubt(deployment).sent_again == [key]
    again = deployment.ledger.chunks.by_key("p", key)
    job = _jobs(stack_endpoints)[again.job_arn or ""]
    assert job["clientRequestToken"] == taken.token
    assert {name: job[name] for name in request} == request
