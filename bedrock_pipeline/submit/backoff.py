"""How long a refused submission waits.

What belongs here: one pure function.
"""

import random
from datetime import timedelta

from bedrock_pipeline.settings import ThrottleBackoff


def delay(attempt: int, backoff: ThrottleBackoff, rng: random.Random) -> timedelta:
    """The wait after the `attempt`-th refusal (from 1): exponential, capped, with jitter on both sides."""
    grown = min(attempt - 1, backoff.max_retries)
    base = min(backoff.base_delay_ms * backoff.multiplier**grown, backoff.max_delay_ms)
    jitter = 1 + backoff.jitter_ratio * rng.uniform(-1, 1)
    return timedelta(milliseconds=base * jitter)
