"""How long a throttled submission waits: each of the original's five settings has its effect."""

import random
from datetime import timedelta

import pytest

from bedrock_pipeline.submit.backoff import delay
from bedrock_pipeline.throttle_backoff import ThrottleBackoff

_PLAIN = {"max_retries": 3, "base_delay_ms": 100, "max_delay_ms": 100_000, "multiplier": 2, "jitter_ratio": 0}


@pytest.mark.parametrize(
    ("changed", "waits"),
    [
        ({}, [100, 200, 400, 800, 800, 800]),
        ({"max_retries": 1}, [100, 200, 200, 200, 200, 200]),
        ({"max_retries": 0}, [100, 100, 100, 100, 100, 100]),
        ({"base_delay_ms": 50}, [50, 100, 200, 400, 400, 400]),
        ({"max_delay_ms": 300}, [100, 200, 300, 300, 300, 300]),
        ({"multiplier": 3}, [100, 300, 900, 2700, 2700, 2700]),
        ({"multiplier": 1}, [100, 100, 100, 100, 100, 100]),
    ],
)
def test_the_wait_grows_as_the_settings_say(changed: dict[str, int], waits: list[int]) -> None:
    backoff = ThrottleBackoff.model_validate(_PLAIN | changed)
    got = [delay(attempt, backoff, random.Random(1)) for attempt in range(1, 7)]
    assert got == [timedelta(milliseconds=wait) for wait in waits]


def test_jitter_spreads_the_waits_on_both_sides_and_no_further() -> None:
    backoff, rng = ThrottleBackoff.model_validate(_PLAIN | {"jitter_ratio": 0.25}), random.Random(7)
    waits = [delay(1, backoff, rng) / timedelta(milliseconds=1) for _ in range(1000)]
    assert 75 <= min(waits) < 77
    assert 123 < max(waits) <= 125


def test_days_of_throttling_do_not_overflow() -> None:
    assert delay(100_000, ThrottleBackoff(jitter_ratio=0), random.Random(1)) == timedelta(minutes=15)
