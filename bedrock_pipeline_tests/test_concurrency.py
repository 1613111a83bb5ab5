"""Threads that work ahead or take turns: order, errors, and their end."""

import os
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from bedrock_pipeline.concurrency import ahead, in_order, in_turn, workers_here

_WORKERS = [1, 2, 3]


def _items() -> Iterator[int]:
    yield from range(100)


def _twice(number: int) -> Iterator[int]:
    yield number
    yield -number


@pytest.mark.parametrize("workers", _WORKERS)
def test_what_is_given_keeps_the_order_of_the_items(workers: int) -> None:
    given = list(in_turn(_items(), lambda number: number * 2, _twice, workers))
    assert given == [sign * number * 2 for number in range(100) for sign in (1, -1)]
    assert list(in_turn(islice(_items(), 0), lambda number: number, _twice, workers)) == []


@pytest.mark.parametrize("workers", _WORKERS)
@pytest.mark.parametrize("where", ["items", "work", "then"])
def test_the_first_error_in_the_items_order_is_raised_after_what_came_before_it(
    where: str, workers: int
) -> None:
    def fails(place: str, number: int) -> int:
        if place == where and number >= 50:
            raise ValueError(f"{place} {number}")
        return number

    items = (fails("items", number) for number in range(100))
    given = in_turn(
        items, lambda number: fails("work", number), lambda number: [fails("then", number)], workers
    )
    assert list(islice(given, 50)) == list(range(50))
    with pytest.raises(ValueError, match=f"{where} 50"):
        next(given)


@pytest.mark.parametrize("workers", _WORKERS)
def test_nothing_is_passed_on_while_the_caller_has_something(workers: int) -> None:
    passed: list[int] = []

    def then(number: int) -> list[int]:
        passed.append(number)
        return [number] if number % 10 == 0 else []

    given = in_turn(_items(), lambda number: number, then, workers)
    for number in range(0, 100, 10):
        assert next(given) == number
        assert passed == list(range(number + 1))
    given.close()


@pytest.mark.parametrize("workers", _WORKERS)
def test_threads_end_when_nobody_wants_more(workers: int) -> None:
    before = threading.active_count()
    given = in_turn(_items(), lambda number: number, _twice, workers)
    assert next(given) == 0
    given.close()
    assert threading.active_count() == before


def test_what_is_read_ahead_keeps_order_and_errors() -> None:
    def items() -> Iterator[int]:
        yield from range(10)
        raise ValueError("broken")

    results = in_order(lambda number: number * 2, ahead(items(), 3), 2)
    assert list(islice(results, 5)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="broken"):
        list(results)
    assert list(in_order(str, ahead(iter(range(5))), 2)) == list("01234")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "400000 100000\n"}, 4),
        ({"cpu.max": "350000 100000\n"}, 4),
        ({"cpu.max": "50000 100000\n"}, 2),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_threads_are_by_the_cores_that_the_container_may_use(
    files: dict[str, str], found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert workers_here(tmp_path) == found
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert workers_here(tmp_path) == 2, "reading and writing overlap with one core too"
