"""From a job's end at Bedrock to its published results, through the real daemon. Run by `make bench-latency`.

What belongs here: measuring; what is promised of the results stands in the tests.
"""

import json
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from bedrock_pipeline.cli.services import running
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control

DATASETS, RECORDS, PATIENCE_S = 7, 200, 180.0
PIPELINE = "own_files"


def main() -> None:
    """Print the figures as one JSON object; seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps({"text": f"model_request {n}"}) + "\n" for n in range(RECORDS)))
        home = Path(folder) / "home"
        with (
            running(home, module="bedrock_pipeline.definitions", speed=1000, poll_seconds=1) as services,
            open_deployment(services.settings) as deployment,
        ):
            control = Control(services.endpoints.bedrock_endpoint_url, services.endpoints.keys)
            waits = [_wait(deployment, control, path, f"d{number}") for number in range(DATASETS)]
    waits.sort()
    told = {"median": statistics.median(waits), "fastest": waits[0], "slowest": waits[-1]}
    rounded = {name: round(seconds, 1) for name, seconds in told.items()}
    print(json.dumps({"cores": os.cpu_count(), "datasets": DATASETS, **rounded}))  # noqa: T201  # the result


def _wait(deployment: Deployment, control: Control, path: Path, dataset: str) -> float:
    """Seconds between the end of a dataset's only job and its publication."""
    request = {"source": str(path), "prompt": f"{dataset}: {{{{ text }}}}"}
    deployment.ledger.datasets.request(PIPELINE, dataset, request, launch=True)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        row = deployment.ledger.datasets.get(PIPELINE, dataset)
        if row and row.published_at:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{dataset} was not published within {PATIENCE_S:.0f} s")
        time.sleep(0.2)
    [chunk] = deployment.ledger.chunks.of_dataset(PIPELINE, dataset, row.version)
    [job] = [job for job in control.jobs() if job["jobArn"] == chunk.job_arn]
    ended = datetime.fromisoformat(job["endTime"])
    return (row.published_at - ended).total_seconds()


if __name__ == "__main__":
    main()
