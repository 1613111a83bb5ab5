"""The queue over the real Postgres, S3 and emulator."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig, BedrockTask
from bedrock_pipeline.records.job_names import chunk_uuid, job_name
from bedrock_pipeline_tests.waiting import PATIENCE_S

CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
_NAMES = (f"q{number}" for number in itertools.count())


def config(**changes: Any) -> BedrockQueueConfig:
    """A queue that does nothing by itself but flush, and polls the emulator often."""
    return BedrockQueueConfig.model_validate(
        {
            "model_id": CLAUDE,
            "name": next(_NAMES),
            "poll_interval_ms": 50,
            "enable_auto_polling": False,
            **changes,
        }
    )


def task(number: object, text: str = "Say hello") -> BedrockTask:
    content = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": content}
    return BedrockTask(f"task-{number}", body)


@pytest.fixture
def queue(deployment: Deployment) -> Iterator[BedrockQueue]:
    with BedrockQueue(config(batch_size=1000)) as opened:
        yield opened


def test_tasks_go_in_and_their_answers_come_out(queue: BedrockQueue) -> None:
    for number in range(120):
        queue.enqueue(task(number))
    assert queue.get_queue_size() == 120
    [job_id] = queue.flush()
    assert queue.get_queue_size() == 0
    assert queue.get_job_status(job_id) == "queued"
    result = queue.await_job(job_id, timeout=PATIENCE_S)
    assert (result.status, result.record_count, result.final) == ("completed", 120, True)
    answers = list(queue.get_job_results(job_id))
    assert sorted(one.record_id for one in answers) == sorted(f"task-{n}" for n in range(120))
    assert all(one.model_output["content"][0]["text"] == one.output_text for one in answers)
    assert queue.get_job_results_table(job_id).num_rows == 120


def test_a_queue_without_dagster_finds_jobs_that_its_ledger_does_not_know(deployment: Deployment) -> None:
    with BedrockQueue(config(batch_size=1000)) as queue:
        queue.enqueue_many(task(number) for number in range(100))
        [job_id] = queue.flush()
        orphan = chunk_uuid(deployment.ledger.deployment_id, "no", "such", "chunk")
        request = queue._job(job_id).chunk.request | {"jobName": job_name(queue.name, orphan)}
        arn = deployment.jobs.create(request, orphan.hex, deadline=time.monotonic() + 60)
        queue.step()
        assert [one["job_arn"] for one in deployment.ledger.interventions.orphans()] == [arn]
