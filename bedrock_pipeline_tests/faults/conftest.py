"""The fault suite's report."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

_KEY: pytest.StashKey[list[dict[str, object]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[list[dict[str, object]]]:
    """One entry a trial; written to reports/faults.json at the end."""
    entries: list[dict[str, object]] = []
    pytestconfig.stash[_KEY] = entries
    yield entries
    path = Path(pytestconfig.rootpath) / "reports" / "faults.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"trials": entries, **totals(entries)}, indent=1))


def totals(entries: list[dict[str, object]]) -> dict[str, int]:
    """The sums over all trials."""
    return {
        name: sum(int(str(entry[name])) for entry in entries)
        for name in ("kills", "jobs_created", "chunks_submitted", "records_lost", "paid_twice")
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The line that matters."""
    if entries := config.stash.get(_KEY, None):
        said = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in totals(entries).items())
        terminalreporter.write_line(said)
