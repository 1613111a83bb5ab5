"""What the service's documentation leaves open.

What belongs here: one switch for each such question, with the values that a client must be safe with.
"""

from dataclasses import dataclass
from enum import StrEnum


class SameToken(StrEnum):
    """A clientRequestToken comes again with the same request."""

    #: the first job's ARN
    SAME_ARN = "same-arn"
    #: accepted, no new job, and no ARN in the answer
    SILENT = "silent"


class OtherRequest(StrEnum):
    """A clientRequestToken comes again with another request."""

    CONFLICT = "conflict"
    #: as if it were the same request
    IGNORED = "ignored"


class OverQuota(StrEnum):
    """More jobs at once than the quota."""

    REFUSED = "refused"
    #: the job stays Submitted until there is room
    QUEUED = "queued"


class DuplicateIds(StrEnum):
    """A record id is in a job twice."""

    ANSWERED = "answered"
    REFUSED = "refused"


class MissingIds(StrEnum):
    """A record has no id."""

    GENERATED = "generated"
    REFUSED = "refused"


class StoppedOutput(StrEnum):
    """The output of a job that was stopped while it ran."""

    KEPT = "kept"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Behaviour:
    """A value for each open question.

    Attributes:
        token_lifetime: seconds on the jobs' clock after which a token is forgotten, and makes a new job; None: never.
    """

    same_token: SameToken = SameToken.SAME_ARN
    other_request: OtherRequest = OtherRequest.CONFLICT
    token_lifetime: float | None = None
    over_quota: OverQuota = OverQuota.REFUSED
    duplicate_ids: DuplicateIds = DuplicateIds.ANSWERED
    missing_ids: MissingIds = MissingIds.GENERATED
    stopped_output: StoppedOutput = StoppedOutput.KEPT


@dataclass
class Quota:
    """Jobs at once, per model; it can be changed while the emulator runs."""

    max_jobs: int
