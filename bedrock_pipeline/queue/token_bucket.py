"""A token bucket, in one process or shared by all.

No library fits: `limits` has no Postgres backend; that of `pyrate-limiter` (4.5) counts a sliding window, fails if another
process holds its table lock, and may exceed the rate by falling back to the local clock. So the shared bucket is a row
in the ledger, and the local one applies the same rule to a number.
"""

import math
import threading
from collections.abc import Callable
from datetime import timedelta

from bedrock_pipeline.errors import ConfigurationError, StateError
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.system import SYSTEM, System

_SECOND_NS = 1_000_000_000


class TokenBucketStoppedError(StateError):
    """The bucket was stopped and returns no more tokens."""


class TokenBucket:
    """Holds at most `capacity` tokens and refills at `refill_rate` a second; full at the beginning.

    Thread-safe. With a name it is shared, through Postgres, by every process that uses the name.

    Args:
        capacity: tokens that may be taken at once.
        refill_rate: tokens a second.
        name: under which processes share it; None keeps it in this process.
        settings: the deployment of a shared bucket (`BedrockQueueConfig.settings()`); None: the environment's.
        system: its monotonic clock is a local bucket's; a shared one uses the database's.

    Raises:
        ConfigurationError: capacity is below 1, or refill_rate is not above 0.
    """

    def __init__(
        self,
        capacity: int,
        refill_rate: float,
        *,
        name: str | None = None,
        settings: Settings | None = None,
        system: System = SYSTEM,
    ) -> None:
        if capacity < 1 or not (math.isfinite(refill_rate) and refill_rate > 0):
            raise ConfigurationError("The capacity must be at least 1 and the refill_rate above 0.")
        self._stopped = threading.Event()
        self._tokens: _Local | _Shared = (
            _Shared(name, capacity, refill_rate, settings or Settings.resolve())
            if name
            else _Local(capacity, refill_rate, lambda: round(system.monotonic() * _SECOND_NS))
        )

    def try_take(self) -> bool:
        """Take a token if there is one.

        Raises:
            TokenBucketStoppedError: the bucket was stopped.
        """
        self._must_run()
        return self._tokens.take() == 0

    def take(self) -> None:
        """Take a token; wait if there is none.

        Raises:
            TokenBucketStoppedError: the bucket was stopped, possibly during the wait.
        """
        self._must_run()
        while wait := self._tokens.take():
            self._stopped.wait(wait)
            self._must_run()

    def stop(self) -> None:
        """Return no more tokens; waiting callers get TokenBucketStoppedError at once."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._tokens.close()

    def _must_run(self) -> None:
        if self._stopped.is_set():
            raise TokenBucketStoppedError("The token bucket was stopped.")


class _Local:
    """A bucket as one number: the time when it is full again.

    `take` takes a token and returns 0, or returns the seconds until there is one.
    """

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
    """A bucket in the ledger, with the same two methods."""

    def __init__(self, name: str, capacity: int, refill_rate: float, settings: Settings) -> None:
        self._name = name
        self._ledger = Ledger(settings.database_dsn.get_secret_value())
        if not self._ledger.is_current():
            self._ledger.migrate()
        spacing = timedelta(microseconds=math.ceil(1_000_000 / refill_rate))
        self._ledger.token_buckets.define(name, capacity=capacity, spacing=spacing)

    def take(self) -> float:
        wait = self._ledger.token_buckets.take(self._name)
        # A wait of 0 would mean that a token was taken.
        return 0 if wait is None else max(wait.total_seconds(), 0.001)

    def close(self) -> None:
        self._ledger.close()
