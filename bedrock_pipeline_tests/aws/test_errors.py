"""The classification of errors, as one table: each row decides whether a request is sent again, and may be paid again."""

from typing import Any

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from bedrock_pipeline.aws.errors import AwsError, LeaseOverError, classify, translated
from bedrock_pipeline.aws.objects import ObjectMissingError, ObjectTooLargeError
from bedrock_pipeline.outages import cause_of
from bedrock_pipeline.records.error_codes import ErrorKind, error_kind

TRANSIENT, INVALID, DENIED = ErrorKind.TRANSIENT, ErrorKind.INVALID, ErrorKind.DENIED
NOT_FOUND, CONFLICT, IN_DOUBT = ErrorKind.NOT_FOUND, ErrorKind.CONFLICT, ErrorKind.IN_DOUBT

#: As AWS, S3 and the models write them: names of exceptions, HTTP statuses, types in a body.
CODES = {
    TRANSIENT: """ThrottlingException Throttling ThrottledException TooManyRequestsException SlowDown
        RequestLimitExceeded ServiceQuotaExceededException ModelNotReadyException overloaded_error rate_limit_error
        425 429""",
    INVALID: "ValidationException invalid_request_error request_too_large 400 405 413 422 499",
    DENIED: """AccessDeniedException AccessDenied UnrecognizedClientException InvalidSignatureException
        SignatureDoesNotMatch InvalidClientTokenId ExpiredTokenException ExpiredToken IncompleteSignature
        MissingAuthenticationTokenException authentication_error permission_error 401 403""",
    NOT_FOUND: "ResourceNotFoundException NotFound NoSuchKey NoSuchBucket not_found_error 404",
    CONFLICT: "ConflictException 409",
    IN_DOUBT: """InternalServerException InternalServerError InternalFailure InternalError internal
        ServiceUnavailableException ServiceUnavailable unavailable ModelErrorException ModelStreamErrorException
        ModelTimeoutException timeout RequestTimeout GatewayTimeout BadGateway api_error server_error timeout_error
        408 424 500 502 503 504 599""",
}
#: Operations that are called, by service.
CALLED = {
    "bedrock": (
        "CreateModelInvocationJob",
        "GetModelInvocationJob",
        "ListModelInvocationJobs",
        "StopModelInvocationJob",
    ),
    "bedrock-runtime": ("InvokeModel", "Converse", "CountTokens"),
}
_URL = {"endpoint_url": "https://bedrock.us-east-1.amazonaws.com"}


def client_error(code: str, status: int = 400, message: str = "as AWS says it") -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "CreateModelInvocationJob")


@pytest.mark.parametrize(
    ("code", "kind"), [(code, kind) for kind, codes in CODES.items() for code in codes.split()]
)
def test_a_code_has_a_kind(code: str, kind: ErrorKind) -> None:
    found = classify(client_error(code, status=418))
    assert (found.kind, found.code, found.status) == (kind, code, 418)
    assert str(found) == f"{code}: as AWS says it"
    assert error_kind(f" {code.lower()} ") is kind, "in any spelling"


@pytest.mark.parametrize(("service", "operation"), [(s, one) for s, names in CALLED.items() for one in names])
def test_every_error_that_aws_declares_for_an_operation_has_a_kind(service: str, operation: str) -> None:
    keys = {"region_name": "us-east-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    client = boto3.client(service, **keys)  # type: ignore[call-overload]  # by its name
    declared = {shape.name for shape in client.meta.service_model.operation_model(operation).error_shapes}
    assert {"ThrottlingException", "AccessDeniedException", "ValidationException"} <= declared
    assert {name for name in declared if error_kind(name) is None} == set()


@pytest.mark.parametrize("code", ["", "Unknown", "SomethingNew", "200", "302", "600", "9" * 5000])
def test_a_code_that_is_not_known_is_in_doubt(code: str) -> None:
    assert error_kind(code) is None
    assert classify(client_error(code)).kind is IN_DOUBT, "a job may exist"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (botocore_errors.NoCredentialsError(), TRANSIENT),
        (botocore_errors.PartialCredentialsError(provider="env", cred_var="x"), TRANSIENT),
        (botocore_errors.NoRegionError(), TRANSIENT),
        (botocore_errors.ProfileNotFound(profile="p"), TRANSIENT),
        (botocore_errors.TokenRetrievalError(provider="sso", error_msg="expired"), TRANSIENT),
        (botocore_errors.EndpointConnectionError(**_URL), TRANSIENT),
        (botocore_errors.ConnectTimeoutError(**_URL), TRANSIENT),
        (botocore_errors.ParamValidationError(report="a prompt"), INVALID),
        # The request had left when these came up.
        (botocore_errors.ReadTimeoutError(**_URL), IN_DOUBT),
        (botocore_errors.ConnectionClosedError(**_URL), IN_DOUBT),
        (botocore_errors.HTTPClientError(error=OSError("x")), IN_DOUBT),
        (botocore_errors.SSLError(error=OSError("x"), **_URL), IN_DOUBT),
        (ValueError("of the SDK itself"), IN_DOUBT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_exception_of_the_sdk_has_a_kind(error: Exception, kind: ErrorKind) -> None:
    found = classify(error)
    assert (found.kind, found.code, found.status) == (kind, type(error).__name__, None)
    assert found.no_connection is (kind is TRANSIENT)
    assert "a prompt" not in str(found)


def test_throttling_is_no_lack_of_a_connection() -> None:
    assert not classify(client_error("ThrottlingException", 429)).no_connection


def test_a_transfer_is_classified_by_its_cause() -> None:
    def upload() -> None:
        try:
            raise client_error("SlowDown", 503)
        except ClientError:
            raise S3UploadFailedError("Failed to upload") from None

    said = r"Could not upload it: SlowDown: as AWS says it\."
    with pytest.raises(AwsError, match=said) as raised, translated("upload it"):
        upload()
    assert raised.value.kind is TRANSIENT


@pytest.mark.parametrize(
    ("kind", "permanent", "passes"),
    [
        (TRANSIENT, False, True),
        (INVALID, True, False),
        (DENIED, True, False),
        (NOT_FOUND, True, False),
        (CONFLICT, False, False),
        (IN_DOUBT, False, True),
    ],
)
def test_what_follows_from_a_kind(kind: ErrorKind, permanent: bool, passes: bool) -> None:
    assert kind.permanent is permanent
    code = CODES[kind].split()[0]
    error = AwsError("Could not do it.", "", classify(client_error(code)))
    assert cause_of(error) == (code if passes else None)


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("InvalidObjectState", 403, False),  # archived: until somebody restores it
        ("KMS.DisabledException", 400, False),
        ("SomethingNew", 400, False),
        ("SomethingNew", 429, True),
        ("SomethingNew", 503, True),
        ("RequestTimeout", 400, True),  # of a known code its status says nothing
        ("NoSuchKey", 404, False),
    ],
)
def test_whether_an_unknown_code_passes_by_itself_follows_from_its_status(
    code: str, status: int, passes: bool
) -> None:
    assert cause_of(AwsError("Could not do it.", "", classify(client_error(code, status)))) == (
        code if passes else None
    )


@pytest.mark.parametrize(
    ("error", "passes"),
    [(ObjectMissingError, False), (ObjectTooLargeError, False), (LeaseOverError, True), (AwsError, True)],
)
def test_what_aws_has_not_said_follows_from_the_error(error: type[AwsError], passes: bool) -> None:
    assert (cause_of(error("It is so.")) is not None) == passes


def test_only_what_does_not_exist_is_raised_as_missing() -> None:
    class MissingError(AwsError):
        pass

    raised = []
    for code in ("NoSuchKey", "AccessDenied", "SlowDown"):
        with pytest.raises(AwsError) as caught, translated("get it", not_found=MissingError):
            raise client_error(code)
        raised.append(type(caught.value))
    assert raised == [MissingError, AwsError, AwsError]


def test_other_errors_are_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated("divide"):
        _ = 1 / 0
