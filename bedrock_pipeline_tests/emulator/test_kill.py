"""The emulator is killed in the middle of a job, again and again; the job ends as if nothing had happened."""

import random
import time
from pathlib import Path

from bedrock_pipeline.local import Endpoints
from bedrock_pipeline_tests.emulator.client import BUCKET, emulator, ended, lines, manifest, output, request

KILLS, RECORDS = 20, 400


def test_killed_twenty_times_a_job_is_completed_with_each_record_once(
    stack_endpoints: Endpoints, tmp_path: Path
) -> None:
    options = ("--speed", "400")  # a job runs for about two seconds
    rng = random.Random(20)  # the same delays each time
    process = emulator(stack_endpoints, tmp_path, *options)
    process.session().client("s3").put_object(Bucket=BUCKET, Key="in/kill.jsonl", Body=lines(RECORDS))
    bedrock = process.session().client("bedrock")
    arns = [
        bedrock.create_model_invocation_job(**request("in/kill.jsonl", jobName=f"kill-{number}"))["jobArn"]
        for number in range(4)
    ]
    for _ in range(KILLS):
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process = emulator(stack_endpoints, tmp_path, *options)
    with process:
        session = process.session()
        for arn in arns:
            job = ended(session.client("bedrock"), arn)
            assert job["status"] == "Completed"
            found = output(session.client("s3"), arn, "kill.jsonl")
            assert set(found) == {f"r{n}" for n in range(RECORDS)}
            assert found.total() == RECORDS == manifest(session.client("s3"), arn)["successRecordCount"]
        assert len(process.control.jobs()) == len(arns)
