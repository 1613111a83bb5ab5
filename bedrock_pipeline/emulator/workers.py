"""The threads of a server, in which jobs are worked on side by side.

What belongs here: when which job is advanced in real time. What a job then does is `runner.py`'s.
"""

import threading
from concurrent.futures import ThreadPoolExecutor

from bedrock_pipeline.emulator.runner import Runner

_TICK_SECONDS = 0.05
_WORKERS = 32


class Workers:
    """Advances every job of a runner, until it is stopped."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._busy: set[str] = set()
        self._end = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="job")
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begin, with the jobs that an earlier process left unfinished."""
        self._thread.start()

    def stop(self) -> None:
        """End; unfinished jobs go on at the next start."""
        self._end.set()
        self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _loop(self) -> None:
        while not self._end.wait(_TICK_SECONDS):
            for job_id in self._runner.due():
                if job_id not in self._busy:
                    self._busy.add(job_id)
                    self._pool.submit(self._work, job_id)

    def _work(self, job_id: str) -> None:
        """Everything of a job that is due now."""
        try:
            while not self._end.is_set() and self._runner.is_due(job_id):
                self._runner.advance(job_id)
        finally:
            self._busy.discard(job_id)
