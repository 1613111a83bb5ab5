"""Requests that nobody's client sends: each gets a response of its own, in bounded memory, and the emulator serves on."""

import asyncio
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.requests import Request

from bedrock_pipeline.emulator import http2, routes
from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.emulator.http2 import LONGEST_HEAD
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
SIGNED = (
    "AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/bedrock/aws4_request, "
    "SignedHeaders=host, Signature=" + "0" * 64
)


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


@pytest.mark.parametrize(
    ("path", "authorization"),
    [
        ("/model/x/invoke", ""),
        ("/model/x/invoke", "AWS4-HMAC-SHA256 x"),
        ("/model-invocation-job", SIGNED.format(key="somebody")),
        ("/_emulator/faults", "Basic eDp5"),
    ],
)
def test_what_nobody_has_signed_is_rejected_before_its_body_is_read(
    process: EmulatorProcess, path: str, authorization: str
) -> None:
    connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=60)
    connection.putrequest("POST", path)
    connection.putheader("content-length", str(LONGEST_BODY))
    connection.putheader("content-type", "application/json")
    connection.putheader("x-amz-date", "20260101T000000Z")
    if authorization:
        connection.putheader("authorization", authorization)
    connection.endheaders()  # and no body
    assert connection.getresponse().status in (401, 403)


def test_bodies_are_held_in_bounded_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MOST_BYTES", 100)
    monkeypatch.setattr(routes, "LONGEST_BODY", 70)
    bodies = routes._Bodies()

    def request(size: int) -> Request:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        return Request({"type": "http", "method": "POST", "headers": []}, receive)

    async def use() -> list[int]:
        found = []
        for size in (60, 71):
            try:
                async with bodies.read(request(size)) as first:
                    found.append(len(first))
                    async with bodies.read(request(size)) as second:
                        found.append(len(second))
            except routes._NotReadError as error:
                found.append(error.response().status_code)
        async with bodies.read(request(70)) as again:
            found.append(len(again))
        return found

    assert asyncio.run(use()) == [60, 503, 413, 70]


def test_a_head_without_end_is_cut(process: EmulatorProcess) -> None:
    host, _, port = urlsplit(process.url).netloc.partition(":")
    hostile = b"GET / HTTP/1.1\r\nx: " + b"x" * (1000 * LONGEST_HEAD)
    with (
        socket.create_connection((host, int(port)), timeout=60) as endless,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        endless.sendall(hostile)
    assert process.control.jobs() == []


def test_connections_beyond_a_number_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "MOST_CONNECTIONS", 3)

    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def use() -> list[bytes]:
        config = uvicorn.Config(answer, http=http2.EitherVersion, lifespan="off", port=0, log_level="error")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        found, writers = [], []
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            with suppress(ConnectionError):
                writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                found.append(await reader.read(12))
        for writer in writers:
            writer.close()
        server.should_exit = True
        await serving
        return [one for one in found if one]

    assert asyncio.run(use()) == [b"HTTP/1.1 204"] * 3
