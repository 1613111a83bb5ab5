"""The fault suite's report: reports/faults.json and the line that matters, also from several pytest workers.

A trial appends its entry before it begins and completes it as it goes, so that one that failed is seen to have.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: Name of the property under which an entry travels with a test's report, through xdist too.
_TRIAL = "fault trial"
Entry = dict[str, object]


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Iterator[list[Entry]]:
    """One entry a trial."""
    entries: list[Entry] = []
    yield entries
    request.node.user_properties.extend((_TRIAL, entry) for entry in entries)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the report, and say the line."""
    ended: list[Any] = [one for some in terminalreporter.stats.values() for one in some]
    entries: list[Entry] = [
        value
        for one in ended
        if getattr(one, "when", None) == "teardown"
        for name, value in one.user_properties
        if name == _TRIAL
    ]
    stats = terminalreporter.stats
    failed = sorted({one.nodeid for name in ("failed", "error") for one in stats.get(name, [])})
    if not entries and not any("/faults/" in name for name in failed):
        return
    totals = {"tests_failed": len(failed), **_totals(entries)}
    path = Path(config.rootpath) / "reports" / "faults.json"
    path.parent.mkdir(exist_ok=True)
    report = {**totals, "failed": failed, "points": _points(entries), "trials": entries}
    path.write_text(json.dumps(report, indent=1, default=str))
    terminalreporter.write_line(
        ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in totals.items())
    )


#: What the line counts over all trials; jobs are counted by the emulator.
_COUNTED = ("kills", "jobs_created", "chunks_submitted", "records_lost", "records_duplicated", "paid_twice")


def _totals(entries: list[Entry]) -> dict[str, int]:
    return {name: sum(int(str(entry.get(name, 0))) for entry in entries) for name in _COUNTED}


def _points(entries: list[Entry]) -> dict[str, dict[str, Any]]:
    """Per crash point: how often a process was armed to die there, died there by signal 9, and was recovered from."""
    points: dict[str, Counter[str]] = {}
    for entry in entries:
        if "armed" in entry:
            count = points.setdefault(str(entry["point"]), Counter())
            count.update({name: int(str(entry[name])) for name in ("armed", "died_by_signal_9", "recovered")})
    return {point: dict(count) for point, count in sorted(points.items())}
