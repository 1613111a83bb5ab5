"""The pytest fixture for other projects, in a project of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_TEST = """
import pytest
from botocore.exceptions import BotoCoreError

def test_a_lost_answer(bedrock):
    lines = '{"recordId": "r", "modelInput": {"inputText": "a text"}}\\\\n' * 100
    s3 = bedrock.session.client("s3")
    s3.put_object(Bucket=bedrock.bucket, Key="in.jsonl", Body=lines.encode())
    bedrock.control.add_fault("answer_lost", operation="CreateModelInvocationJob", times=1)
    client = bedrock.session.client("bedrock")
    arn = client.create_model_invocation_job(
        jobName="a-job", roleArn=bedrock.role_arn, modelId="amazon.titan-embed-text-v2:0", clientRequestToken="a-token",
        inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{bedrock.bucket}/in.jsonl"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{bedrock.bucket}/out/"}},
    )["jobArn"]
    assert [job["jobArn"] for job in bedrock.control.jobs()] == [arn]
    assert bedrock.control.faults()[0]["struck"] == 1

def test_nothing_is_left_of_the_test_before(bedrock):
    assert bedrock.control.jobs() == bedrock.control.faults() == []
"""


def run_another_project(folder: Path, variables: Mapping[str, str]) -> None:
    """Its tests pass in an environment with these variables."""
    (folder / "conftest.py").write_text('pytest_plugins = ["bedrock_pipeline.local.testing"]\n')
    (folder / "test_it.py").write_text(_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_another_project_takes_the_fixture(tmp_path: Path) -> None:
    run_another_project(tmp_path, {})
