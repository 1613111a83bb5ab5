"""How long a throttled submission waits.

What belongs here: one pure function.
"""

import random
from datetime import timedelta

from bedrock_pipeline.throttle_backoff import ThrottleBackoff


def delay(attempt: int, backoff: ThrottleBackoff, rng: random.Random) -> timedelta:
    """The delay after the `attempt`-th transient error in a row (from 1): exponential, capped, with jitter."""
    exponent = min(attempt - 1, backoff.max_retries)
    base = min(backoff.base_delay_ms * backoff.multiplier**exponent, backoff.max_delay_ms)
    return timedelta(milliseconds=base * (1 + backoff.jitter_ratio * rng.uniform(-1, 1)))
