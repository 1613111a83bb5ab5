"""The CloudFormation template is valid, current, and makes what the files of `deploy/iam` say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from bedrock_pipeline_tests.deploy.policies import CALLERS, allowed_actions, policy
from bedrock_pipeline_tests.deploy.template import PATH, template, text
from bedrock_pipeline_tests.deploy.test_policies import FILLED, KEY

LINT = str(Path(sys.executable).with_name("cfn-lint"))
REGIONS = ("us-east-1", "eu-central-1", "us-gov-west-1")


def test_the_template_is_the_one_that_the_files_give() -> None:
    assert PATH.read_text() == text(), "run `make docs`"


def test_cfn_lint_has_nothing_to_say() -> None:
    command = [LINT, "--regions", *REGIONS, "--template", str(PATH)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_cfn_lint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = json.loads(text())
    wrong["Resources"]["Bucket"]["Properties"]["BucketKeyEnabled"] = True
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong))
    done = subprocess.run(
        [LINT, "--template", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "E3002" in done.stdout


@pytest.mark.parametrize(
    ("subnet", "group", "taken"),
    [("", "", True), ("subnet-1", "sg-1", True), ("subnet-1", "", False), ("", "sg-1", False)],
)
def test_a_vpc_that_is_not_whole_is_rejected(subnet: str, group: str, taken: bool) -> None:
    """By a rule of the template, evaluated here as CloudFormation does it."""
    given = {"SubnetId": subnet, "SecurityGroupId": group}

    def value(one: Any) -> Any:
        if not isinstance(one, dict):
            return one
        [(name, of)] = one.items()
        if name == "Ref":
            return given[of]
        parts = [value(part) for part in of]
        if name in ("Fn::Or", "Fn::And"):
            return any(parts) if name == "Fn::Or" else all(parts)
        return not parts[0] if name == "Fn::Not" else parts[0] == parts[1]

    [assertion] = template()["Rules"]["VpcIsWhole"]["Assertions"]
    assert value(assertion["Assert"]) is taken
    assert "SubnetId and SecurityGroupId" in assertion["AssertDescription"]


def test_every_file_but_the_readme_is_in_the_template() -> None:
    used = json.dumps(template())
    for path in PATH.parent.glob("iam/*.json"):
        document = policy(path.stem)
        words = (
            allowed_actions(document)
            if "Statement" in document
            else {rule["ID"] for rule in document["Rules"]}
        )
        assert all(f'"{word}"' in used for word in words), path.name


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov"])
def test_iam_and_s3_take_the_files(partition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As moto has them, which checks the grammar of policies as IAM does; it is no proof that AWS takes them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    filled = {**FILLED, "PARTITION": partition, "KMS_KEY_ARN": KEY.replace("arn:aws:", f"arn:{partition}:")}

    def text_of(name: str) -> str:
        return json.dumps(policy(name, filled))

    with mock_aws():
        iam: Any = boto3.client("iam", "us-east-1")  # its stubs are not installed
        for name in (*CALLERS, "kms", "application-profile", "service-role", "service-role-vpc"):
            iam.create_policy(PolicyName=name, PolicyDocument=text_of(name))
        iam.create_role(RoleName="batch", AssumeRolePolicyDocument=text_of("service-role-trust"))
        kms: Any = boto3.client("kms", "us-east-1")
        kms.create_key(Policy=text_of("key-policy"))
        s3 = boto3.client("s3", "us-east-1")
        s3.create_bucket(Bucket="bucket")
        for name in ("bucket-policy", "other-account-bucket-policy"):
            s3.put_bucket_policy(Bucket="bucket", Policy=text_of(name))
        rules: Any = policy("lifecycle")
        s3.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration=rules)
        assert len(s3.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]) == 2
        with pytest.raises(ClientError, match="MalformedPolicyDocument"):
            iam.create_policy(
                PolicyName="wrong", PolicyDocument=text_of("submit").replace("Effect", "Affect")
            )
