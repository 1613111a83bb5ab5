"""The Create request of a chunk."""

from typing import Any
from uuid import UUID

from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.records.job_names import job_name
from bedrock_pipeline.settings import Settings


def create_request(
    settings: Settings, pipeline: BasePipeline, dataset: str, chunk_id: UUID, input_uri: str
) -> dict[str, Any]:
    """Build a chunk's Create request without its token; the same inputs give the same request."""
    shared = {
        "roleArn": settings.role_arn,
        "modelId": pipeline.model_id,
        "timeoutDurationInHours": pipeline.timeout_hours,
        **({"modelInvocationType": "Converse"} if pipeline.invocation == "Converse" else {}),
    }
    return create_again(settings, shared, pipeline.name, dataset, chunk_id, input_uri)


def create_again(
    settings: Settings, request: dict[str, Any], pipeline: str, dataset: str, chunk_id: UUID, input_uri: str
) -> dict[str, Any]:
    """Build the Create request of a later attempt: the one before, with the chunk's own name and locations."""
    return request | {
        "jobName": job_name(pipeline, chunk_id),
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {
            "s3OutputDataConfig": {"s3Uri": output_uri(settings, pipeline, dataset, chunk_id)}
        },
    }


def is_converse(request: dict[str, Any]) -> bool:
    """Whether the records of this request have bodies and responses of Converse."""
    return request.get("modelInvocationType") == "Converse"


def output_uri(settings: Settings, pipeline: str, dataset: str, chunk_id: UUID) -> str:
    """Folder under which Bedrock writes a chunk's output, in a folder of the job's id."""
    bucket = settings.output_bucket or settings.bucket
    return f"s3://{bucket}/{settings.output_prefix.strip('/')}/{pipeline}/{dataset}/{chunk_id}/"


def output_folder(request: dict[str, Any], job_arn: str) -> str:
    """The folder that holds a job's output files and its manifest."""
    base: str = request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    return f"{base.rstrip('/')}/{job_arn.rpartition('/')[2]}/"
