"""Requests that nobody's client sends: each gets a response of its own, in bounded memory, and the emulator serves on."""

import http.client
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.emulator.routes import LONGEST_BODY
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import emulator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emulator") / "data"


@pytest.fixture(scope="module")
def process(stack_endpoints: Endpoints, data: Path) -> Iterator[EmulatorProcess]:
    with emulator(stack_endpoints, data) as started:
        yield started


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("method", "path", "headers", "body"),
    [
        ("POST", "/model-invocation-job", {}, b"x" * 1000),
        ("POST", "/model-invocation-job", {"authorization": "AWS4-HMAC-SHA256 x"}, DEEP),
        ("POST", "/model/x/invoke", {}, DEEP),
        ("GET", "/model-invocation-jobs?a=%ff%zz&&=", {}, b""),
        ("GET", "/model-invocation-job/%ff%00", {}, b""),
        ("POST", "/_emulator/faults", {"content-type": "application/json"}, DEEP),
        ("DELETE", "/", {}, b""),
        ("POST", "/model-invocation-job", {}, b"x" * (LONGEST_BODY + 1)),
        ("POST", "/_emulator/faults", {"content-type": "application/json"}, b"x" * (LONGEST_BODY + 1)),
    ],
)
def test_it_is_an_error_of_the_client(
    process: EmulatorProcess, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=60)
    with suppress(BrokenPipeError, ConnectionResetError):  # it reads no further
        connection.request(method, path, body, headers)
    assert 400 <= connection.getresponse().status < 500
    assert process.control.jobs() == []


def test_what_it_keeps_is_for_its_user_alone(process: EmulatorProcess, data: Path) -> None:
    assert process.control.jobs() == []
    assert data.stat().st_mode & 0o077 == 0
    kept = list(data.glob("jobs.sqlite*"))
    assert kept
    assert all(file.stat().st_mode & 0o077 == 0 for file in kept)
