"""A dataset of 2,000 chunks, 1,000 of them in flight: one poll of Bedrock, and each sensor's tick. Run by `make bench-scale`.

What belongs here: measuring; which rows the statements read is held by `bedrock_pipeline_tests/ledger/test_plans.py`.
"""

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.local import environment
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.orchestration import build_definitions
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.orchestration.resources import DeploymentResource
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.prepare.pack_dataset import pack_dataset
from bedrock_pipeline.prepare.take_snapshot import take_snapshot
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.submit.poll_jobs import poll_jobs
from bedrock_pipeline.submit.submit_chunk import submit_chunk

CHUNKS, IN_FLIGHT, TICKS = 2_000, 1_000, 40
EMULATOR = ("--speed", "1", "--max-jobs", str(IN_FLIGHT), "--min-records", "1")


def main() -> None:
    """Print the figures as one JSON object; seconds and megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with Stack(StackConfig(home, emulator=EMULATOR)) as stack:
            os.environ.update(environment(stack.endpoints))
            with open_deployment(Settings.resolve()) as deployment:
                deployment.ledger.migrate()
                figures = _measure(deployment, _pipeline(Path(folder)))
    print(json.dumps({"cores": os.cpu_count(), "chunks": CHUNKS, **figures}))  # noqa: T201  # the result


def _pipeline(folder: Path) -> Pipeline:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"model_request {n}"}) + "\n" for n in range(CHUNKS)))
    return Pipeline(
        name="scale",
        model_id="anthropic.claude-3-haiku-20240307-v1:0",
        source=str(path),
        prompt="{{ text }}",
        limits=Limits(min_records=1, max_records=1),
    )


def _measure(deployment: Deployment, pipeline: Pipeline) -> dict[str, Any]:
    took: dict[str, Any] = {}
    began = time.perf_counter()
    take_snapshot(deployment, pipeline, "d")
    settings = deployment.settings
    deployment.ledger.quota_groups.set_max_jobs(
        pipeline.group_in(settings.region, settings.account), IN_FLIGHT
    )
    keys = [chunk.chunk_key for chunk in pack_dataset(deployment, pipeline, "d").chunks]
    took["prepare_s"] = round(time.perf_counter() - began, 1)
    took["ticks_before_s"] = _ticks(pipeline)
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: submit_chunk(deployment, pipeline.name, key), keys[:IN_FLIGHT]))
    took["submit_s"] = round(time.perf_counter() - began, 1)
    pages = [0]
    events = deployment.jobs._reading.meta.events  # only here are requests counted
    events.register(
        "before-send.bedrock.ListModelInvocationJobs", lambda **_: pages.__setitem__(0, pages[0] + 1)
    )
    began = time.perf_counter()
    report = poll_jobs(deployment)
    took |= {
        "in_flight": report.in_flight,
        "poll_s": round(time.perf_counter() - began, 2),
        "list_pages": pages[0],
    }
    took["ticks_in_flight_s"] = _ticks(pipeline)
    before = _resident_mb()
    _ticks(pipeline)
    took |= {"resident_mb": before, f"resident_after_{TICKS}_more_ticks_mb": _resident_mb()}
    return took


def _resident_mb() -> int:
    return round(psutil.Process().memory_info().rss / 1e6)


def _ticks(pipeline: Pipeline) -> dict[str, float]:
    """The slowest of some ticks of each sensor."""
    definitions = build_definitions([pipeline])
    resources = {DEPLOYMENT: DeploymentResource(s3=S3Resource())}
    slowest: dict[str, float] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        for sensor in definitions.get_repository_def().sensor_defs:
            for _ in range(TICKS):
                with dg.build_sensor_context(
                    instance=instance, definitions=definitions, resources=resources
                ) as deployment:
                    began = time.perf_counter()
                    sensor(deployment)
                    took = round(time.perf_counter() - began, 2)
                    slowest[sensor.name] = max(slowest.get(sensor.name, 0.0), took)
    return slowest


if __name__ == "__main__":
    main()
