"""HTTP/2 without TLS, which AWS's SDK for JavaScript speaks with the runtime service."""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import h2.config
import h2.connection
import h2.events
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bedrock_pipeline.emulator.errors import ServiceError
from bedrock_pipeline.emulator.signature import check_signature
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import CLAUDE, claude, emulator

PATH = f"/model/{quote(CLAUDE, safe='')}/invoke"


def signed(url: str, endpoints: Endpoints, body: bytes) -> dict[str, str]:
    request = AWSRequest("POST", f"{url}{PATH}", {"content-type": "application/json"}, body)
    keys = Credentials(endpoints.access_key_id, endpoints.secret_access_key)
    SigV4Auth(keys, "bedrock", endpoints.region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def ask(url: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
    """Status and body; None where the connection was cut."""
    authority = urlsplit(url).netloc
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with socket.create_connection(authority.split(":"), timeout=30) as wire:  # type: ignore[arg-type]  # host, port
        connection.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", PATH)]
        connection.send_headers(1, [*pseudo, *headers.items()])
        connection.send_data(1, body, end_stream=True)
        wire.sendall(connection.data_to_send())
        status, answer = 0, b""
        while data := _received(wire):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int({str(name): value for name, value in event.headers}[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    answer += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return status, answer
            wire.sendall(connection.data_to_send())
    return None


def _received(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65536)
    except ConnectionResetError:
        return b""


def test_the_runtime_answers_over_http2_as_over_http1(stack_endpoints: Endpoints, tmp_path: Path) -> None:
    body = json.dumps(claude("hello")).encode()
    with emulator(stack_endpoints, tmp_path) as server:
        answer = ask(server.url, signed(server.url, stack_endpoints, body), body)
        assert answer is not None
        runtime = server.session().client("bedrock-runtime")
        known = json.loads(runtime.invoke_model(modelId=CLAUDE, body=body)["body"].read())
        assert (answer[0], json.loads(answer[1])) == (200, known)
        rejected = ask(server.url, signed(server.url, stack_endpoints, b"{}"), body)
        assert rejected is not None
        assert rejected[0] == 403
        server.control.add_fault(kind="answer_lost", operation="InvokeModel", times=1)
        assert ask(server.url, signed(server.url, stack_endpoints, body), body) is None


@pytest.mark.parametrize(("authority", "fits"), [("127.0.0.1:9", True), ("127.0.0.1:10", False)])
def test_a_signature_of_the_javascript_sdk(authority: str, fits: bool) -> None:
    """Recorded from version 3.1163.0: it signs HTTP/2's `:authority`, and no `host`."""
    headers = {
        "host": authority,
        "content-type": "application/json",
        "content-length": "7",
        "x-amz-user-agent": "aws-sdk-js/3.1163.0",
        "amz-sdk-invocation-id": "7738a26a-b0c7-484a-a7a0-662d4f9fc154",
        "amz-sdk-request": "attempt=1; max=3",
        "x-amz-date": "20261124T213336Z",
        "x-amz-content-sha256": "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261124/us-east-1/bedrock/aws4_request, "
            "SignedHeaders=:authority;amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;"
            "x-amz-content-sha256;x-amz-date;x-amz-user-agent, "
            "Signature=a0866bfeb26489cf258b52bbade9f2aabef05f229e4bb3bbb7d493da91f735e6"
        ),
    }
    url = f"http://{authority}/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke"
    keys, then = (
        ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        datetime(2026, 11, 24, 21, 34, tzinfo=UTC),
    )
    if fits:
        check_signature(keys, then, "POST", url, headers, b'{"a":1}')
        return
    with pytest.raises(ServiceError, match="does not match"):
        check_signature(keys, then, "POST", url, headers, b'{"a":1}')
