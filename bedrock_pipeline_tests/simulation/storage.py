"""S3 in memory, as boto3 sees it: requests in, responses out.

What belongs here: the few operations that the product uses, over the mapping that the emulator reads and writes too.
"""

import hashlib
from collections.abc import MutableMapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from bedrock_pipeline.emulator.in_process import RawBody

Objects = MutableMapping[tuple[str, str], bytes]
_MODIFIED = format_datetime(datetime(2030, 1, 1, tzinfo=UTC), usegmt=True)


def respond(objects: Objects, request: AWSPreparedRequest) -> AWSResponse:
    """Do what a request asks."""
    url = urlsplit(request.url)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if request.method == "GET" and not key:
        return _listed(objects, request, bucket, query)
    if request.method == "PUT":
        source = request.headers.get("x-amz-copy-source")
        if source is None:
            objects[bucket, key] = _body(request)
            return _response(request, 200, headers={"ETag": etag(objects[bucket, key])})
        return _copied(objects, request, (bucket, key), _text(source))
    if request.method == "DELETE":
        objects.pop((bucket, key), None)
        return _response(request, 204)
    content = objects.get((bucket, key))
    if content is None:
        return _error(request, 404, "NoSuchKey")
    headers = {"ETag": etag(content), "Last-Modified": _MODIFIED, "Content-Length": str(len(content))}
    if request.method == "HEAD":
        return _response(request, 200, headers=headers)
    return _got(request, content, headers)


def etag(content: bytes) -> str:
    """An object's tag."""
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def unavailable(request: AWSPreparedRequest) -> AWSResponse:
    """What S3 responds while it cannot."""
    return _error(request, 503, "SlowDown")


def _got(request: AWSPreparedRequest, content: bytes, headers: dict[str, str]) -> AWSResponse:
    wanted = request.headers.get("Range")
    if wanted is None:
        return _response(request, 200, content, headers)
    first, _, last = _text(wanted).removeprefix("bytes=").partition("-")
    end = int(last) + 1 if last else len(content)
    part = content[int(first) : end]
    span = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
    return _response(request, 206, part, {**headers, "Content-Length": str(len(part)), "Content-Range": span})


def _copied(
    objects: Objects, request: AWSPreparedRequest, target: tuple[str, str], source: str
) -> AWSResponse:
    bucket, _, key = unquote(source).lstrip("/").partition("/")
    if (bucket, key) not in objects:
        return _error(request, 404, "NoSuchKey")
    objects[target] = objects[bucket, key]
    tag = escape(etag(objects[target]))
    return _response(
        request,
        200,
        f"<CopyObjectResult><ETag>{tag}</ETag><LastModified>2030-01-01T00:00:00Z</LastModified></CopyObjectResult>".encode(),
    )


def _listed(objects: Objects, request: AWSPreparedRequest, bucket: str, query: dict[str, str]) -> AWSResponse:
    prefix = query.get("prefix", "")
    found = sorted(
        (key, content)
        for (place, key), content in list(objects.items())
        if place == bucket and key.startswith(prefix)
    )
    items = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{escape(etag(content))}</ETag>"
        "<LastModified>2030-01-01T00:00:00Z</LastModified></Contents>"
        for key, content in found
    )
    body = (
        f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{items}</ListBucketResult>"
    )
    return _response(request, 200, body.encode())


def _error(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    if request.method == "HEAD":
        return _response(request, status)
    return _response(
        request, status, f"<Error><Code>{code}</Code><Message>by the simulation</Message></Error>".encode()
    )


def _response(
    request: AWSPreparedRequest, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> AWSResponse:
    shown = HTTPHeaders()
    for name, value in (headers or {}).items():
        shown[name] = value
    return AWSResponse(request.url, status, shown, RawBody(body))


def _body(request: AWSPreparedRequest) -> bytes:
    body: Any = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
