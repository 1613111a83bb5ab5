"""Every code example of the original library's documentation, translated, over the embedded stack.

The headings are those of its README. Names are its names in snake case; what differs stands in docs/queue.md.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import conninfo

from bedrock_pipeline.deployment import Deployment
from bedrock_pipeline.queue import (
    AsyncBedrockQueue,
    BedrockQueue,
    BedrockQueueConfig,
    BedrockTask,
    TaskResult,
    TokenBucket,
)
from bedrock_pipeline.throttle_backoff import ThrottleBackoff
from bedrock_pipeline_tests.waiting import PATIENCE_S

#: The original names the bare model, which Bedrock invokes by an inference profile only.
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


@pytest.fixture
def config(deployment: Deployment, postgres_dsn: str) -> dict[str, Any]:
    """What `// ... configuration` stands for; the examples poll every 30 s, which a test does not wait for."""
    database, settings = conninfo.conninfo_to_dict(postgres_dsn), deployment.settings
    return {
        "region": "us-east-1",
        "role_arn": settings.role_arn,
        "s3_input_bucket": settings.bucket,
        "s3_input_prefix": "bedrock-jobs/input/",
        "s3_output_bucket": settings.bucket,
        "s3_output_prefix": "bedrock-jobs/output/",
        "db_host": database["host"],
        "db_port": int(database["port"] or 5432),
        "db_name": database["dbname"],
        "db_user": database["user"],
        "db_password": database["password"],
        "model_id": SONNET,
        "job_type": "retrieval-summary",
        "poll_interval_ms": 100,
    }


def claude_task(record_id: str, text: str = "Summarize this document...") -> BedrockTask:
    return BedrockTask(
        record_id=record_id,
        model_input={
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 1024,
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        },
    )


@pytest.fixture
def queue(config: dict[str, Any]) -> Iterator[BedrockQueue]:
    opened = BedrockQueue(BedrockQueueConfig(**config))
    opened.initialize()
    yield opened
    opened.close()


def test_basic_configuration(config: dict[str, Any]) -> None:
    queue = BedrockQueue(
        BedrockQueueConfig(
            **config,
            # Optional: Batching Configuration
            batch_size=100,
            max_batch_size=50000,
            max_file_size_bytes=1024 * 1024 * 1024,
            max_job_size_bytes=5 * 1024 * 1024 * 1024,
            # Optional: Polling Configuration
            enable_auto_polling=True,
            # Optional: Retry Configuration
            retry_mode="adaptive",
            max_attempts=6,
            # Optional: Throttling Backoff (library-level)
            throttle_backoff={  # type: ignore[arg-type]  # as a program would write it
                "max_retries": 5,
                "base_delay_ms": 1000,
                "max_delay_ms": 30000,
                "multiplier": 2,
                "jitter_ratio": 0.25,
            },
        )
    )
    # Initialize the queue (test database connection)
    queue.initialize()
    assert queue.get_queue_size() == 0
    queue.close()


def test_retry_behaviour(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit config values take precedence over environment variables."""
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    by_environment = BedrockQueueConfig(**config).settings()
    assert (by_environment.retry_mode, by_environment.max_attempts) == ("standard", 9)
    patient = ThrottleBackoff.model_validate({"max_retries": 9, "base_delay_ms": 1500})
    given = BedrockQueueConfig(
        **config, retry_mode="legacy", max_attempts=2, throttle_backoff=patient
    ).settings()
    assert (given.retry_mode, given.max_attempts) == ("legacy", 2)
    assert given.throttle_backoff == patient


def test_optional_rate_limiting_token_bucket(queue: BedrockQueue) -> None:
    limiter = TokenBucket(
        5,  # bucket capacity: allow up to 5 immediate flushes
        2,  # refill rate: 2 tokens per second (sustained rate)
    )

    def flush_with_rate_limit(queue: BedrockQueue) -> list[str]:
        limiter.take()  # wait until a token is available
        return queue.flush()

    assert flush_with_rate_limit(queue) == []
    limiter.stop()


def test_basic_usage(queue: BedrockQueue) -> None:
    task = claude_task("task-1")
    queue.enqueue(task)
    # Queue will automatically flush when threshold is reached. Or manually flush
    [job_id] = queue.flush()
    # Wait for job completion
    result = queue.await_job(job_id, timeout=PATIENCE_S)
    assert result.status == "completed"
    assert result.results is not None
    assert [one.record_id for one in result.results] == ["task-1"]
    assert result.mode == "on-demand", "a single task is below the minimum of a job"


def test_example_claude_sonnet_4_5(queue: BedrockQueue) -> None:
    # Queue multiple tasks
    for i in range(1550):
        queue.enqueue(claude_task(f"task-{i}", f"Process document {i}"))
    # Queue will automatically flush at 100 tasks
    # Get the job ID from the event or manually flush remaining tasks
    job_ids = queue.flush()
    assert job_ids == [event.job_id for event in queue.events() if event.name == "batch-flushed"]
    assert queue.flush() == [], "each is returned once"
    # Wait for all jobs to complete
    results = queue.await_jobs(job_ids, timeout=PATIENCE_S)
    assert {one.status for one in results} == {"completed"}
    assert sum(one.record_count for one in results) == 1550
    ids = {answer.record_id for one in results for answer in one.results or ()}
    assert ids == {f"task-{i}" for i in range(1550)}


def test_example_amazon_titan_embed(config: dict[str, Any]) -> None:
    titan = {**config, "model_id": "amazon.titan-embed-text-v2:0", "job_type": "text-embed"}
    with BedrockQueue(BedrockQueueConfig(**titan)) as queue:
        # Queue embedding tasks
        queue.enqueue(BedrockTask("embed-1", {"inputText": "This is the text to embed"}))
        [job_id] = queue.flush()
        result = queue.await_job(job_id, timeout=PATIENCE_S)
        # Access embeddings
        assert result.results is not None
        [task_result] = result.results
        assert task_result.model_output["embedding"] == pytest.approx(task_result.embedding, abs=1e-6)
        assert len(task_result.model_output["embedding"]) == 1024


def test_event_handling(queue: BedrockQueue) -> None:
    said: list[str] = []
    queue.on("task-queued", lambda task: said.append(f"Task queued: {task.record_id}"))
    queue.on(
        "batch-flushed", lambda job_id, count: said.append(f"Batch flushed: {job_id} with {count} records")
    )
    queue.on("job-queued", lambda job_id, arn: said.append(f"Job queued: {job_id} (ARN: {arn})"))
    queue.on("job-status-changed", lambda job_id, status: said.append(f"Job {job_id} status: {status}"))
    queue.on("job-completed", lambda job_id, result: said.append(f"Job {job_id} completed: {result.status}"))
    queue.on("job-failed", lambda job_id, error: said.append(f"Job {job_id} failed: {error}"))
    queue.on("error", lambda error: said.append(f"Queue error: {error}"))
    queue.enqueue_many(claude_task(f"t{i}") for i in range(100))
    [job_id] = {event.job_id for event in queue.events()}
    arn = queue.await_job(job_id, timeout=PATIENCE_S).job_arn
    for event in queue.events(follow=True):
        if event.name == "job-completed":
            break
    queue.close()
    assert said[:100] == [f"Task queued: t{i}" for i in range(100)]
    assert f"Batch flushed: {job_id} with 100 records" in said
    assert f"Job queued: {job_id} (ARN: {arn})" in said
    assert f"Job {job_id} status: completed" in said
    assert said[-1] == f"Job {job_id} completed: completed"
    assert not [line for line in said if "failed" in line or "error" in line]


def test_manual_status_checks(queue: BedrockQueue) -> None:
    queue.enqueue_many(claude_task(f"t{i}") for i in range(99))
    [job_id] = queue.flush()
    queue.await_job(job_id, timeout=PATIENCE_S)
    # Get job status
    status = queue.get_job_status(job_id)
    # Get job results
    if status == "completed":
        results: list[TaskResult] = list(queue.get_job_results(job_id))
    assert len(results) == 99


def test_multiple_jobs_promise_all_equivalent(queue: BedrockQueue) -> None:
    # Queue multiple batches
    job_ids: list[str] = []
    for batch in range(5):
        queue.enqueue_many(claude_task(f"{batch}-{i}") for i in range(10))
        job_ids += queue.flush()
    # Wait for all jobs to complete
    results = queue.await_jobs(job_ids, timeout=PATIENCE_S)
    assert [(result.job_id, result.status) for result in results] == [(job, "completed") for job in job_ids]


def test_cleanup_and_error_handling(config: dict[str, Any]) -> None:
    errors: list[Exception] = []
    queue = BedrockQueue(BedrockQueueConfig(**config))
    queue.on("error", errors.append)
    queue.initialize()
    # Close connections when done
    queue.close()
    assert errors == []


async def _on_asyncio(config: dict[str, Any]) -> list[str]:
    async with AsyncBedrockQueue(BedrockQueueConfig(**config)) as queue:
        await queue.enqueue(claude_task("task-1"))
        await queue.enqueue_many(claude_task(f"more-{i}") for i in range(20))
        assert await queue.get_queue_size() == 21
        [job_id] = await queue.flush()
        result = await queue.await_job(job_id, 60)
        assert (await queue.get_job_status(job_id), result.status) == ("completed", "completed")
        assert (await queue.get_job_results_table(job_id)).num_rows == 21
        assert "job-completed" in [event.name async for event in queue.events()]
        return [one.record_id async for one in queue.get_job_results(job_id)]


def test_the_same_on_asyncio(config: dict[str, Any]) -> None:
    assert sorted(asyncio.run(_on_asyncio(config))) == sorted(["task-1", *(f"more-{i}" for i in range(20))])
