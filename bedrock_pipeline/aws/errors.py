"""Errors of AWS, translated into ours and classified.

What follows from a classification is decided by whoever called the operation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from boto3.exceptions import Boto3Error
from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from bedrock_pipeline.connection_strings import without_userinfo
from bedrock_pipeline.errors import ServiceUnavailableError
from bedrock_pipeline.records.error_codes import ErrorKind, error_kind

#: Raised before anything is sent; another time it may be.
_NOT_SENT: Final = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.NoRegionError,
    botocore_errors.ProfileNotFound,
    botocore_errors.TokenRetrievalError,
    botocore_errors.EndpointConnectionError,
    botocore_errors.ConnectTimeoutError,
)


class NotOfAwsError(botocore_errors.BotoCoreError):
    """A response came from something between this machine and AWS."""

    fmt = "the response, of status {status}, is not AWS's: it has no x-amzn-requestid, so it may be a proxy's or a captive portal's"


class NotOfS3Error(NotOfAwsError):
    """A response came from something between this machine and S3."""

    fmt = "the response, of status {status}, is not S3's; it may be a proxy's or a captive portal's"


@dataclass(frozen=True, slots=True)
class Classification:
    """What an error of AWS means.

    Attributes:
        code: AWS's error code, or the name of the exception.
        message: AWS's message.
        status: HTTP status of the response; None if there was none.
    """

    kind: ErrorKind
    code: str
    message: str
    status: int | None = None

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later, if nobody does anything; of a code that is not known the status says so."""
        unknown = self.status is not None and error_kind(self.code) is None
        kind = error_kind(str(self.status)) if unknown else self.kind
        return kind in (ErrorKind.TRANSIENT, ErrorKind.IN_DOUBT)

    @property
    def no_connection(self) -> bool:
        """Whether the request did not leave this machine, so that no other would either."""
        return self.kind is ErrorKind.TRANSIENT and self.status is None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class AwsError(ServiceUnavailableError):
    """AWS rejected a request or did not respond.

    Attributes:
        classification: what the error means; where AWS has said nothing, what the class of the error means.
    """

    _of_class: ClassVar[ErrorKind] = ErrorKind.IN_DOUBT

    def __init__(self, what: str, fix: str = "", classification: Classification | None = None) -> None:
        super().__init__(what, fix)
        self.classification = classification or Classification(self._of_class, type(self).__name__, what)

    @property
    def kind(self) -> ErrorKind:
        """The classification's kind."""
        return self.classification.kind


def classify(error: Exception) -> Classification:
    """Classify an exception that a boto3 call raised; what is not known is in doubt."""
    if isinstance(error, Boto3Error) and isinstance(error.__context__, Exception):
        return classify(error.__context__)  # transfers wrap the cause
    name = type(error).__name__
    if isinstance(error, botocore_errors.ClientError):
        details = error.response.get("Error", {})
        code = details.get("Code", "Unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return Classification(
            error_kind(code) or ErrorKind.IN_DOUBT, code, details.get("Message", ""), status
        )
    if isinstance(error, botocore_errors.ParamValidationError):  # whose own text quotes the request
        return Classification(
            ErrorKind.INVALID, name, "the request has parameters that the operation does not"
        )
    if isinstance(error, _NOT_SENT):
        return Classification(ErrorKind.TRANSIENT, name, without_userinfo(str(error)))
    if isinstance(error, NotOfAwsError):
        return Classification(ErrorKind.IN_DOUBT, name, str(error))
    if isinstance(error, ResponseParserError):  # whose own text quotes the response
        return Classification(ErrorKind.IN_DOUBT, name, "the response could not be read")
    return Classification(ErrorKind.IN_DOUBT, name, "no response arrived")


class LeaseOverError(AwsError):
    """A Create was not sent, because the lease had ended."""


@contextmanager
def translated(action: str, fix: str = "", not_found: type[AwsError] = AwsError) -> Iterator[None]:
    """Raise what boto3 raises in the block as an `AwsError`, and as `not_found` if something does not exist.

    The message is "Could not " and the action; `fix` says what to do about it.
    """
    try:
        yield
    except (
        botocore_errors.ClientError,
        botocore_errors.BotoCoreError,
        Boto3Error,
        ResponseParserError,
    ) as error:
        classification = classify(error)
        kind = not_found if classification.kind is ErrorKind.NOT_FOUND else AwsError
        raise kind(f"Could not {action}: {classification}.", fix, classification) from error
