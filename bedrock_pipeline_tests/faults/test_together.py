"""Several processes do the whole work of one dataset at the same time, each with every sensor's loop."""

from functools import partial
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.faults.children import exit_code
from bedrock_pipeline_tests.faults.deployment import emulated_deployment, until_published
from bedrock_pipeline_tests.faults.invariants import SLOTS, dataset, settled
from bedrock_pipeline_tests.faults.worker import Death, start_to

CHUNKS = 8
_LIMITS = Limits(min_records=50, max_records=100, max_jobs=SLOTS)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("processes", "deaths"), [(2, 0), (4, 0), (4, 2)], ids=["two", "four", "four, two of which die"]
)
def test_several_at_once(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    tmp_path: Path,
    report: list[dict[str, object]],
    processes: int,
    deaths: int,
) -> None:
    one = dataset(tmp_path, 100 * CHUNKS, _LIMITS)
    with emulated_deployment(deployment, stack_endpoints, tmp_path / "data") as (here, control):
        children = [
            # The embedded S3 rejects two writers of one object at once: as a red run, it is followed by the next.
            start_to(
                here.settings,
                partial(until_published, one=one),
                death=Death("jobs.create", after=True, passed=number) if number < deaths else None,
                log=tmp_path / f"{number}.log",
            )
            for number in range(processes)
        ]
        ended = [exit_code(child) for child in children]
        logs = [log.read_text() for log in tmp_path.glob("*.log")]
        assert set(ended) <= {0, -9}, logs
        assert ended.count(-9) <= deaths, logs
        entry = settled(here, one, control.url, records=100 * CHUNKS)
    point = f"{processes} processes at once, {-sum(code for code in ended if code) // 9} of which die"
    report.append({"point": point, "scenario": "together", "kills": ended.count(-9), **entry})
