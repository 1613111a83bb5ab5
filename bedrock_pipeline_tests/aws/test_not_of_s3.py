"""A page that a proxy answers in place of S3 is neither an object, nor a list, nor the absence of one."""

import io
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from bedrock_pipeline.aws import objects as aws_objects
from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.aws.errors import AwsError, translated
from bedrock_pipeline.aws.objects import ObjectMissingError, S3Objects
from bedrock_pipeline.aws.responses import server_time
from bedrock_pipeline.records.error_codes import ErrorKind
from bedrock_pipeline.settings import Settings

URI = "s3://b/k"
HTML = {"content-type": "text/html; charset=utf-8"}
TAG = {"etag": '"5d41402abc4b2a76b9719d911017c592"'}
REQUEST_ID = {"x-amz-request-id": "D036B062711CC5E0"}
PAGE = b"<html><body>Please log in</body></html>"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>'
EMPTY_LIST = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
DENIED = b"<Error><Code>AccessDenied</Code></Error>"
MISSING = b"<Error><Code>NoSuchKey</Code></Error>"
#: AWS's own endpoint, and one of another server.
ENDPOINTS = (None, "http://s3.example.com")
READS: dict[str, Callable[[S3Objects], Any]] = {
    "head": lambda objects: objects.head(URI),
    "get": lambda objects: objects.get(URI),
    "get at most": lambda objects: objects.get_at_most(URI, 1_000),
    "random access": lambda objects: objects.random_access(URI).read(),
    "list": lambda objects: list(objects.list("s3://b/")),
    "put": lambda objects: objects.put(URI, b"x"),
    "copy": lambda objects: objects.copy(URI, "s3://b/l"),
}
Respond = Callable[[AWSPreparedRequest], tuple[int, dict[str, str], bytes]]


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


def _raw(body: bytes) -> Any:
    return _Raw(body)


def _answered(endpoint: str | None, respond: Respond) -> S3Objects:
    """Objects whose server answers as `respond` says."""
    client: Any = s3_client(  # its stubs know no handler that responds
        Settings.resolve(
            {
                "bucket": "b",
                "role_arn": "arn:aws:iam::123456789012:role/r",
                "access_key_id": "AKIA",
                "secret_access_key": "s",
                "s3_endpoint_url": endpoint,
                "max_attempts": 1,
            },
            {},
        )
    )

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        status, headers, body = respond(request)
        sized = {"content-length": str(len(body)), **headers}
        raw = _raw(b"" if request.method == "HEAD" else body)
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(sized), raw)

    client.meta.events.register("before-send.s3", answer)
    return S3Objects(client, use_threads=False)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("headers", "body"),
    [(HTML, PAGE), ({**HTML, **TAG, "last-modified": "Thu, 26 Nov 2026 21:24:58 GMT"}, PAGE), (HTML, b"")],
)
def test_a_page_is_an_error_in_doubt(
    endpoint: str | None, status: int, read: str, headers: dict[str, str], body: bytes
) -> None:
    objects = _answered(endpoint, lambda _: (status, headers, body))
    with pytest.raises(AwsError, match="not S3's; it may be a proxy's") as raised:
        READS[read](objects)
    assert raised.value.kind is ErrorKind.IN_DOUBT
    assert not isinstance(raised.value, ObjectMissingError)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda objects: objects.head(URI), f"look up {URI}"),
        (lambda objects: objects.get_at_most(URI, 1_000), f"read {URI}"),
        (lambda objects: objects.download(URI, Path(os.devnull)), f"read {URI}"),
        (lambda objects: list(objects.list("s3://b/x/")), "list s3://b/x/"),
        (lambda objects: objects.put(URI, b"x"), f"write {URI}"),
        (lambda objects: objects.upload(Path(__file__), URI), f"upload {URI}"),
        (lambda objects: objects.copy(URI, "s3://b/l"), f"copy {URI}"),
        (lambda objects: objects.delete([URI]), f"delete {URI}"),
    ],
)
def test_an_error_says_what_was_done_with_which_object(act: Callable[[S3Objects], object], what: str) -> None:
    objects = _answered(None, lambda _: (403, {"content-type": "application/xml"}, DENIED))
    with pytest.raises(AwsError, match=f"Could not {re.escape(what)}: "):
        act(objects)


@pytest.mark.parametrize("read", ["head", "get at most", "random access"])
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {"content-type": "application/json"}, b'{"message": "no route"}'),
        (404, {"content-type": "text/plain"}, b"404 page not found"),
        (404, {"content-type": "text/plain", "x-amz-cf-id": "x"}, b"gone"),
        (404, {**HTML, "x-amz-cf-id": "x"}, PAGE),
        (404, {**HTML, **REQUEST_ID}, PAGE),
        (200, {**HTML, "x-amz-cf-id": "x", "x-amz-cf-pop": "y"}, PAGE),
    ],
)
def test_what_another_server_answers_is_no_absence(
    status: int, headers: dict[str, str], body: bytes, read: str
) -> None:
    with pytest.raises(AwsError, match="not S3's") as raised:
        READS[read](_answered(ENDPOINTS[1], lambda _: (status, headers, body)))
    assert raised.value.kind is ErrorKind.IN_DOUBT


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("headers", "body"), [({}, XHTML), ({}, b""), (REQUEST_ID, XHTML)])
def test_what_is_no_list_lists_nothing(endpoint: str | None, headers: dict[str, str], body: bytes) -> None:
    """Also where its XML can be read, and where a header is S3's."""
    with pytest.raises(AwsError, match="not S3's") as raised:
        list(_answered(endpoint, lambda _: (200, headers, body)).list("s3://b/"))
    assert raised.value.kind is ErrorKind.IN_DOUBT


@pytest.mark.parametrize(
    ("endpoint", "found", "missing"),
    [
        (None, REQUEST_ID, REQUEST_ID),
        (None, {"x-amz-id-2": "x"}, {"x-amz-id-2": "x"}),
        ("http://s3.example.com", TAG, {"content-type": "application/xml"}),
        ("http://s3.example.com", {**TAG, **HTML, "x-amz-version-id": "1"}, REQUEST_ID),
    ],
)
def test_what_servers_of_s3_answer_is_taken(
    endpoint: str | None, found: dict[str, str], missing: dict[str, str]
) -> None:
    """A server that is not AWS's need not have an id of the request."""
    objects = _answered(endpoint, lambda _: (200, found, b"hello"))
    assert objects.head(URI) is not None
    assert (objects.get(URI), objects.get_at_most(URI, 9)) == (b"hello", b"hello")
    listing = _answered(endpoint, lambda _: (200, found if endpoint is None else {}, EMPTY_LIST))
    assert list(listing.list("s3://b/")) == []
    none = _answered(endpoint, lambda request: (404, missing, b"" if request.method == "HEAD" else MISSING))
    assert none.head(URI) is None
    with pytest.raises(ObjectMissingError):
        none.get_at_most(URI, 9)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-range": "bytes 0-4/5"}, b"hello"),
        ({}, b"hello"[:3]),
        ({"content-range": "bytes 0-2/9"}, b"hello"[:3]),
        ({}, PAGE),
    ],
    ids=["whole", "no range", "another object", "page"],
)
def test_a_range_that_was_not_asked_for_is_not_read_as_the_one_that_was(
    headers: dict[str, str], body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers ignore a range, and an object may have been replaced between two requests."""

    def respond(request: AWSPreparedRequest) -> tuple[int, dict[str, str], bytes]:
        return (
            (200, {**REQUEST_ID, **headers}, body) if request.method == "GET" else (200, REQUEST_ID, b"hello")
        )

    stream = _answered(None, respond).random_access(URI)
    stream.seek(1)
    with pytest.raises(AwsError, match=f"Could not read {URI}"):
        stream.read(3)
    monkeypatch.setattr(aws_objects, "_BLOCK", 2)
    if body != b"hello":
        with pytest.raises(AwsError, match=f"Could not read {URI}"):
            _answered(None, respond).get(URI)


def test_a_list_that_is_no_xml_is_an_error() -> None:
    """boto3 itself takes it for an error of the server, and tries again."""
    with pytest.raises(AwsError, match="Internal Server Error") as raised:
        list(_answered(None, lambda _: (200, REQUEST_ID, b"{}")).list("s3://b/"))
    assert not isinstance(raised.value, ObjectMissingError)


def test_xml_that_cannot_be_read_is_an_error_without_the_response() -> None:
    """Of other services, whose responses boto3 quotes whole."""
    client: Any = boto3.client("sts", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.meta.events.register(
        "before-send.sts",
        lambda request, **_: AWSResponse(request.url, 200, HTTPHeaders.from_dict({}), _raw(b"<a>secret")),
    )
    with pytest.raises(AwsError, match="could not be read") as raised, translated("look"):
        client.get_caller_identity()
    assert raised.value.kind is ErrorKind.IN_DOUBT
    assert "secret" not in str(raised.value)


AT = datetime(2026, 11, 26, 21, 24, 58, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("Thu, 26 Nov 2026 21:24:58 GMT", AT),
        ("Thu, 26 Nov 2026 21:24:58 GMT, Thu, 26 Nov 2026 21:24:59 GMT", AT),
        ("Thu, 26 Nov 2026 21:24:58 -0000", AT),
        ("Thu, 26 Nov 2026 21:24:58", AT),
        ("soon", None),
        ("", None),
        ("Thu, 99 Nov 2026 21:24:58 GMT", None),
    ],
)
def test_the_time_of_a_date_header(header: str, read: datetime | None) -> None:
    """A proxy that adds a second one must not stop a submission by an error of types."""
    assert server_time({"date": header} if header else {}) == read
