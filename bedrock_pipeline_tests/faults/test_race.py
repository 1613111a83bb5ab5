"""Sixteen processes race for the same chunks and slots."""

import json
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.waiting import Progress

PROCESSES, POLLING, SLOTS, CHUNKS = 16, 2, 5, 500
#: A model that no other test uses: the emulator's count of jobs at once is by model.
_MODEL = "anthropic.claude-3-sonnet-20240229-v1:0"


def race(settings: Settings, *, polls: bool) -> None:
    """Submit whatever is due, and poll, until nothing is left."""
    progress = Progress()
    with open_deployment(settings) as deployment:
        while True:
            for chunk in deployment.ledger.submissions.due(["race"], SLOTS):
                submit_chunk(deployment, "race", chunk.chunk_key)
            if polls:
                poll_jobs(deployment)
            by_status = deployment.ledger.datasets.progress("race", "d").by_status
            if set(by_status) == {"completed"}:
                return
            progress.see(by_status)
            time.sleep(0.5)  # one of sixteen looks each 30 ms all the same


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_never_more_jobs_than_slots_and_never_two_for_a_chunk(
    deployment: Deployment, stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "text": f"t{n}"}) + "\n" for n in range(100 * CHUNKS)))
    one = Pipeline.model_validate(
        {
            "name": "race",
            "model_id": _MODEL,
            "source": str(path),
            "record_id": "id",
            "prompt": "{{ text }}",
            "limits": Limits(min_records=50, max_records=100, max_jobs=SLOTS),
        }
    )
    take_snapshot(deployment, one, "d")
    assert len(pack_dataset(deployment, one, "d").chunks) == CHUNKS
    children = [
        start_child(partial(race, deployment.settings, polls=number < POLLING), tmp_path / f"{number}.log")
        for number in range(PROCESSES)
    ]
    codes = [exit_code(child) for child in children]
    assert set(codes) == {0}, [log.read_text() for log in tmp_path.glob("*.log")]
    control = Control(stack_endpoints.bedrock_endpoint_url, stack_endpoints.keys)
    names = Counter(job["jobName"] for job in control.jobs() if job["modelId"].endswith(_MODEL))
    most = max(count for model, count in control.most_in_flight().items() if model.endswith(_MODEL))
    assert 1 < most <= SLOTS
    assert (names.total(), len(names)) == (CHUNKS, CHUNKS)
