"""The simulation itself: a seed decides everything, and a defect is found, made small and printed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bedrock_pipeline.ledger import submissions
from bedrock_pipeline_tests.simulation.choices import Chances, Replayed
from bedrock_pipeline_tests.simulation.pool import postgres
from bedrock_pipeline_tests.simulation.scenario import STARTS, Scenario, drawn
from bedrock_pipeline_tests.simulation.shrink import shrunk
from bedrock_pipeline_tests.simulation.simulate import Result, simulate
from bedrock_pipeline_tests.simulation.story import story_of
from bedrock_pipeline_tests.simulation.world import Machine

pytestmark = pytest.mark.xdist_group("simulation")
STEPS = 120
#: Among them: deaths, lost answers, faults of the service; restored backups (4, 51), a queue (51), an outage (8).
SEEDS = (2, 4, 8, 51)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with postgres(1) as [dsn]:
        made = Machine(dsn)
        yield made
        made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_seed_twice_is_the_same_story(machine: Machine, seed: int) -> None:
    first, second = (simulate(machine, drawn(seed, STEPS)) for _ in range(2))
    assert list(story_of(first)) == list(story_of(second))
    assert _objects(first) == _objects(second)
    assert not first.violations


def _objects(result: Result) -> dict[tuple[str, str], bytes]:
    """What is in S3, but for the mark of how far the ledger is: transactions have the server's own numbers."""
    return {
        key: data
        for key, data in result.evidence.objects.items()
        if not key[1].rpartition("/")[2].startswith("ledger-")
    }


def test_the_same_choices_are_the_same_story(machine: Machine) -> None:
    first = simulate(machine, drawn(4, STEPS))
    again = simulate(machine, first.scenario, Replayed(first.chosen))
    assert list(story_of(first)) == list(story_of(again))


@pytest.mark.parametrize("start", STARTS)
def test_every_beginning_is_what_it_says(machine: Machine, start: str) -> None:
    """One whose launch fails begins with nothing, and everything that is promised of it holds."""
    result = simulate(machine, Scenario(seed=3, steps=1, start=start, cast=("daemon",)))
    assert not result.violations
    failed = [row for row in result.evidence.datasets if row["state"] == "failed"]
    assert bool(failed) == (start == "absent")
    assert bool(result.evidence.chunks) == (start not in ("nothing", "absent", "empty queue"))


def test_another_seed_is_another_story(machine: Machine) -> None:
    one, other = (simulate(machine, drawn(seed, STEPS)) for seed in SEEDS[:2])
    assert list(story_of(one)) != list(story_of(other))


def test_a_defect_is_found_made_small_and_printed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "_why_not", lambda *_: None)  # slots are not counted
    promise = "never more jobs in flight than the limit"
    scenarios = (
        Scenario(
            seed=seed,
            steps=160,
            cast=("clicker", "clicker", "clicker"),
            rows=12,
            job_s=1000,
            chances=Chances(die=0.01),
        )
        for seed in range(1, 13)
    )
    results = (simulate(machine, scenario) for scenario in scenarios)
    failed = next(one for one in results if promise in [broken.promise for broken in one.violations])
    small = shrunk(machine, failed, most_runs=8)
    assert len(small.chosen) < len(failed.chosen)
    story = list(story_of(small))
    assert story[0].startswith("seed "), "shrinking may go on with another"
    assert any("CreateJob" in line and "is made" in line for line in story)
    assert any(line.startswith(f"BROKEN: {promise}: 2 jobs are in flight, 1 may be (step ") for line in story)


def test_the_judge_imports_nothing_of_the_product() -> None:
    code = """
import sys
import bedrock_pipeline_tests.simulation.judge
print([name for name in sys.modules if name.partition(".")[0] in ("bedrock_pipeline", "psycopg", "boto3", "botocore")])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
