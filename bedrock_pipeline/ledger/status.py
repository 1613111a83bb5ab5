"""The states of a chunk, as sets.

What belongs here: the statuses and what follows from each. The transitions are statements in the other files of this
package; CHECK constraints of the database ensure what must always be true.
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

#: The job has not ended.
AT_BEDROCK: Final = ("queued", "validating", "scheduled", "in-process", "stopping")
#: The job has ended.
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

#: A job's status only moves forward; a List that lags may show an earlier one, which is ignored.
RANK: Final[dict[str, int]] = {
    status: rank
    for rank, statuses in enumerate(
        (("queued",), ("validating",), ("scheduled",), ("in-process",), ("stopping",), ENDED)
    )
    for status in statuses
}
