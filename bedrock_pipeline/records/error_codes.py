"""AWS's error codes, classified; and the codes of responses that are no answer.

One table for every operation, and for the errors of records in a job's output; one for the stop reasons of all models. What follows from a classification is
decided where the operation is called. Sources: the service models of S3, Bedrock and Bedrock Runtime, and "Common
errors" of the Bedrock API reference; "Errors" of Anthropic's API; "Handling stop reasons" of Anthropic, `StopReason` of the Converse API, and `finish_reason`
of OpenAI's, Mistral's and Z.ai's chat completions.
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
        modelnotready overloadederror ratelimiterror""",
    ErrorKind.INVALID: "validation invalidrequesterror requesttoolarge",
    ErrorKind.DENIED: """accessdenied unrecognizedclient invalidsignature signaturedoesnotmatch invalidclienttokenid
        expiredtoken incompletesignature missingauthenticationtoken authenticationerror permissionerror""",
    ErrorKind.NOT_FOUND: "resourcenotfound notfound nosuchkey nosuchbucket notfounderror",
    ErrorKind.CONFLICT: "conflict",
    ErrorKind.IN_DOUBT: """internalserver internalservererror internalfailure internalerror internal serviceunavailable
        unavailable modelerror modelstreamerror modeltimeout timeout requesttimeout gatewaytimeout badgateway apierror
        servererror timeouterror""",
}
_BY_NAME: Final = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_BY_STATUS: Final = {
    **dict.fromkeys((425, 429), ErrorKind.TRANSIENT),
    **dict.fromkeys((401, 403), ErrorKind.DENIED),
    404: ErrorKind.NOT_FOUND,
    409: ErrorKind.CONFLICT,
    **dict.fromkeys((408, 424), ErrorKind.IN_DOUBT),
}


class Incomplete(StrEnum):
    """Why a response is not the model's whole answer; the code of its record. Its tokens were paid for."""

    DECLINED = "declined"
    FILTERED = "filtered"
    CUT_OFF = "cut-off"
    CONTEXT_FULL = "context-full"
    PAUSED = "paused"
    MALFORMED = "malformed"
    BROKEN_OFF = "broken-off"
    EMPTY = "empty"


#: Stop reasons of whole responses, in lower case.
WHOLE: Final = frozenset(
    {
        *("end_turn", "stop", "stop_sequence", "eos", "eos_token", "finish", "finished", "complete"),
        *("tool_use", "tool_calls", "function_call"),
    }
)
#: Stop reasons of incomplete responses, in lower case. A response with a reason that is in neither table is judged by what
#: it holds.
STOP_REASONS: Final[dict[str, Incomplete]] = {
    "refusal": Incomplete.DECLINED,
    **dict.fromkeys(
        ("content_filtered", "content_filter", "guardrail_intervened", "sensitive", "error_toxic"),
        Incomplete.FILTERED,
    ),
    **dict.fromkeys(("max_tokens", "length"), Incomplete.CUT_OFF),
    **dict.fromkeys(
        ("model_context_window_exceeded", "model_length", "error_limit"), Incomplete.CONTEXT_FULL
    ),
    **dict.fromkeys(("pause_turn", "compaction"), Incomplete.PAUSED),
    **dict.fromkeys(("malformed_model_output", "malformed_tool_use"), Incomplete.MALFORMED),
    **dict.fromkeys(
        ("error", "network_error", "insufficient_system_resource", "abort"), Incomplete.BROKEN_OFF
    ),
}
#: What each means, for the error's message.
MEANINGS: Final[dict[Incomplete, str]] = {
    Incomplete.DECLINED: "the model declined to answer",
    Incomplete.FILTERED: "the response was filtered",
    Incomplete.CUT_OFF: "the response was cut off at max_tokens",
    Incomplete.CONTEXT_FULL: "the response was cut off at the end of the model's context window",
    Incomplete.PAUSED: "the model paused its turn",
    Incomplete.MALFORMED: "the model's output is malformed",
    Incomplete.BROKEN_OFF: "the model broke off with an error",
    Incomplete.EMPTY: "the response is empty",
}
_NOT_LETTERS = re.compile(r"[^a-z]")


def incomplete_kind(stop_reason: str | None) -> Incomplete | None:
    """What a stop reason says about its response; None if it is whole as far as that says."""
    return STOP_REASONS.get((stop_reason or "").lower())


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
