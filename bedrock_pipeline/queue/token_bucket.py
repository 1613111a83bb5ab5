"""A token bucket, in one process or shared by all.

What belongs here: taking tokens and waiting for them. Libraries were looked at: `limits` has no Postgres; that of
`pyrate-limiter` (4.5) counts a sliding window rather than a bucket, refuses whoever meets another at its table lock,
and goes by the local clock when Postgres does not tell the time, which may exceed the rate. So the shared bucket is a
row in the ledger, and the local one is the same rule on a number.
"""

import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from bedrock_pipeline.errors import BedrockPipelineError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.settings import Settings

_SECOND_NS = 1_000_000_000


class TokenBucketStoppedError(BedrockPipelineError):
    """The bucket was stopped; it gives out no more tokens."""


class _Tokens(Protocol):
    def take(self) -> float:
        """Take a token and return 0; or seconds until there is one."""

    def close(self) -> None:
        """Nothing is taken any more."""


class TokenBucket:
    """Holds at most `capacity` tokens and is filled with `refill_rate` a second; full at the beginning.

    Safe to use from several threads. With a name it is shared by every process that gives it, through Postgres.

    Args:
        capacity: tokens that may be taken at once.
        refill_rate: tokens a second in the long run.
        name: under which processes share it; None keeps it in this process.
        settings: whose database a shared one is in (`BedrockQueueConfig.settings()`); None means this deployment's.
        clock_ns: nanoseconds of a clock that never goes back; a shared bucket goes by the database's instead.

    Raises:
        ValueError: capacity is below 1, or refill_rate is not above 0.
    """

    def __init__(
        self,
        capacity: int,
        refill_rate: float,
        *,
        name: str | None = None,
        settings: Settings | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if capacity < 1 or not (math.isfinite(refill_rate) and refill_rate > 0):
            raise ValueError("capacity must be at least 1 and refill_rate above 0")
        self._stopped = threading.Event()
        self._tokens: _Tokens = (
            _Shared(name, capacity, refill_rate, settings or Settings.resolve())
            if name
            else _Local(capacity, refill_rate, clock_ns)
        )

    def try_take(self) -> bool:
        """Take a token if there is one.

        Raises:
            TokenBucketStoppedError: the bucket was stopped.
        """
        self._must_run()
        return self._tokens.take() == 0

    def take(self) -> None:
        """Take a token, waiting for one if need be.

        Raises:
            TokenBucketStoppedError: the bucket was stopped, also while waiting.
        """
        self._must_run()
        while wait := self._tokens.take():
            self._stopped.wait(wait)
            self._must_run()

    def stop(self) -> None:
        """Give out no more tokens; whoever waits for one is told at once."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._tokens.close()

    def _must_run(self) -> None:
        if self._stopped.is_set():
            raise TokenBucketStoppedError("The token bucket was stopped.")


class _Local:
    """A bucket as one number: when it will be full again."""

    def __init__(self, capacity: int, refill_rate: float, clock_ns: Callable[[], int]) -> None:
        self._spacing = math.ceil(_SECOND_NS / refill_rate)
        self._burst = (capacity - 1) * self._spacing
        self._clock_ns = clock_ns
        self._full_at = clock_ns()
        self._lock = threading.Lock()

    def take(self) -> float:
        with self._lock:
            now = self._clock_ns()
            wait = self._full_at - self._burst - now
            if wait > 0:
                return wait / _SECOND_NS
            self._full_at = max(self._full_at, now) + self._spacing
            return 0

    def close(self) -> None:
        """Nothing to close."""


class _Shared:
    """A bucket in the ledger."""

    def __init__(self, name: str, capacity: int, refill_rate: float, settings: Settings) -> None:
        self._name = name
        self._ledger = Ledger(settings.database_dsn.get_secret_value())
        if not self._ledger.is_current():
            self._ledger.migrate()
        spacing = timedelta(microseconds=math.ceil(1_000_000 / refill_rate))
        self._ledger.token_buckets.define(name, capacity=capacity, spacing=spacing)

    def take(self) -> float:
        wait = self._ledger.token_buckets.take(self._name)
        # A wait that was over before it could be told is none; 0 would mean that a token was taken.
        return 0 if wait is None else max(wait.total_seconds(), 0.001)

    def close(self) -> None:
        self._ledger.close()
