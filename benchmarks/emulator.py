"""How much the emulator bears: one large job, many jobs at once, Lists a second. Run by `make bench-emulator`.

What belongs here: measuring; what is promised of its answers stands in the tests.
"""

import http.client
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from bedrock_pipeline.emulator.control import EmulatorProcess
from bedrock_pipeline.local.home import load_secrets
from bedrock_pipeline.local.process import free_port
from bedrock_pipeline.local.s3 import start_s3

RECORDS, JOBS, LIST_SECONDS, LISTERS = 50_000, 200, 10, 4
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"


def main() -> None:
    """Print the figures as one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        secrets = load_secrets(home)
        keys = secrets["access_key_id"], secrets["secret_access_key"]
        port, root = free_port(), home / "s3"
        (root / "bench").mkdir(parents=True)
        _write(root / "bench" / "large.jsonl", RECORDS)
        _write(root / "bench" / "small.jsonl", 100)
        s3 = start_s3(home, root, port, *keys)
        options = ("--speed", "100000", "--max-jobs", "1000")
        try:
            with EmulatorProcess(home / "e", f"http://127.0.0.1:{port}", *keys, options=options) as emulator:
                figures = _measure(emulator)
        finally:
            s3.end()
    print(json.dumps({"cores": os.cpu_count(), **figures}))  # noqa: T201  # the result


def _measure(emulator: EmulatorProcess) -> dict[str, Any]:
    process = psutil.Process(emulator.pid)
    bedrock = emulator.session().client("bedrock")
    began = time.perf_counter()
    arn = _create(bedrock, "large", 0)
    peak = _until_ended(emulator, process)
    large = time.perf_counter() - began
    job = bedrock.get_model_invocation_job(jobIdentifier=arn)
    began = time.perf_counter()
    for number in range(JOBS):
        _create(bedrock, "small", number)
    created = time.perf_counter() - began
    _until_ended(emulator, process)
    return {
        "records": job.get("successRecordCount"),
        "large_job_seconds": round(large, 1),
        "peak_mb": round(peak / 1e6),
        "jobs": JOBS,
        "creates_per_second": round(JOBS / created),
        "all_jobs_seconds": round(time.perf_counter() - began, 1),
        "lists_per_second": round(_lists(emulator)),
    }


def _create(bedrock: Any, name: str, number: int) -> str:
    arn: str = bedrock.create_model_invocation_job(
        jobName=f"{name}-{number}",
        roleArn="arn:aws:iam::123456789012:role/batch",
        modelId=MODEL,
        clientRequestToken=f"{name}-{number}",
        inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://bench/{name}.jsonl"}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bench/out/"}},
    )["jobArn"]
    return arn


def _until_ended(emulator: EmulatorProcess, process: psutil.Process) -> int:
    """Wait for every job; the most resident bytes meanwhile."""
    peak = 0
    while any("endTime" not in job for job in emulator.control.jobs()):
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.1)
    return peak


def _lists(emulator: EmulatorProcess) -> float:
    """List calls a second, by four clients, of 100 jobs a page; boto3 itself parses no more than 35 such pages a second."""
    done = [0] * LISTERS
    end = time.perf_counter() + LIST_SECONDS
    path = "/model-invocation-jobs?maxResults=100&nameContains=small"
    request = AWSRequest(method="GET", url=emulator.url + path)
    credentials = emulator.session().get_credentials()
    SigV4Auth(credentials, "bedrock", emulator.region).add_auth(request)

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"))
        while time.perf_counter() < end:
            connection.request("GET", path, headers=dict(request.headers))
            answer = connection.getresponse()
            page = answer.read()
            assert answer.status == 200, page
            done[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(LISTERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / LIST_SECONDS


def _write(path: Path, count: int) -> None:
    with path.open("w") as file:
        for number in range(count):
            text = f"ModelRequest {number}: " + "some words of a prompt that is of an ordinary length " * 15
            body = {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
            }
            file.write(json.dumps({"recordId": f"r{number}", "modelInput": body}) + "\n")


if __name__ == "__main__":
    main()
