"""A process dies by SIGKILL before and after every effect; whatever is left, the next one finishes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.points import NOT_KILLED_YET, READS, SCENARIOS, SERVICE_FAULTS
from bedrock_pipeline_tests.faults.worker import PARTS, Death, move_clock, run

#: How many points the recovering process passes before it dies too; None lets it live.
SECOND_DEATHS = (None, 0, 2)


def trials() -> Iterator[Any]:
    for scenario, effects in SCENARIOS.items():
        for effect in effects:
            for after in (False, True):
                for second in SECOND_DEATHS:
                    side = "after" if after else "before"
                    name = f"{scenario}: {side} {effect}" + ("" if second is None else f", again at {second}")
                    yield pytest.param(scenario, effect, after, second, id=name)


def test_every_effect_is_a_crash_point() -> None:
    """A new method of the ledger, of S3 or of Bedrock must be listed: as an effect or as harmless."""
    ledger = Ledger.__new__(Ledger)
    Ledger.__init__(ledger, "host=127.0.0.1 port=1")
    kinds: dict[str, type] = {"objects": S3Objects, "jobs": BedrockJobs, "runtime": BedrockRuntime}
    kinds |= {name: type(getattr(ledger, part)) for part, name in PARTS.items()}
    there = {
        f"{name}.{method}"
        for name, kind in kinds.items()
        for method in vars(kind)
        if not method.startswith("_") and method not in READS[name]
    }
    killed = {effect for effects in SCENARIOS.values() for effect in effects}
    assert there == killed | set(NOT_KILLED_YET)


@pytest.fixture
def service(stack_endpoints: Endpoints) -> Iterator[Control]:
    """The emulator of this process's tests; its faults end with the test."""
    control = Control(stack_endpoints.bedrock_endpoint_url, stack_endpoints.keys)
    yield control
    control.clear_faults()


@pytest.mark.faults
@pytest.mark.parametrize(("scenario", "effect", "after", "second"), list(trials()))
def test_a_death_loses_nothing_and_pays_nothing_twice(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    scenario: str,
    effect: str,
    after: bool,
    second: int | None,
    service: Control,
) -> None:
    settings = deployment.settings.model_copy(update={"lease_s": 10, "consistency_window_s": 0})
    one, log = dataset(tmp_path), tmp_path / "worker.log"
    for fault in SERVICE_FAULTS.get(scenario, ()):
        service.add_fault(**fault)
    entry: dict[str, object] = {
        "point": f"{'after' if after else 'before'} {effect}",
        "scenario": scenario,
        "second_death": second,
        "armed": 1,
        "died_by_signal_9": 0,
        "recovered": 0,
    }
    report.append(entry)
    died = run(settings, one, scenario, first=True, death=Death(effect, after), log=log)
    entry |= {"died_by_signal_9": int(died), "kills": int(died)}
    assert died, "the point was never reached"
    if second is not None:
        move_clock(deployment, 3600)
        again = run(settings, one, scenario, first=False, death=Death(None, passed=second), log=log)
        entry["kills"] = 1 + again
    move_clock(deployment, 3600)
    run(settings, one, scenario, first=False, death=None, log=log)
    settled(deployment, one, stack_endpoints.bedrock_endpoint_url, entry=entry)
    entry["recovered"] = 1
