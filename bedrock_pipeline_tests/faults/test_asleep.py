"""A process falls asleep beyond its lease, another takes over, and it wakes: it changes nothing."""

import os
import signal
import time
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.faults.children import exit_code, is_stopped
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.worker import Death, fall_asleep, move_clock, run, start

_LEASE_S = 5


@pytest.mark.faults
@pytest.mark.parametrize(
    ("effect", "after"),
    [
        ("submissions.intend", True),
        ("jobs.create", False),
        ("jobs.create", True),
        ("submissions.record_accepted", True),
        ("chunks.record_collected", False),
        ("objects.copy", True),
        ("publications.record", False),
        ("publications.record", True),
    ],
)
def test_who_sleeps_beyond_the_lease_changes_nothing(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    effect: str,
    after: bool,
) -> None:
    settings = deployment.settings.model_copy(update={"lease_s": _LEASE_S, "consistency_window_s": 0})
    one, log = dataset(tmp_path), tmp_path / "worker.log"
    sleep = Death(effect, after, strike=fall_asleep)
    sleeper = start(settings, one, "plain", first=True, death=sleep, log=log)
    assert is_stopped(sleeper), log.read_text()
    time.sleep(_LEASE_S + 0.5)  # the sleeper counts its lease on its own clock
    move_clock(deployment, 3600)
    run(settings, one, "plain", first=False, death=None, log=log)
    before = settled(deployment, one, stack_endpoints.bedrock_endpoint_url)
    assert sleeper.pid
    os.kill(sleeper.pid, signal.SIGCONT)
    assert exit_code(sleeper) == 0, log.read_text()
    after_waking = settled(deployment, one, stack_endpoints.bedrock_endpoint_url)
    assert after_waking == before
    report.append({"point": f"asleep at {effect}", "scenario": "asleep", **after_waking})
