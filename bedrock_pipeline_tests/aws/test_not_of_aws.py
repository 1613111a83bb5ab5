"""A response of status 200 that is not AWS's, such as a captive portal's page, says nothing about jobs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from bedrock_pipeline.aws.clients import creating_client, reading_client, runtime_client
from bedrock_pipeline.aws.errors import AwsError, NotOfAwsError, classify, translated
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.connection_strings import without_userinfo
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.settings import Settings

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"
PAGES = {
    "page": ("text/html", b"<html>Please log in</html>"),
    "empty": ("application/json", b"{}"),
    "nothing": ("application/json", b""),
    "list": ("application/json", b'{"invocationJobSummaries": []}'),
}
CALLS: dict[str, Callable[[Settings], Any]] = {
    "List": lambda settings: reading_client(settings).list_model_invocation_jobs(),
    "Get": lambda settings: reading_client(settings).get_model_invocation_job(jobIdentifier=ARN),
    "Stop": lambda settings: reading_client(settings).stop_model_invocation_job(jobIdentifier=ARN),
    "Create": lambda settings: creating_client(settings).create_model_invocation_job(
        jobName="j",
        roleArn="arn:aws:iam::123456789012:role/r",
        modelId="amazon.nova-lite-v1:0",
        inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://b/i"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://b/o/"}},
    ),
    "InvokeModel": lambda settings: runtime_client(settings).invoke_model(modelId="m", body=b"{}"),
}


@pytest.fixture(params=PAGES)
def portal(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings whose Bedrock is a server that answers everything with one page."""
    kind, body = PAGES[request.param]

    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the base class's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Settings(
            bucket="b",
            role_arn="arn:aws:iam::123456789012:role/r",
            access_key_id="AKIA",  # type: ignore[arg-type]  # pydantic makes it a secret
            secret_access_key="secret",  # type: ignore[arg-type]  # the same
            bedrock_endpoint_url=url,
            bedrock_runtime_endpoint_url=url,
            ignore_aws_configuration=True,
        )
        server.shutdown()


@pytest.mark.parametrize("call", CALLS)
def test_it_is_an_error_and_in_doubt(portal: Settings, call: str) -> None:
    with pytest.raises(NotOfAwsError, match="not AWS's") as raised:
        CALLS[call](portal)
    assert classify(raised.value).kind is ErrorKind.IN_DOUBT
    with pytest.raises(AwsError, match=r"not AWS's.*captive portal"), translated("ask"):
        CALLS[call](portal)


def test_the_job_of_a_chunk_is_not_missing_because_a_page_does_not_list_it(portal: Settings) -> None:
    jobs = BedrockJobs(creating_client(portal), reading_client(portal))
    with pytest.raises(AwsError) as raised:
        jobs.find(uuid4())
    assert raised.value.kind is ErrorKind.IN_DOUBT


@pytest.mark.parametrize(
    "url", ["http://user:hunter2@proxy:8080/x", "https://hunter2@host", "http://u:hun@ter2@host/"]
)
def test_an_error_has_no_password_of_an_endpoint(url: str) -> None:
    shown = without_userinfo(f'Could not connect to the endpoint URL: "{url}"')
    assert "hun" not in shown
    assert "ter2" not in shown
    assert shown.startswith('Could not connect to the endpoint URL: "http')
    assert ("proxy:8080/x" in shown) or ("://host" in shown)
