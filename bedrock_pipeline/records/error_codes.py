"""AWS's error codes, classified.

One table for every operation, and for the errors of records in a job's output. What follows from a classification is
decided where the operation is called. Sources: the service models of S3, Bedrock and Bedrock Runtime, and "Common
errors" of the Bedrock API reference.
"""

import re
from enum import StrEnum
from typing import Final


class ErrorKind(StrEnum):
    """What an error says about the request that it answers."""

    #: It was not carried out; the same request may succeed later (throttling, quotas, no connection).
    TRANSIENT = "transient"
    #: It was not carried out and never will be: the request itself is invalid.
    INVALID = "invalid"
    #: It was not carried out: credentials or permissions forbid it, whatever the request says.
    DENIED = "denied"
    #: It was not carried out: what it names does not exist.
    NOT_FOUND = "not found"
    #: It contradicts an earlier request.
    CONFLICT = "conflict"
    #: It may have been carried out: an internal error, a timeout, a response that was lost.
    IN_DOUBT = "in doubt"

    @property
    def permanent(self) -> bool:
        """Whether repeating the request cannot help."""
        return self in (ErrorKind.INVALID, ErrorKind.DENIED, ErrorKind.NOT_FOUND)


#: Names in lower case, without "Exception".
_NAMES: Final[dict[ErrorKind, str]] = {
    ErrorKind.TRANSIENT: """throttling throttled toomanyrequests slowdown requestlimitexceeded servicequotaexceeded
        modelnotready""",
    ErrorKind.INVALID: "validation",
    ErrorKind.DENIED: """accessdenied unrecognizedclient invalidsignature signaturedoesnotmatch invalidclienttokenid
        expiredtoken incompletesignature missingauthenticationtoken""",
    ErrorKind.NOT_FOUND: "resourcenotfound notfound nosuchkey nosuchbucket",
    ErrorKind.CONFLICT: "conflict",
    ErrorKind.IN_DOUBT: """internalserver internalservererror internalfailure internalerror internal serviceunavailable
        unavailable modelerror modelstreamerror modeltimeout timeout requesttimeout gatewaytimeout badgateway""",
}
_BY_NAME: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BY_STATUS: Final = {
    **dict.fromkeys((425, 429), ErrorKind.TRANSIENT),
    **dict.fromkeys((401, 403), ErrorKind.DENIED),
    404: ErrorKind.NOT_FOUND,
    409: ErrorKind.CONFLICT,
    **dict.fromkeys((408, 424), ErrorKind.IN_DOUBT),
}
_NOT_LETTERS = re.compile(r"[^a-z]")


def error_kind(code: str) -> ErrorKind | None:
    """Classify an error code; None for one that is not known.

    The code is the name of an exception in any spelling (`ThrottlingException`, `too_many_requests`), or an HTTP status.
    """
    code = code.strip()
    if not code.isdecimal():
        return _BY_NAME.get(_NOT_LETTERS.sub("", code.lower()).removesuffix("exception"))
    status = int(code[:9])  # a hostile code may have thousands of digits, which `int` rejects
    if 500 <= status <= 599:
        return ErrorKind.IN_DOUBT
    return _BY_STATUS.get(status, ErrorKind.INVALID if 400 <= status <= 499 else None)
