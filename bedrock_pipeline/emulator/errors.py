"""The service's errors.

What belongs here: their names and HTTP statuses (from the service models that botocore ships), and those that every
AWS service answers a wrong signature with.
"""

from typing import Final

from botocore.session import Session

_SESSION = Session()
_STATUS: Final = {
    shape.name: int(shape.metadata.get("error", {}).get("httpStatusCode", 400))
    for name in ("bedrock", "bedrock-runtime")
    for shape in _SESSION.get_service_model(name).error_shapes
} | {
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnknownOperationException": 404,
}


class ServiceError(Exception):
    """An error that the service answers with."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.code]

    @property
    def header(self) -> str:
        """The value of the header `x-amzn-errortype`."""
        return f"{self.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"


def invalid(message: str) -> ServiceError:
    """A ValidationException."""
    return ServiceError("ValidationException", message)


def known_error(code: str) -> bool:
    """Whether the service has an error of this name."""
    return code in _STATUS
