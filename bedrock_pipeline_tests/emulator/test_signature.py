"""Signatures: by the right key, of the very request, within five minutes of now; as AWS checks them."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bedrock_pipeline.emulator.errors import ServiceError
from bedrock_pipeline.emulator.signature import check_signature

KEYS = ("AKIDEXAMPLE", "the-secret")
URL, BODY = "http://127.0.0.1:8080/model-invocation-job", b'{"jobName":"a"}'


def signed(keys: tuple[str, str] = KEYS) -> dict[str, str]:
    """The headers of a request that was signed now."""
    request = AWSRequest(method="POST", url=URL, headers={"host": "127.0.0.1:8080"}, data=BODY)
    SigV4Auth(Credentials(*keys), "bedrock", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def check(headers: dict[str, str], *, after: timedelta = timedelta(0), body: bytes = BODY) -> None:
    stamp = headers.get("x-amz-date", "")
    at = datetime.now(UTC)
    if stamp.endswith("Z"):
        at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    check_signature(KEYS, at + after, "POST", URL, headers, body)


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_a_signature_is_good_for_five_minutes(seconds: int) -> None:
    check(signed(), after=timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "said"), [(-301, "not yet current"), (301, "expired")])
def test_an_older_signature_or_one_of_the_future_is_rejected(seconds: int, said: str) -> None:
    with pytest.raises(ServiceError, match=f"Signature {said}") as raised:
        check(signed(), after=timedelta(seconds=seconds))
    assert raised.value.code == "InvalidSignatureException"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({**signed(), "authorization": "Bearer abc"}, "MissingAuthenticationTokenException"),
        ({**signed(), "x-amz-date": ""}, "MissingAuthenticationTokenException"),
        ({**signed(), "x-amz-date": "today"}, "InvalidSignatureException"),
        (signed(("AKIDANOTHER", KEYS[1])), "UnrecognizedClientException"),
        (signed((KEYS[0], "another-secret")), "InvalidSignatureException"),
        ({**signed(), "host": "127.0.0.1:9090"}, "InvalidSignatureException"),
    ],
    ids=["none", "bearer", "no date", "no such date", "other key", "other secret", "other host"],
)
def test_what_is_not_signed_by_the_key_pair_is_rejected(headers: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as raised:
        check(headers)
    assert raised.value.code == code


def test_another_body_than_the_signed_one_is_rejected() -> None:
    with pytest.raises(ServiceError, match="does not match"):
        check(signed(), body=BODY.replace(b"a", b"b"))
