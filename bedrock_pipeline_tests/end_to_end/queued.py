"""A code location that serves one queue."""

import dagster as dg

from bedrock_pipeline.orchestration import build_definitions
from bedrock_pipeline.queue import BedrockQueueConfig

QUEUE = BedrockQueueConfig(
    name="daemon_queue",
    job_type="summaries",
    model_id="anthropic.claude-3-haiku-20240307-v1:0",
    batch_size=50_000,
    max_age_s=5,
    poll_interval_ms=1000,
    enable_auto_polling=False,
)

defs: dg.Definitions = build_definitions([QUEUE.pipeline()])
