"""Makes a failing simulation smaller while it still breaks the same promise.

What belongs here: first a smaller scenario (fewer steps, processes, faults), then fewer choices of it.
"""

from collections.abc import Callable

from bedrock_pipeline_tests.simulation.choices import Choice, Replayed
from bedrock_pipeline_tests.simulation.scenario import Scenario
from bedrock_pipeline_tests.simulation.simulate import Result, simulate
from bedrock_pipeline_tests.simulation.world import Machine

#: Seeds that a smaller scenario is tried with, since one seed means other choices in another scenario.
_SEEDS = 4


def shrunk(machine: Machine, failed: Result, *, most_runs: int = 150) -> Result:
    """The smallest simulation found within `most_runs` runs that breaks the same promise."""
    promise, left = failed.violations[0].promise, [most_runs]

    def fails(scenario: Scenario, choices: list[Choice] | None = None) -> Result | None:
        if left[0] <= 0:
            return None
        left[0] -= 1
        result = simulate(machine, scenario, None if choices is None else Replayed(choices))
        return result if any(one.promise == promise for one in result.violations) else None

    return _fewer_choices(_smaller(failed, fails), fails)


_Fails = Callable[..., Result | None]


def _smaller(best: Result, fails: _Fails) -> Result:
    shrinking = True
    while shrinking:
        shrinking = False
        for scenario in best.scenario.smaller():
            found = next(filter(None, (fails(one) for one in _seeds(scenario))), None)
            if found:
                best, shrinking = found, True
                break
    return best


def _seeds(scenario: Scenario) -> list[Scenario]:
    return [scenario.with_seed(scenario.seed + 1_000_003 * number) for number in range(_SEEDS)]


def _fewer_choices(best: Result, fails: _Fails) -> Result:
    """Leave out ranges of choices, large ones first."""
    length = max(1, len(best.chosen) // 2)
    while length:
        begin = 0
        while begin < len(best.chosen):
            found = fails(best.scenario, best.chosen[:begin] + best.chosen[begin + length :])
            if found:
                best = found
            else:
                begin += length
        length //= 2
    return best
