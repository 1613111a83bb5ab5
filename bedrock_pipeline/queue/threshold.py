"""When an enqueuing process looks whether a flush is due.

What belongs here: a pure count. A look reads at most a batch of index entries, so looking at each enqueue would cost
more the more tasks wait; this looks when a quarter of what is missing has been added by this process, which finds
the threshold exactly, and costs the same for each task on the average.
"""

from bedrock_pipeline.ledger.tasks import Waiting
from bedrock_pipeline.pipeline import FlushPolicy


class Threshold:
    """Counts what this process adds between two looks.

    While up to four processes add tasks at one pace, the first to reach the threshold notices it; with more, the
    queue may be a little longer before one does.
    """

    def __init__(self, policy: FlushPolicy) -> None:
        self._policy = policy
        self._tasks = self._bytes = 0
        self._look_at_tasks = self._look_at_bytes = 1

    def added(self, tasks: int, size: int) -> bool:
        """Whether to look, now that so many tasks and bytes more were added here."""
        self._tasks += tasks
        self._bytes += size
        return self._tasks >= self._look_at_tasks or (
            self._policy.max_bytes is not None and self._bytes >= self._look_at_bytes
        )

    def looked(self, waiting: Waiting) -> None:
        """This much waits now, counted up to the batch size."""
        self._tasks = self._bytes = 0
        self._look_at_tasks = _quarter(self._policy.batch_size - waiting.tasks)
        if self._policy.max_bytes is not None:
            self._look_at_bytes = _quarter(self._policy.max_bytes - waiting.bytes)


def _quarter(missing: int) -> int:
    return max(1, missing // 4)
