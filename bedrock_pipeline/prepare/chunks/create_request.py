"""The Create request of a chunk.

What belongs here: pure functions from a pipeline and a chunk to the request that Bedrock is sent, the names by
which its job is known again, and where its input and output lie.
"""

import re
from typing import Any
from uuid import UUID, uuid5

from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.settings import Settings

_NAME = re.compile(r"-(?P<chunk>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")


def chunk_uuid(deployment_id: UUID, *parts: object) -> UUID:
    """The UUID of a chunk: the same parts give the same one, and its first four bytes are the deployment's.

    So a deployment knows its own jobs by their names, also those that a restored ledger has forgotten, and never
    takes those of another deployment in the same account for its own (UUID version 8, RFC 9562 section 5.8).
    """
    own = uuid5(deployment_id, "\n".join(str(part) for part in parts))
    value = bytearray(deployment_id.bytes[:4] + own.bytes[4:])
    value[6] = (value[6] & 0x0F) | 0x80
    return UUID(bytes=bytes(value))


def chunk_of_job(deployment_id: UUID, name: str) -> UUID | None:
    """The chunk that a job's name tells, where the job is of this deployment."""
    found = _NAME.search(name)
    chunk_id = UUID(found["chunk"]) if found else None
    return chunk_id if chunk_id and chunk_id.bytes[:4] == deployment_id.bytes[:4] else None


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
        **({"modelInvocationType": "Converse"} if pipeline.invocation == "Converse" else {}),
    }


def create_again(
    settings: Settings, request: dict[str, Any], pipeline: str, dataset: str, chunk_id: UUID, input_uri: str
) -> dict[str, Any]:
    """What Bedrock is asked for a chunk of a later round: as in the round before, under the chunk's own names."""
    return request | {
        "jobName": job_name(pipeline, chunk_id),
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {
            "s3OutputDataConfig": {"s3Uri": output_uri(settings, pipeline, dataset, chunk_id)}
        },
    }


def is_converse(request: dict[str, Any]) -> bool:
    """Whether the records of this request have Converse's bodies and answers."""
    return request.get("modelInvocationType") == "Converse"


def output_uri(settings: Settings, pipeline: str, dataset: str, chunk_id: UUID) -> str:
    """Folder under which Bedrock writes a chunk's output, in a folder of the job's id."""
    bucket = settings.output_bucket or settings.bucket
    return f"s3://{bucket}/{settings.output_prefix.strip('/')}/{pipeline}/{dataset}/{chunk_id}/"


def output_folder(request: dict[str, Any], job_arn: str) -> str:
    """The folder that holds a job's output files and its manifest."""
    base: str = request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    return f"{base.rstrip('/')}/{job_arn.rpartition('/')[2]}/"
