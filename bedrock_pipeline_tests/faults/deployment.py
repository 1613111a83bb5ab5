"""A deployment over an emulator of its own, and ticks that go on after an error.

What belongs here: what several kinds of trials need beside the worker.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bedrock_pipeline.aws.errors import AwsError
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control, EmulatorProcess
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline_tests.faults.worker import tick

#: How many ticks may pass, once nothing goes wrong any more, until the dataset is published.
PATIENCE_TICKS = 200


@contextmanager
def emulated_deployment(
    deployment: Deployment,
    endpoints: Endpoints,
    data: Path,
    *options: str,
    s3_of_emulator: str | None = None,
    **settings: Any,
) -> Iterator[tuple[Deployment, Control]]:
    """A deployment with the settings of `deployment` over an emulator of its own."""
    with EmulatorProcess(
        data,
        s3_of_emulator or endpoints.s3_endpoint_url,
        endpoints.access_key_id,
        endpoints.secret_access_key,
        ("--speed", "2000", *options),
    ) as emulator:
        changed = {
            "bedrock_endpoint_url": emulator.url,
            "bedrock_runtime_endpoint_url": emulator.url,
            "lease_s": 10,
            "consistency_window_s": 0,
            "max_attempts": 1,
        }
        with open_deployment(deployment.settings.model_copy(update=changed | settings)) as here:
            yield here, emulator.control


def patient_tick(deployment: Deployment, one: Pipeline) -> bool:
    """As a sensor's tick: after an error of AWS the next tick tries again."""
    with suppress(AwsError):
        return tick(deployment, one)
    return False


def until_published(deployment: Deployment, one: Pipeline) -> int:
    for number in range(PATIENCE_TICKS):
        if patient_tick(deployment, one):
            return number
        time.sleep(0.1)
    chunks = deployment.ledger.chunks.of_dataset(one.name, "d", 1)
    raise AssertionError(
        f"no progress: {[(chunk.chunk_key, chunk.status, chunk.status_message) for chunk in chunks]}"
    )
