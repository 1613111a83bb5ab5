"""What promises this machine stays on it, wherever the variables around lead."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pa_fs
import pytest

from bedrock_pipeline.aws.arrow_files import results_filesystem
from bedrock_pipeline.aws.clients import (
    creating_client,
    reading_client,
    runtime_client,
    s3_client,
)
from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints, environment, read_endpoints
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.hostile import hostile_environment
from bedrock_pipeline_tests.local.test_testing import run_another_project


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[dict[str, str]]:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with hostile_environment(folder) as variables:
        yield variables


def test_the_embedded_default_and_its_clients(
    tmp_path: Path, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started and used by one process."""
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    with Stack(StackConfig(tmp_path / "home")) as stack:
        settings = Settings.resolve(stack.endpoints.settings())
        s3 = s3_client(settings)
        s3.put_object(Bucket=settings.bucket, Key="a/b", Body=b"here")
        assert s3.get_object(Bucket=settings.bucket, Key="a/b")["Body"].read() == b"here"
        assert (stack.endpoints.s3_root / settings.bucket / "a" / "b").read_bytes() == b"here"
        [found] = results_filesystem(settings).get_file_info(pa_fs.FileSelector(f"{settings.bucket}/a"))
        assert found.base_name == "b"
        arn = creating_client(settings).create_model_invocation_job(
            jobName="a-job",
            roleArn=settings.role_arn,
            modelId="amazon.titan-embed-text-v2:0",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{settings.bucket}/a/b"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{settings.bucket}/out/"}},
        )["jobArn"]
        [job] = reading_client(settings).list_model_invocation_jobs()["invocationJobSummaries"]
        assert job["jobArn"] == arn
        answer = runtime_client(settings).invoke_model(
            modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "a text"}'
        )
        assert b"embedding" in answer["body"].read()
        with Ledger(settings.database_dsn.get_secret_value()) as ledger:
            assert ledger.migrate()
            assert ledger.is_current()


def test_the_session_of_an_emulator(
    stack_endpoints: Endpoints, tmp_path: Path, hostile: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    keys = stack_endpoints.access_key_id, stack_endpoints.secret_access_key
    with EmulatorProcess(tmp_path / "emulator", stack_endpoints.s3_endpoint_url, *keys) as emulator:
        session = emulator.session()
        assert session.client("bedrock").list_model_invocation_jobs()["invocationJobSummaries"] == []
        buckets = session.client("s3").list_buckets()["Buckets"]
        assert stack_endpoints.bucket in {bucket["Name"] for bucket in buckets}
        session.client("bedrock-runtime").invoke_model(
            modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "a text"}'
        )


def test_the_fixture_of_another_project(tmp_path: Path, hostile: dict[str, str]) -> None:
    project = tmp_path / "project"
    project.mkdir()
    run_another_project(project, hostile)


def test_up_and_a_shell_that_was_led_elsewhere(tmp_path: Path, hostile: dict[str, str]) -> None:
    """After `eval "$(bedrock-pipeline local env)"` every command is back here."""
    around = {**os.environ, **hostile, "BEDROCK_PIPELINE_HOME": str(tmp_path / "home")}
    command = f"{shlex.quote(sys.executable)} -m bedrock_pipeline"

    def shell(script: str) -> str:
        done = subprocess.run(["sh", "-ec", script], env=around, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + (tmp_path / "home" / "up.log").read_text()
        return done.stdout

    shell(f"{command} local up")
    try:
        endpoints = read_endpoints(tmp_path / "home")
        assert endpoints is not None
        printed = shell(f'eval "$({command} local env)"; {command} migrate; env')
        assert printed.startswith("nothing to do\n"), "`up` has migrated this very database"
        then = dict(line.split("=", 1) for line in printed.splitlines()[1:] if "=" in line)
        left = {name: value for name, value in then.items() if name.startswith(("AWS_", "PG"))}
        left.pop("AWS_CA_BUNDLE", None)
        assert left.items() <= environment(endpoints).items()
        assert Settings.resolve({}, then) == Settings.resolve(endpoints.settings(), {})
    finally:
        shell(f"{command} local down")
