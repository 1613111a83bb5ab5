"""A small picture of when the chunks of a dataset waited, were at Bedrock and were collected. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

_WIDTH: Final = 48
_MOST_CHUNKS: Final = 24
_WAITED, _AT_BEDROCK, _ENDED = "·", "█", "░"


class Timed(Protocol):
    """The times of a chunk; None where it is not so far, or was not sent as a job."""

    @property
    def chunk_key(self) -> str:
        """Its key."""
        ...

    @property
    def submitted_at(self) -> datetime | None:
        """When its job was submitted."""
        ...

    @property
    def ended_at(self) -> datetime | None:
        """When its job ended."""
        ...

    @property
    def collected_at(self) -> datetime | None:
        """When its responses were collected."""
        ...


def timeline(began_at: datetime, chunks: Sequence[Timed]) -> str | None:
    """Markdown with a bar for each chunk, from when the dataset was packed; None if no chunk was a job.

    Of many chunks some are shown, evenly spread from the first to the last.
    """
    jobs = [chunk for chunk in chunks if chunk.submitted_at and chunk.ended_at and chunk.collected_at]
    if not jobs:
        return None
    end = max(chunk.collected_at for chunk in jobs if chunk.collected_at)
    seconds = max((end - began_at).total_seconds(), 1.0)
    step = max(1, -(-len(jobs) // _MOST_CHUNKS))
    shown = jobs[::step]
    width = max(len(chunk.chunk_key) for chunk in shown)

    def place(at: datetime | None) -> int:
        assert at is not None  # each is a job that was collected
        return min(_WIDTH, max(0, round((at - began_at).total_seconds() / seconds * _WIDTH)))

    lines = []
    for chunk in shown:
        submitted, ended = place(chunk.submitted_at), place(chunk.ended_at)
        submitted = min(submitted, _WIDTH - 1)
        ended = max(ended, submitted + 1)  # each job is seen, however short
        collected = max(place(chunk.collected_at), ended)
        bar = _WAITED * submitted + _AT_BEDROCK * (ended - submitted) + _ENDED * (collected - ended)
        lines.append(f"{chunk.chunk_key:{width}} {bar}")
    some = f" {len(shown)} of {len(jobs)} chunks." if step > 1 else ""
    legend = f"{_duration(seconds)} from packing to the last response.{some} {_WAITED} waited, {_AT_BEDROCK} at Bedrock, {_ENDED} ended"
    return "\n".join(["```", *lines, legend, "```"])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
