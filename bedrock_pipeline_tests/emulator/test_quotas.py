"""Quotas by model, where no option says another.

Source: "Amazon Bedrock endpoints and quotas" (a copy of June 2025); Service Quotas as users of 2026 show them.
"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from bedrock_pipeline.emulator.behaviour import Quota
from bedrock_pipeline.emulator.models import Models
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.records.limits import Limits
from bedrock_pipeline_tests.emulator.client import BUCKET, request
from bedrock_pipeline_tests.emulator.world import World

TITAN, HAIKU = "amazon.titan-embed-text-v2:0", "anthropic.claude-3-haiku-20240307-v1:0"
CUSTOM = f"arn:aws:bedrock:us-east-1:123456789012:custom-model/{TITAN}/abcdefghijkl"


def embedded(count: int) -> bytes:
    return b"".join(b'{"recordId": "r%d", "modelInput": {"inputText": "a"}}\n' % n for n in range(count))


@pytest.mark.parametrize(("model_id", "jobs"), [(TITAN, 100), (HAIKU, 100), (CUSTOM, 3)])
def test_jobs_at_once(model_id: str, jobs: int) -> None:
    assert Models().max_jobs(model_id, Quota()) == jobs
    assert Models().max_jobs(model_id, Quota(7)) == 7


def test_more_jobs_than_the_quota_of_the_model_are_rejected() -> None:
    world = World()
    for number in range(100):
        world.bedrock.create_model_invocation_job(**request("in/a.jsonl", jobName=f"j{number}"))
    with pytest.raises(ClientError, match="quota of 100"):
        world.bedrock.create_model_invocation_job(**request("in/a.jsonl", jobName="one-more"))


@pytest.mark.parametrize(
    ("model_id", "files", "said"),
    [
        (TITAN, (50_000, 50_000), None),
        (TITAN, (50_001,), "in/big/0.jsonl contains more records (50001) than the allowed maximum of: 50000"),
        (TITAN, (50_000, 50_000, 1), "more records (100001) than the allowed maximum of: 100000"),
        (HAIKU, (50_000, 1), "more records (50001) than the allowed maximum of: 50000"),
    ],
)
def test_records_of_a_job_and_of_a_file(model_id: str, files: tuple[int, ...], said: str | None) -> None:
    world = World()
    for number, count in enumerate(files):
        world.objects[BUCKET, f"in/big/{number}.jsonl"] = embedded(count)
    job: dict[str, Any] = world.bedrock.create_model_invocation_job(**request("in/big/", modelId=model_id))
    world.run(minutes=2)
    shown = world.bedrock.get_model_invocation_job(jobIdentifier=job["jobArn"])
    assert said in shown.get("message", "") if said else shown["status"] == "Scheduled"


def test_the_client_packs_as_many_records_as_the_model_allows() -> None:
    def limits(model_id: str, **given: Any) -> Limits:
        return Pipeline.model_validate(
            {"name": "p", "model_id": model_id, "prompt": "{{ a }}", **given}
        ).effective_limits

    assert limits(TITAN) == Limits(max_records=100_000, max_file_records=50_000)
    assert limits(HAIKU) == limits("acme.model", family="claude") == Limits()
    assert limits(TITAN, limits=Limits(max_jobs=3)).max_records == 50_000
