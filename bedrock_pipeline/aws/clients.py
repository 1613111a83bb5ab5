"""boto3 clients, configured from the settings.

What belongs here: how clients are made. Nothing that calls them.
"""

import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from bedrock_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_s3 import S3Client


def s3_client(settings: Settings) -> "S3Client":
    """An S3 client that retries by itself."""
    return _session(settings).client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        config=_config(
            settings,
            s3={"addressing_style": "path"} if _own_endpoint(settings) else {},
            # A part of an object has no checksum of its own to compare with.
            response_checksum_validation="when_required",
        ),
    )


def reading_client(settings: Settings) -> "BedrockClient":
    """A Bedrock client for Get, List and Stop, which retries by itself."""
    return _session(settings).client(
        "bedrock", endpoint_url=settings.bedrock_endpoint_url, config=_config(settings)
    )


def creating_client(settings: Settings) -> "BedrockClient":
    """A Bedrock client for Create: one HTTP attempt, short timeouts, signature version 4.

    A retry that nobody sees could be sent after the lease is over, and another signature type may not expire;
    so neither is left to defaults.
    """
    return _session(settings).client(
        "bedrock",
        endpoint_url=settings.bedrock_endpoint_url,
        config=Config(
            signature_version="v4",
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=20,
        ),
    )


def runtime_client(settings: Settings) -> "BedrockRuntimeClient":
    """A client for on-demand calls: one HTTP attempt each, so that every call that is sent is known and counted."""
    return _session(settings).client(
        "bedrock-runtime",
        endpoint_url=settings.bedrock_runtime_endpoint_url,
        config=Config(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=settings.call_timeout_s,
            max_pool_connections=settings.on_demand_concurrency,
        ),
    )


def _own_endpoint(settings: Settings) -> bool:
    return bool(settings.s3_endpoint_url or os.environ.get("AWS_ENDPOINT_URL_S3"))


def _session(settings: Settings) -> boto3.Session:
    keys = settings.access_key_id, settings.secret_access_key
    return boto3.Session(
        aws_access_key_id=keys[0].get_secret_value() if keys[0] else None,
        aws_secret_access_key=keys[1].get_secret_value() if keys[1] else None,
        region_name=settings.region,
    )


def _config(settings: Settings, **more: Any) -> Config:
    return Config(
        retries={"mode": settings.retry_mode, "total_max_attempts": settings.max_attempts},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=16,
        **more,
    )
