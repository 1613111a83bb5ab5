"""Token buckets give out tokens at their rate and never above it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.queue import TokenBucket
from bedrock_pipeline.queue.token_bucket import TokenBucketStoppedError
from bedrock_pipeline_tests.waiting import PATIENCE_S


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(5, 2, clock_ns=clock)
    assert [bucket.try_take() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 499_999_999
    assert not bucket.try_take()
    clock.now += 1
    assert [bucket.try_take() for _ in range(2)] == [True, False]
    clock.now += 3600 * 10**9
    assert [bucket.try_take() for _ in range(6)] == [True] * 5 + [False], "no more than its capacity is kept"


@given(
    capacity=st.integers(1, 20),
    rate=st.floats(0.01, 1000),
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 30)), max_size=40),
)
def test_in_no_window_more_than_capacity_and_rate(
    capacity: int, rate: float, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    bucket = TokenBucket(capacity, rate, clock_ns=clock)
    taken = []
    for wait, tries in steps:
        clock.now += wait
        taken += [clock.now for _ in range(tries) if bucket.try_take()]
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= capacity + (end - begin) / 1e9 * rate + 1e-6


@pytest.fixture
def shared(deployment: Deployment) -> Iterator[list[TokenBucket]]:
    """Four holders of one bucket, each with connections of its own."""
    buckets = [TokenBucket(5, 20, name="flushes", settings=deployment.settings) for _ in range(4)]
    yield buckets
    for bucket in buckets:
        bucket.stop()


def test_a_shared_bucket_gives_all_holders_together_its_rate(
    deployment: Deployment, shared: list[TokenBucket]
) -> None:
    taken: list[float] = []

    def take(bucket: TokenBucket) -> None:
        for _ in range(10):
            bucket.take()
            taken.append(time.monotonic())

    begin = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(take, shared))
    for count, at in enumerate(sorted(taken), 1):
        # Each was taken before it was noted: at no moment were more out than the rate allows.
        assert count <= 5 + (at - begin) * 20 + 1e-3
    assert len(taken) == 40


def test_a_shared_bucket_goes_by_the_databases_clock(deployment: Deployment) -> None:
    buckets = deployment.ledger.token_buckets
    buckets.define("b", capacity=2, spacing=timedelta(hours=1))
    assert [buckets.take("b") for _ in range(2)] == [None, None]
    wait = buckets.take("b")
    assert wait is not None
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)
    deployment.ledger.database.execute("UPDATE bedrock_pipeline.deployment SET clock_offset = '1 hour'")
    assert buckets.take("b") is None
    assert buckets.take("b") is not None


def test_whoever_waits_is_told_that_it_was_stopped() -> None:
    bucket = TokenBucket(1, 0.001)
    bucket.take()
    told = threading.Event()

    def wait() -> None:
        with pytest.raises(TokenBucketStoppedError):
            bucket.take()
        told.set()

    thread = threading.Thread(target=wait)
    thread.start()
    bucket.stop()
    assert told.wait(PATIENCE_S)
    thread.join()
    with pytest.raises(TokenBucketStoppedError):
        bucket.try_take()


@pytest.mark.parametrize(("capacity", "rate"), [(0, 1), (1, 0), (1, -1), (1, float("nan"))])
def test_numbers_that_make_no_bucket(capacity: int, rate: float) -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        TokenBucket(capacity, rate)
