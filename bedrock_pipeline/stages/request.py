"""The Create request of a chunk.

What belongs here: pure functions from a pipeline and a chunk to the request that Bedrock is sent.
"""

import re
from typing import Any
from uuid import UUID

from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.settings import Settings


def job_name(pipeline: str, chunk_id: UUID) -> str:
    """The name of a chunk's job: at most 63 characters, no underscore (service model: ModelInvocationJobName).

    The chunk's UUID is in it, so that List can be asked for it.
    """
    readable = re.sub(r"[^a-zA-Z0-9]+", "-", pipeline).strip("-")[:26].rstrip("-")
    return f"{readable}-{chunk_id}"


def create_request(
    settings: Settings, pipeline: Pipeline, dataset: str, chunk_id: UUID, input_uri: str
) -> dict[str, Any]:
    """What Bedrock is asked for a chunk, all but the token; the same inputs give the same request."""
    return {
        "jobName": job_name(pipeline.name, chunk_id),
        "roleArn": settings.role_arn,
        "modelId": pipeline.model_id,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {
            "s3OutputDataConfig": {"s3Uri": output_uri(settings, pipeline.name, dataset, chunk_id)}
        },
        "timeoutDurationInHours": pipeline.timeout_hours,
    }


def output_uri(settings: Settings, pipeline: str, dataset: str, chunk_id: UUID) -> str:
    """Folder under which Bedrock writes a chunk's output, in a folder of the job's id."""
    return settings.uri(settings.output_prefix, pipeline, dataset, str(chunk_id)) + "/"


def output_folder(request: dict[str, Any], job_arn: str) -> str:
    """The folder that holds a job's output files and its manifest."""
    base: str = request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    return f"{base.rstrip('/')}/{job_arn.rpartition('/')[2]}/"
