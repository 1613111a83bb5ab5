"""A pytest fixture for projects that write against Bedrock's batch inference.

It is the emulator and an S3 beside it, for the length of a test session. A project takes it with
`pytest_plugins = ["bedrock_pipeline.local.testing"]` in its top `conftest.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from bedrock_pipeline.emulator.control import Control, EmulatorProcess
from bedrock_pipeline.local.home import load_secrets
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline.local.s3 import start_s3


@dataclass(frozen=True)
class Bedrock:
    """What a test is given.

    Attributes:
        session: its clients for `s3`, `bedrock` and `bedrock-runtime` talk to this machine.
        control: jobs, clock, quota and faults of the emulator.
        bucket: an S3 bucket that is there.
        role_arn: a role for jobs.
        root: folder in which a bucket is a folder and an object a file.
    """

    session: boto3.Session
    control: Control
    bucket: str
    role_arn: str
    root: Path


@pytest.fixture(scope="session")
def bedrock_options() -> list[str]:
    """Options of the emulator's command line; a project overrides it."""
    return ["--speed", "1000"]


@pytest.fixture(scope="session")
def bedrock_server(tmp_path_factory: pytest.TempPathFactory, bedrock_options: list[str]) -> Iterator[Bedrock]:
    """The emulator and S3 for the whole session."""
    home = tmp_path_factory.mktemp("bedrock")
    secrets = load_secrets(home)
    keys = secrets["access_key_id"], secrets["secret_access_key"]
    port, root = free_port(), home / "s3"
    (root / "bedrock").mkdir(parents=True)
    s3 = start_s3(home, root, port, *keys)
    try:
        with EmulatorProcess(
            home / "emulator", f"http://127.0.0.1:{port}", *keys, options=bedrock_options
        ) as emulator:
            role = "arn:aws:iam::123456789012:role/bedrock-batch"
            yield Bedrock(emulator.session(), emulator.control, "bedrock", role, root)
    finally:
        s3.end()


@pytest.fixture
def bedrock(bedrock_server: Bedrock) -> Iterator[Bedrock]:
    """The same, without faults and jobs of the test before."""
    bedrock_server.control.reset()
    yield bedrock_server
    bedrock_server.control.clear_faults()
