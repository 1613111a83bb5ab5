"""Which errors are retried, and which are final; the file of the records that are retried.

Sources: the errors of InvokeModel in the Bedrock API reference (`ModelTimeoutException` is HTTP 408,
`ModelErrorException` 424, `ThrottlingException` 429, `InternalServerException` 500, `ServiceUnavailableException` 503).
"""

import re
from typing import Final

from bedrock_pipeline.records.error_codes import ErrorKind, error_kind
from bedrock_pipeline.records.rejections import RejectionWriter

#: Code of a response that breaks its schema; in another attempt the model may keep to it.
INVALID_ANSWER: Final = "answer-invalid"
#: Code of a record that its job's output does not mention.
MISSING: Final = "missing"
#: Code of a record that is not sent, because there are too few for a job and the policy is `fail`.
BELOW_MINIMUM: Final = "below-minimum"
#: Code of a record whose chunk or dataset was cancelled.
CANCELLED: Final = "cancelled"

#: `unknown` is an error without a readable code: another attempt may succeed.
_CODES: Final = frozenset({INVALID_ANSWER, MISSING, "unknown"})

#: A message with one of these is about the request or its permissions, whatever else it contains.
_PERMANENT = re.compile(
    r"denied|not authori[sz]ed|forbidden|permission|credential|validation|invalid|malformed|not supported"
    r"|not exist|no such|not found|could not be read|minimum|maximum|exceed|quota",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"\binternal (?:server |service )?(?:error|failure|exception)|internal ?server|internalfailure|try (?:\w+ ){0,3}again"
    r"|try later|retry later|service (?:is )?(?:temporarily )?unavailable|serviceunavailable|temporar|throttl"
    r"|too many requests|timed out",
    re.IGNORECASE,
)


class RetryWriter(RejectionWriter):
    """Writes a chunk's retryable records: `position` in its index, `record_id`, `why` (the error code)."""

    _column = "why"
    _compression = "zstd"


def retryable(code: str) -> bool:
    """Whether another attempt may succeed for a record that ended with this code.

    The code is an HTTP status (Bedrock documents an integer), the name of an exception, or one of this package's.
    """
    return code.strip() in _CODES or error_kind(code) in (
        ErrorKind.TRANSIENT,
        ErrorKind.IN_DOUBT,
        ErrorKind.CONFLICT,
    )


def transient(message: str | None) -> bool:
    """Whether a job that failed with this message may succeed in another attempt; false for unknown messages."""
    return bool(message and _TRANSIENT.search(message) and not _PERMANENT.search(message))
