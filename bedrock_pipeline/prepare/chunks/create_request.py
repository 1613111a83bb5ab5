"""The Create request of a chunk.

A chunk has what identifies its job from when it is packed: name, model, places, and the tags of its pipeline. What depends on
the account is added when the chunk is submitted, so that a correction helps chunks that wait: role, key, owners, VPC and tags.
The ledger freezes the result before it is sent, and a request that is sent again is the frozen one, whatever the settings are
by then: AWS may reject a token that comes back with other parameters.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from bedrock_pipeline.job_options import settings_of_jobs
from bedrock_pipeline.pipeline import BasePipeline
from bedrock_pipeline.records.job_names import job_name
from bedrock_pipeline.records.job_tags import job_tags
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
        **({"tags": job_tags({}, pipeline.job_tags, {})} if pipeline.job_tags else {}),
    }
    in_force = settings_of_jobs(settings, pipeline.job_options, pipeline.name)
    return create_again(in_force, shared, pipeline.name, dataset, chunk_id, input_uri)


def create_again(
    settings: Settings, request: dict[str, Any], pipeline: str, dataset: str, chunk_id: UUID, input_uri: str
) -> dict[str, Any]:
    """Build the Create request of a later attempt: the one before, with the chunk's own name and locations."""
    return request | {
        "jobName": job_name(pipeline, chunk_id, settings.job_name_prefix),
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": input_uri, "s3InputFormat": "JSONL"}},
        "outputDataConfig": {
            "s3OutputDataConfig": {"s3Uri": output_uri(settings, pipeline, dataset, chunk_id)}
        },
    }


def with_account_options(
    settings: Settings, request: dict[str, Any], default_tags: Mapping[str, str]
) -> dict[str, Any]:
    """Build the request that is sent: a chunk's, with what the settings say about the account now.

    Args:
        settings: those in force for the jobs of the pipeline.
        request: as `create_request` or `create_again` built it.
        default_tags: what says what the job is for; left out where the settings say so.
    """
    source = dict(request["inputDataConfig"]["s3InputDataConfig"])
    target = dict(request["outputDataConfig"]["s3OutputDataConfig"])
    if owner := owner_of(settings, source["s3Uri"]):
        source["s3BucketOwner"] = owner
    if owner := owner_of(settings, target["s3Uri"]):
        target["s3BucketOwner"] = owner
    if key := settings.output_kms_key_id or settings.kms_key_id:
        target["s3EncryptionKeyId"] = key
    sent = request | {
        "roleArn": settings.role_arn,
        "inputDataConfig": {"s3InputDataConfig": source},
        "outputDataConfig": {"s3OutputDataConfig": target},
    }
    if settings.subnet_ids:
        sent["vpcConfig"] = {
            "subnetIds": list(settings.subnet_ids),
            "securityGroupIds": list(settings.security_group_ids),
        }
    of_pipeline = {tag["key"]: tag["value"] for tag in request.get("tags", ())}
    default = default_tags if settings.default_job_tags else {}
    if tags := job_tags(dict(settings.job_tags), of_pipeline, default):
        sent["tags"] = tags
    return sent


def owner_of(settings: Settings, uri: str) -> str:
    """The account that must own the bucket of an `s3://` URI; empty where the settings name none."""
    return settings.bucket_owners.get(uri.removeprefix("s3://").partition("/")[0], "")


def is_converse(request: dict[str, Any]) -> bool:
    """Whether the records of this request have bodies and responses of Converse."""
    return request.get("modelInvocationType") == "Converse"


def output_uri(settings: Settings, pipeline: str, dataset: str, chunk_id: UUID) -> str:
    """Folder under which Bedrock writes a chunk's output, in a folder of the job's id."""
    bucket = settings.output_bucket or settings.bucket
    return f"s3://{bucket}/{settings.output_prefix}/{pipeline}/{dataset}/{chunk_id}/"


def output_folder(request: dict[str, Any], job_arn: str) -> str:
    """The folder that holds a job's output files and its manifest."""
    base: str = request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
    return f"{base.rstrip('/')}/{job_arn.rpartition('/')[2]}/"
