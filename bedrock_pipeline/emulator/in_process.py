"""boto3 clients that reach an emulator in their own process.

What belongs here: botocore's requests and responses as those of `protocol.py`. No socket is opened and no thread
started, so that a simulation decides in which order everything happens.
"""

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError

from bedrock_pipeline.emulator.protocol import Protocol, Request, ResponseLostError


def connect(client: Any, protocol: Protocol) -> None:
    """Have every request of a `bedrock` or `bedrock-runtime` client handled by an emulator."""
    client.meta.events.register("before-send.*.*", lambda request, **_: respond(protocol, request))


def respond(protocol: Protocol, request: AWSPreparedRequest) -> AWSResponse:
    """An emulator's response to a request of botocore's.

    Raises:
        ConnectionClosedError: the response is lost, as a fault wants.
    """
    try:
        given = protocol.handle(_received(request))
    except ResponseLostError:
        raise ConnectionClosedError(endpoint_url=request.url) from None
    headers = HTTPHeaders()
    for name, value in given.headers.items():
        headers[name] = value
    return AWSResponse(request.url, given.status, headers, RawBody(given.body))


class RawBody(io.BytesIO):
    """A body as urllib3 gives it."""

    def stream(self, amt: int = 1 << 16, **_: Any) -> Iterator[bytes]:
        """The body in pieces."""
        while piece := self.read(amt):
            yield piece


def _received(request: AWSPreparedRequest) -> Request:
    headers = {"host": urlsplit(request.url).netloc}  # sent by the HTTP library, and signed
    headers |= {name.lower(): _text(value) for name, value in request.headers.items()}
    body: Any = request.body or b""
    return Request(
        request.method, request.url, headers, body.encode() if isinstance(body, str) else bytes(body)
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
