"""The AWS CLI, as it comes, with the variables of `bedrock-pipeline local env` and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.local import Endpoints, environment
from bedrock_pipeline_tests.emulator.client import BUCKET, CLAUDE, claude, lines, request

Aws = Callable[..., Any]


@pytest.fixture
def aws(stack_endpoints: Endpoints, tmp_path: Path) -> Aws:
    """Runs the CLI; its answer from JSON."""
    program = [sys.executable, "-m", "awscli"]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment(stack_endpoints)}

    def run(*words: str, fails: bool = False) -> Any:
        done = subprocess.run([*program, *words], capture_output=True, text=True, env=variables, check=False)
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else json.loads(done.stdout or "{}")

    return run


def test_a_job_by_the_aws_cli(aws: Aws, tmp_path: Path) -> None:
    file = tmp_path / "cli.jsonl"
    file.write_bytes(lines(100))
    aws("s3api", "put-object", "--bucket", BUCKET, "--key", "in/cli.jsonl", "--body", str(file))
    given = request("in/cli.jsonl", jobName="by-the-cli", clientRequestToken=f"cli-{os.getpid()}")
    arn = aws("bedrock", "create-model-invocation-job", "--cli-input-json", json.dumps(given))["jobArn"]
    while (job := aws("bedrock", "get-model-invocation-job", "--job-identifier", arn))[
        "status"
    ] != "Completed":
        assert job["status"] in ("Submitted", "Validating", "Scheduled", "InProgress")
    assert job["successRecordCount"] == 100
    listed = aws(
        *("bedrock", "list-model-invocation-jobs", "--name-contains", "by-the-cli", "--status-equals"),
        *("Completed", "--sort-by", "CreationTime", "--page-size", "1"),
    )
    assert arn in [one["jobArn"] for one in listed["invocationJobSummaries"]]
    said = aws("bedrock", "stop-model-invocation-job", "--job-identifier", arn, fails=True)
    assert "ValidationException" in said
    assert "State was: Completed" in said


def test_on_demand_calls_by_the_aws_cli(aws: Aws, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    aws(
        *("bedrock-runtime", "invoke-model", "--model-id", CLAUDE, "--body", json.dumps(claude("hello"))),
        str(answer),
    )
    assert json.loads(answer.read_text())["role"] == "assistant"
    messages = json.dumps([{"role": "user", "content": [{"text": "hello"}]}])
    told = aws("bedrock-runtime", "converse", "--model-id", f"us.{CLAUDE}", "--messages", messages)
    assert told["output"]["message"]["content"][0]["text"].startswith("Summary")
    said = aws(
        *("bedrock-runtime", "converse", "--model-id", "acme.unknown-v1:0", "--messages", messages),
        fails=True,
    )
    assert "ValidationException" in said
