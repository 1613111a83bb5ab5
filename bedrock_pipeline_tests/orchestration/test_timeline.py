"""The picture of the chunks of a dataset."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from bedrock_pipeline.orchestration.timeline import timeline

START = datetime(2026, 11, 24, 8, tzinfo=UTC)


@dataclass
class Chunk:
    chunk_key: str
    submitted_at: datetime | None
    ended_at: datetime | None
    collected_at: datetime | None


def chunk(number: int, *minutes: float | None) -> Chunk:
    times = (None if one is None else START + timedelta(minutes=one) for one in minutes)
    return Chunk(f"d--{number:05}", *times)


def test_a_chunk_waits_is_at_bedrock_and_is_collected() -> None:
    drawn = timeline(START, [chunk(0, 0, 30, 30), chunk(1, 30, 45, 60)])
    assert drawn is not None
    fence, first, second, legend, end = drawn.splitlines()
    assert fence == end == "```"
    assert first == "d--00000 " + "█" * 24
    assert second == "d--00001 " + "·" * 24 + "█" * 12 + "░" * 12
    assert legend.startswith("1 h 0 min from packing to the last response.")


@pytest.mark.parametrize(
    ("chunks", "drawn"),
    [
        ([], None),
        ([chunk(0, None, None, None)], None),
        ([chunk(0, 1, None, None)], None),
        ([chunk(0, None, None, None), chunk(1, 0, 1, 1)], ["d--00001"]),
        ([chunk(0, 0, 0, 0)], ["d--00000"]),
        ([chunk(0, -5, -4, 1)], ["d--00000"]),
        ([chunk(0, 1000, 1000.01, 1000.02), chunk(1, 0, 1, 1)], ["d--00000", "d--00001"]),
    ],
    ids=["none", "on demand", "not ended", "some on demand", "at once", "clocks differ", "short"],
)
def test_each_job_that_was_collected_has_a_bar(chunks: list[Chunk], drawn: list[str] | None) -> None:
    found = timeline(START, chunks)
    assert (found is None) is (drawn is None)
    if found is not None and drawn is not None:
        bars = found.splitlines()[1:-2]
        assert [line.split()[0] for line in bars] == drawn
        assert all("█" in line and len(line) <= 57 for line in bars)


def test_of_many_chunks_some_are_shown_from_the_first_on() -> None:
    found = timeline(START, [chunk(number, number, number + 10, number + 11) for number in range(2000)])
    assert found is not None
    bars = found.splitlines()[1:-2]
    assert len(bars) <= 24
    assert bars[0].startswith("d--00000 ")
    assert f"{len(bars)} of 2000 chunks" in found
