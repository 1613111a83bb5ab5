"""The states of a chunk, as sets.

What belongs here: which statuses there are and what follows from being in one. The transitions are statements
in the other files of this room; the database's CHECK constraints hold what must always be true.
"""

from typing import Final, Literal

Status = Literal[
    "pending",
    "submitting",
    "in-doubt",
    "needs-resolution",
    "queued",
    "validating",
    "scheduled",
    "in-process",
    "stopping",
    "partially-completed",
    "completed",
    "expired",
    "stopped",
    "failed",
]

#: Bedrock has the job and has not finished it.
AT_BEDROCK: Final = ("queued", "validating", "scheduled", "in-process", "stopping")
#: Nothing more will happen to the job.
ENDED: Final = ("partially-completed", "completed", "expired", "stopped", "failed")

#: Bedrock's word for a job's status → ours (the original library's).
FROM_BEDROCK: Final[dict[str, Status]] = {
    "Submitted": "queued",
    "Validating": "validating",
    "Scheduled": "scheduled",
    "InProgress": "in-process",
    "Stopping": "stopping",
    "PartiallyCompleted": "partially-completed",
    "Completed": "completed",
    "Expired": "expired",
    "Stopped": "stopped",
    "Failed": "failed",
}

#: A job's life goes one way; a List that lags may show an earlier status, which is then ignored.
RANK: Final[dict[str, int]] = {
    status: rank
    for rank, statuses in enumerate(
        (("queued",), ("validating",), ("scheduled",), ("in-process",), ("stopping",), ENDED)
    )
    for status in statuses
}
