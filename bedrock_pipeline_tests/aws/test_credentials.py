"""Credentials come from boto3's chain everywhere, and are renewed while a process runs.

The credentials here are those of a `credential_process`, which expire while the test looks: boto3 asks the process again.
"""

import io
import json
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from dagster_aws.s3 import S3Resource
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from moto import mock_aws

from bedrock_pipeline.aws.arrow_files import results_filesystem
from bedrock_pipeline.aws.clients import reading_client, runtime_client, s3_client, session
from bedrock_pipeline.aws.table_storage import delta_options, iceberg_properties
from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.queue import BedrockQueueConfig
from bedrock_pipeline.settings import InvalidSettingError, Settings

ROLE = "arn:aws:iam::123456789012:role/batch"
KEY = "11111111-2222-3333-4444-555555555555"
HERE = {"BUCKET": "bucket", "ROLE_ARN": ROLE}


@dataclass
class Process:
    """A program that gives out keys, each good for some seconds, numbered from 1."""

    folder: Path
    lives_s: int = 3600

    @property
    def asked(self) -> int:
        """How often it was asked."""
        counter = self.folder / "asked"
        return len(counter.read_text()) if counter.exists() else 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the chain's only source, in a profile."""
        program = self.folder / "keys.py"
        program.write_text(
            "import datetime, json, pathlib\n"
            f"counter = pathlib.Path({str(self.folder / 'asked')!r})\n"
            "with counter.open('a') as file: file.write('x')\n"
            "number = len(counter.read_text())\n"
            "now = datetime.datetime.now(datetime.timezone.utc)\n"
            f"end = now + datetime.timedelta(seconds={self.lives_s})\n"
            "print(json.dumps({'Version': 1, 'AccessKeyId': f'ASIA{number}', 'SecretAccessKey': 's',\n"
            "    'SessionToken': f'token-{number}', 'Expiration': end.isoformat()}))\n"
        )
        config = self.folder / "config"
        config.write_text(f"[profile company]\ncredential_process = {sys.executable} {program}\n")
        config.chmod(stat.S_IRUSR | stat.S_IWUSR)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_PROFILE", "company")


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Process]:
    def installed(lives_s: int) -> Process:
        found = Process(tmp_path, lives_s)
        found.install(monkeypatch)
        return found

    return installed


@dataclass
class Signed:
    """Responds to requests itself, and notes the access key and the session token that they were signed with."""

    body: bytes
    keys: list[tuple[str, str]] = field(default_factory=list)

    def respond(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        key = headers["authorization"].partition("Credential=")[2].partition("/")[0]
        self.keys.append((key, headers.get("x-amz-security-token", "")))
        raw: Any = _Raw(self.body)
        given = [("content-length", str(len(self.body))), ("x-amzn-requestid", "1")]
        return AWSResponse("https://here", 200, HTTPHeaders.from_pairs(given), raw)


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _clients(settings: Settings) -> dict[str, Any]:
    return {
        "s3": s3_client(settings),
        "the S3 of Dagster's resource": _resources_client(settings),
        "bedrock": reading_client(settings),
        "bedrock-runtime": runtime_client(settings),
    }


#: A call of each, and a body that answers it.
CALLS: dict[str, tuple[Callable[[Any], object], bytes]] = {
    "s3": (lambda client: client.list_objects_v2(Bucket="bucket"), b"<ListBucketResult/>"),
    "the S3 of Dagster's resource": (
        lambda client: client.list_objects_v2(Bucket="bucket"),
        b"<ListBucketResult/>",
    ),
    "bedrock": (lambda client: client.list_model_invocation_jobs(), b"{}"),
    "bedrock-runtime": (lambda client: client.invoke_model(modelId="a.b", body=b"{}"), b"{}"),
}


def _resources_client(settings: Settings) -> Any:
    return DeploymentResource(s3=S3Resource())._s3_client(settings)


@pytest.mark.parametrize("name", CALLS)
def test_credentials_that_expire_are_renewed_in_a_running_process(
    process: Callable[[int], Process], name: str
) -> None:
    """boto3 renews what is good for less than ten minutes before it signs; so these keys are good for one request."""
    process(2)
    call, body = CALLS[name]
    client, signed = _clients(Settings.resolve({}, HERE))[name], Signed(body)
    client.meta.events.register("before-send", signed.respond)
    for _ in range(3):
        call(client)
    assert len({key for key, _ in signed.keys}) == 3, "each request has its own keys"
    assert all(token == key.replace("ASIA", "token-") for key, token in signed.keys)


def test_the_clients_of_a_deployment_look_credentials_up_once(process: Callable[[int], Process]) -> None:
    """On a machine of many runs each look-up is a call of the instance's metadata or of STS."""
    keys = process(3600)
    with open_deployment(Settings.resolve({}, HERE)):
        assert keys.asked == 1


def test_tables_get_their_credentials_from_the_chain(process: Callable[[int], Process]) -> None:
    """Deltalake and PyIceberg have chains of their own, which know no credential_process."""
    process(3600)
    settings = Settings.resolve({}, HERE)
    options, properties = delta_options(settings, "s3://b/t"), iceberg_properties(settings)
    assert options["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert options["AWS_SESSION_TOKEN"].startswith("token-")
    assert properties["s3.session-token"].startswith("token-")
    assert delta_options(settings, "/a/local/folder") == {}


def test_arrow_reads_through_boto3(process: Callable[[int], Process]) -> None:
    """Arrow's own S3 is not used: results are read with the profile's keys, each request with those of its time."""
    process(2)
    with mock_aws(config={"core": {"mock_credentials": False}}):
        settings = Settings.resolve({}, HERE)
        client = s3_client(settings)
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="results/a", Body=b"rows")
        files = results_filesystem(settings)
        with files.open_input_file("bucket/results/a") as file:
            assert file.read() == b"rows"
        assert [one.path for one in files.get_file_info(pa_fs.FileSelector("bucket/results"))] == [
            "bucket/results/a"
        ]
        assert type(files) is pa_fs.PyFileSystem


@pytest.mark.parametrize(
    "given",
    [
        {"access_key_id": "ASIA1", "secret_access_key": "s", "session_token": "token-1"},
        {"access_key_id": "AKIA1", "secret_access_key": "s"},
    ],
)
def test_keys_that_are_given_come_before_the_chain(
    process: Callable[[int], Process], given: dict[str, str]
) -> None:
    """Also in a queue's configuration, and with a session token, without which temporary keys are of no use."""
    keys = process(3600)
    queue = BedrockQueueConfig.model_validate(
        {"model_id": "amazon.nova-lite-v1:0", "s3_input_bucket": "bucket", "role_arn": ROLE, **given}
    )
    for settings in (Settings.resolve({**HERE_AS_SETTINGS, **given}, {}), queue.settings()):
        found = session(settings).get_credentials()
        assert found is not None
        assert (found.access_key, found.token) == (given["access_key_id"], given.get("session_token"))
        client: Any = _resources_client(settings)
        assert client._request_signer._credentials.token == given.get("session_token")
        assert delta_options(settings, "s3://b/t").get("AWS_SESSION_TOKEN") == given.get("session_token")
    assert keys.asked == 0
    assert "token-1" not in repr(queue)
    assert "token-1" not in json.dumps(queue.stored())


HERE_AS_SETTINGS = {"bucket": "bucket", "role_arn": ROLE}


def test_a_session_token_alone_is_an_error() -> None:
    with pytest.raises(InvalidSettingError, match="session_token: goes with access_key_id"):
        Settings.resolve({**HERE_AS_SETTINGS, "session_token": "t"}, {})
    with pytest.raises(ConfigurationError, match="session_token needs access_key_id"):
        BedrockQueueConfig.model_validate({"model_id": "amazon.nova-lite-v1:0", "session_token": "t"})


class _S3(BaseHTTPRequestHandler):
    """A bucket without objects that takes any: what deltalake asks to create a table."""

    written: dict[str, dict[str, str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "list-type" in self.path:
            self._respond(
                200,
                b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
            )
        else:
            self._respond(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.written[self.path] = {name.lower(): value for name, value in self.headers.items()}
        self._respond(200, b"")

    def do_HEAD(self) -> None:
        self._respond(404, b"")

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", '"e"')
        self.end_headers()
        self.wfile.write(body)


@pytest.mark.parametrize("bucket_key", [True, False])
def test_a_delta_table_is_written_under_the_key(bucket_key: bool) -> None:
    """What deltalake sends is looked at: its options are names that it ignores if they are wrong."""
    written: dict[str, dict[str, str]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (_S3,), {"written": written}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        settings = Settings.resolve(
            {
                **HERE_AS_SETTINGS,
                "access_key_id": "ASIA1",
                "secret_access_key": "s",
                "session_token": "token-1",
                "kms_key_id": KEY,
                "bucket_key": bucket_key,
                "s3_endpoint_url": f"http://127.0.0.1:{server.server_port}",
            },
            {},
        )
        options = delta_options(settings, "s3://bucket/table")
        with suppress(TableNotFoundError):  # it is read at once, and nothing is kept here
            DeltaTable.create("s3://bucket/table", pa.schema([("a", pa.string())]), storage_options=options)
    finally:
        server.shutdown()
        server.server_close()
    [sent] = written.values()
    assert sent["x-amz-server-side-encryption"] == "aws:kms"
    assert sent["x-amz-server-side-encryption-aws-kms-key-id"] == KEY
    assert (sent.get("x-amz-server-side-encryption-bucket-key-enabled") == "true") is bucket_key
    assert sent["x-amz-security-token"] == "token-1"


def test_china_has_an_endpoint_of_its_own() -> None:
    settings = Settings.resolve({**HERE_AS_SETTINGS, "region": "cn-north-1"}, {})
    assert delta_options(settings, "s3://b/t")["AWS_ENDPOINT_URL"] == "https://s3.cn-north-1.amazonaws.com.cn"
    assert s3_client(settings).meta.endpoint_url == "https://s3.cn-north-1.amazonaws.com.cn"
    for region in ("us-east-1", "us-gov-west-1"):
        here = settings.model_copy(update={"region": region})
        assert "AWS_ENDPOINT_URL" not in delta_options(here, "s3://b/t")
