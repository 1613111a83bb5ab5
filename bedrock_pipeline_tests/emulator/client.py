"""What the emulator's tests share: an emulator of their own beside the stack's S3, and jobs to give to it."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from botocore.config import Config

from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.waiting import PATIENCE_S

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
BUCKET = "bedrock-pipeline"
TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Expired", "Stopped")
#: One attempt, and nothing checked on our side, so that a test sees what the service says.
BARE = Config(retries={"total_max_attempts": 1}, parameter_validation=False)


def emulator(endpoints: Endpoints, data: Path, *options: str) -> EmulatorProcess:
    """An emulator with jobs that take no time, unless the options say otherwise."""
    return EmulatorProcess(
        data,
        endpoints.s3_endpoint_url,
        endpoints.access_key_id,
        endpoints.secret_access_key,
        ("--speed", "100000", *options),
    )


def claude(text: str) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
    }


def lines(count: int, make: Callable[[int], dict[str, Any]] = lambda n: claude(f"q{n}")) -> bytes:
    return b"".join(orjson.dumps({"recordId": f"r{n}", "modelInput": make(n)}) + b"\n" for n in range(count))


_NUMBERS: Final = itertools.count(1)


def request(key: str, **changes: Any) -> dict[str, Any]:
    """A request for a job; one without a token has a name that no other has."""
    return {
        "jobName": "a-job" if "clientRequestToken" in changes else f"job-{next(_NUMBERS)}",
        "roleArn": "arn:aws:iam::123456789012:role/batch",
        "modelId": CLAUDE,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/{key}"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/"}},
        **changes,
    }


def ended(bedrock: Any, arn: str, *, also: Sequence[str] = ()) -> Any:
    """The job, once it has ended or reached one of the statuses in `also`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        job = bedrock.get_model_invocation_job(jobIdentifier=arn)
        if job["status"] in (*TERMINAL, *also):
            return job
        assert time.monotonic() < deadline, job["status"]
        time.sleep(0.05)


def output(s3: Any, arn: str, name: str) -> Counter[str]:
    """How often each record id is in the output file; lines that are no JSON count as `?`."""
    key = f"out/{arn.rpartition('/')[2]}/{name}.out"
    found: Counter[str] = Counter()
    for line in s3.get_object(Bucket=BUCKET, Key=key)["Body"].iter_lines():
        try:
            found[orjson.loads(line)["recordId"]] += 1
        except orjson.JSONDecodeError:
            found["?"] += 1
    return found


def manifest(s3: Any, arn: str) -> dict[str, int]:
    key = f"out/{arn.rpartition('/')[2]}/manifest.json.out"
    counts: dict[str, int] = orjson.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    return counts
