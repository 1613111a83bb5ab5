"""What an error of AWS means for what we asked.

What belongs here: the sorting of errors into *no* (it did not happen), *in doubt* (it may have happened) and
*broken* (nothing was sent). What is done about it stands in `stages`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from botocore import exceptions as botocore_errors

from bedrock_pipeline.errors import BedrockPipelineError, ServiceUnavailableError

Meaning = Literal["throttled", "refused", "in-doubt", "broken"]

#: A definite no that time cures (service model: ThrottlingException, ServiceQuotaExceededException).
_THROTTLED: Final = frozenset(
    {
        "ThrottlingException",
        "ServiceQuotaExceededException",
        "TooManyRequestsException",
        "Throttling",
        "SlowDown",
    }
)
#: A definite no that a person must cure.
_REFUSED: Final = frozenset(
    {
        "ValidationException",
        "AccessDeniedException",
        "AccessDenied",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "InvalidClientTokenId",
        "ExpiredTokenException",
        "IncompleteSignature",
        "MissingAuthenticationToken",
    }
)
#: Raised before anything goes over the wire.
_BROKEN: Final = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.NoRegionError,
    botocore_errors.ParamValidationError,
    botocore_errors.ProfileNotFound,
    botocore_errors.TokenRetrievalError,
    botocore_errors.EndpointConnectionError,
    botocore_errors.ConnectTimeoutError,
)


class AwsError(ServiceUnavailableError):
    """AWS said no to something that is not a Create, or could not be reached."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What an error means.

    Attributes:
        meaning: throttled (a no that time cures), refused (a no that a person must cure), in doubt (it may have
            happened), broken (nothing was sent).
        code: AWS's error code, or the exception's name.
        message: AWS's message.
    """

    meaning: Meaning
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def classify(error: Exception) -> Classification:
    """Sort an exception that a boto3 call raised. What is not known is in doubt."""
    if isinstance(error, botocore_errors.ClientError):
        code = error.response.get("Error", {}).get("Code", "Unknown")
        message = error.response.get("Error", {}).get("Message", "")
        return Classification(_meaning_of(code), code, message)
    if isinstance(error, LeaseOverError):
        return Classification("throttled", "LeaseOver", error.what)
    if isinstance(error, _BROKEN):
        return Classification("broken", type(error).__name__, str(error))
    return Classification("in-doubt", type(error).__name__, "the answer did not arrive")


def _meaning_of(code: str) -> Meaning:
    if code in _THROTTLED:
        return "throttled"
    return "refused" if code in _REFUSED else "in-doubt"


class LeaseOverError(BedrockPipelineError):
    """A Create was held back by our own hook: its lease was over before it was sent."""
