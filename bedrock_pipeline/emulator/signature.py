"""Who sent a request: signature version 4 for Bedrock's operations, the same key pair by itself for our own routes.

What belongs here: whether a request is signed by the one key pair, now. botocore computes the signature again.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from bedrock_pipeline.emulator.errors import ServiceError

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW = timedelta(minutes=5)


def basic_authorization(keys: tuple[str, str]) -> str:
    """The header by which a key pair is shown to our own routes, as `curl --user KEY:SECRET` sends it."""
    return "Basic " + base64.b64encode(":".join(keys).encode()).decode()


def shows_keys(keys: tuple[str, str] | None, authorization: str) -> bool:
    """Whether a header shows the one key pair; without one, everybody may do everything."""
    if keys is None:
        return True
    given = authorization.encode("latin-1", "replace")
    return all(keys) and hmac.compare_digest(given, basic_authorization(keys).encode())


class _AsSigned(SigV4Auth):
    """Reckons with the headers that the client signed, where botocore would choose them itself."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name, value in request.headers.items():
            headers[name.lower()] = value
        return headers


def check_sender(keys: tuple[str, str], now: datetime, headers: Mapping[str, str]) -> re.Match[str]:
    """Reject what by its headers alone is not signed by `keys`, or was signed more than five minutes off.

    Returns:
        What the header says of the signature.

    Raises:
        ServiceError: one of the three errors that AWS answers such requests with.
    """
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    stamp = headers.get("x-amz-date", "")
    if not found or not stamp:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    if found["key"] != keys[0]:
        raise ServiceError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ServiceError("InvalidSignatureException", "Date must be in ISO8601 'basic format'.") from None
    if abs(now - signed_at) > _SKEW:
        late = "expired" if signed_at < now else "not yet current"
        raise ServiceError(
            "InvalidSignatureException", f"Signature {late}: {stamp} is not within 5 min. of now."
        )
    return found


def check_signature(
    keys: tuple[str, str], now: datetime, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Reject what is not signed by `keys`, or was signed more than five minutes off.

    Raises:
        ServiceError: as of `check_sender`.
    """
    found = check_sender(keys, now, headers)
    stamp = headers["x-amz-date"]
    sent = {**headers, ":authority": headers.get("host", "")}  # HTTP/2's word for it, signed in its place
    signed = {name: sent[name] for name in found["headers"].split(";") if name in sent}
    request = AWSRequest(method=method, url=url, headers=signed, data=body)
    request.context["timestamp"] = stamp
    auth = _AsSigned(Credentials(*keys), found["service"], found["region"])
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(expected, found["signature"]):
        raise ServiceError(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
