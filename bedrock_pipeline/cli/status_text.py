"""The status of datasets, chunks and jobs as text: it fits 80 columns, and nothing that is copied is broken.

What belongs here: how it looks. Names, keys, ids and commands stand whole on their lines, however long they are; sentences are
wrapped between words. The same text goes to a terminal and into a file.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from bedrock_pipeline.ledger.rows import usd
from bedrock_pipeline.ledger.status_report import ChunkStatus, DatasetStatus
from bedrock_pipeline.queue import JobResult

_WIDTH = 80
_INDENT = "  "
_BAR = 40
#: A command of ours, up to the punctuation that follows it; and what stands for its spaces while lines are broken.
_COMMAND = re.compile(r"bedrock-pipeline(?: [^\s`]*[^\s`.,;:])+")
_KEPT = "\0"


def dataset_lines(shown: Iterable[DatasetStatus], *, bars: bool = False) -> Iterator[str]:
    """A dataset: its state, how far it is (as a bar too), and what it waits for."""
    for one in shown:
        yield f"{one.pipeline} {one.dataset} v{one.version}: {one.state}"
        counts = [
            f"{one.processed:,} of {one.records:,} records processed ({_percent(one.processed, one.records)})",
            f"{one.answered:,} answered",
            *_some(one.failed, "failed"),
            *_some(one.rejected, "rejected"),
            *_some(one.retryable - one.waiting_records, "to be retried"),
            *_some(one.waiting_records, "waiting"),
            *_costs(one.cost_usd, one.expected_cost_usd),
        ]
        yield from _bar(one.processed, one.records) if bars and one.state != "published" else ()
        yield from wrapped("; ".join(counts)) if one.records or one.rejected else ()
        yield from _final_errors(one.failed_by_code)
        yield from wrapped(f"chunks: {one.chunks}") if one.chunks and one.state != "published" else ()
        yield from _waits(one.waiting, one.until)
        yield from [f"{_INDENT}{one.results}"] if one.results else []


def chunk_lines(shown: Iterable[ChunkStatus], *, bars: bool = False) -> Iterator[str]:
    """A chunk: its status, its records (as a bar too), its job, and what it waits for."""
    for one in shown:
        yield f"{one.chunk}: {one.status}"
        counts = [
            f"{one.processed:,} of {one.records:,} records processed",
            *([] if one.answered is None else [f"{one.answered:,} answered"]),
            *_some((one.retryable or 0) - one.waiting_records, "to be retried"),
            *_some(one.waiting_records, "waiting"),
            *_some(one.retried, "sent again"),
            *([] if one.cost_usd is None else [usd(one.cost_usd)]),
            *([] if one.mode == "batch" else [one.mode]),
        ]
        yield from _bar(one.processed, one.records) if bars and one.status != "completed" else ()
        yield from wrapped("; ".join(counts))
        yield from _final_errors(one.failed_by_code)
        yield from _waits(one.why or one.next, one.until)
        yield from [f"{_INDENT}{one.job}"] if one.job else []


def job_lines(shown: Iterable[JobResult]) -> Iterator[str]:
    """A queue's job: its status, its tasks, and why it waits or failed."""
    for one in shown:
        yield f"{one.job_id}: {one.status}"
        counts = [
            f"{one.processed_count:,} of {one.record_count:,} records processed",
            *([] if one.answered is None else [f"{one.answered:,} answered"]),
            *_some(one.failed, "failed"),
        ]
        yield from wrapped("; ".join(counts))
        yield from _waits(one.stuck or one.error_message, None)


def wide_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A table with every column, as wide as it is."""
    if not rows:
        return
    cells = [[name.upper() for name in rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def wrapped(sentence: str, indent: str = _INDENT, beginning: str | None = None) -> Iterator[str]:
    """A sentence in lines that are indented, broken between words only, and not within a command.

    Args:
        sentence: what is broken into lines.
        indent: what lines begin with.
        beginning: what the first line begins with; None: as the others.
    """
    words = _COMMAND.sub(lambda found: found[0].replace(" ", _KEPT), " ".join(sentence.split()))
    lines = textwrap.wrap(
        words,
        _WIDTH,
        initial_indent=indent if beginning is None else beginning,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from (line.replace(_KEPT, " ") for line in lines)


def _final_errors(by_code: Mapping[str, int]) -> Iterator[str]:
    """Final errors by their code, the most frequent first."""
    if by_code:
        codes = sorted(by_code.items(), key=lambda pair: (-pair[1], pair[0]))
        yield from wrapped(f"final errors: {', '.join(f'{count:,} {code}' for code, count in codes)}")


def _bar(part: int, whole: int) -> Iterator[str]:
    if whole:
        done = _BAR * part // whole
        yield f"{_INDENT}{'━' * done}{'┄' * (_BAR - done)} {_percent(part, whole)}"


def _waits(why: str | None, until: datetime | None) -> Iterator[str]:
    if until:
        yield from wrapped(f"waits until {until:%H:%M:%S %Z}: {why or ''}")
    elif why:
        yield from wrapped(why)


def _costs(so_far: Decimal | None, expected: Decimal | None) -> list[str]:
    """What it cost so far, and what it is expected to in the end where that is not all."""
    if expected is None or expected == so_far:
        return [] if so_far is None else [usd(so_far)]
    return [f"{usd(so_far or Decimal(0))} of an expected {usd(expected)}"]


def _some(count: int | None, name: str) -> list[str]:
    return [f"{count:,} {name}"] if count else []


def _percent(part: int, whole: int) -> str:
    """Rounded down: 100 % is all of it."""
    return f"{100 * part // whole} %" if whole else "0 %"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, dict):
        return ", ".join(f"{one}: {other}" for one, other in value.items()) or "-"
    return str(float(value)) if isinstance(value, Decimal) else " ".join(str(value).split()) or "-"
