"""The queue: gathers single tasks from any program into batch jobs and returns their results.

The names are those of the library `aws-bedrock-batch-inference-queue`, in Python's style (`docs/queue.md`).
"""

from bedrock_pipeline.queue.async_queue import AsyncBedrockQueue
from bedrock_pipeline.queue.config import BedrockQueueConfig
from bedrock_pipeline.queue.job_results import JobResult, JobStatus, TaskError, TaskResult, TaskResults
from bedrock_pipeline.queue.queue import BedrockQueue
from bedrock_pipeline.queue.task import BedrockTask
from bedrock_pipeline.queue.token_bucket import TokenBucket

__all__ = [
    "AsyncBedrockQueue",
    "BedrockQueue",
    "BedrockQueueConfig",
    "BedrockTask",
    "JobResult",
    "JobStatus",
    "TaskError",
    "TaskResult",
    "TaskResults",
    "TokenBucket",
]
