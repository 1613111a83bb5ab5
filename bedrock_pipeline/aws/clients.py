"""Clients, configured from the settings; each of the session that it is given, or of one of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader

from bedrock_pipeline.aws.bucket_rules import with_bucket_rules
from bedrock_pipeline.aws.responses import only_from_aws, only_from_s3
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient
    from mypy_boto3_s3 import S3Client

#: What clients of settings with `ignore_aws_configuration` do not leave to variables either.
_BY_VALUE: dict[str, Any] = {
    "ignore_configured_endpoint_urls": True,
    "use_fips_endpoint": False,
    "use_dualstack_endpoint": False,
    "proxies": {},
}


def in_region(settings: Settings, region: str) -> Settings:
    """The settings for another region of the same account; endpoints whose URL names the region follow it."""
    names = ("bedrock_endpoint_url", "bedrock_runtime_endpoint_url")
    urls = {name: getattr(settings, name) for name in names}
    moved = {name: url and url.replace(settings.region, region) for name, url in urls.items()}
    return settings.model_copy(update={"region": region, **moved})


@contextmanager
def _configured() -> Iterator[None]:
    """Explain why a client cannot be made of AWS's settings.

    Raises:
        ConfigurationError: the profile, the region or the endpoint cannot be used.
    """
    try:
        yield
    except BotoCoreError as error:
        raise ConfigurationError(
            f"AWS's settings cannot be used: {error}.",
            "Correct AWS_PROFILE, the region or the configuration file.",
        ) from error
    except ValueError:  # its message quotes the URL, which may contain a password
        raise ConfigurationError(
            "The URL of an endpoint is not valid.",
            "Correct AWS_ENDPOINT_URL_… or the setting of that endpoint.",
        ) from None


@_configured()
def s3_client(settings: Settings, shared: boto3.Session | None = None) -> "S3Client":
    """An S3 client that retries by itself."""
    client = (shared or session(settings)).client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        config=_retrying(
            settings,
            s3={"addressing_style": "path"} if settings.s3_endpoint_url else {},
            # A part of an object has no checksum of its own to compare with.
            response_checksum_validation="when_required",
        ),
    )
    return only_from_s3(with_bucket_rules(client, settings))


@_configured()
def reading_client(settings: Settings, shared: boto3.Session | None = None) -> "BedrockClient":
    """A Bedrock client for Get, List and Stop, which retries by itself, for less time than a sensor's tick may take.

    The next tick tries again anyway, while a tick that is too long is ended and loses what it did.
    """
    # With `ignore_aws_configuration` a bearer token of the environment is none of ours.
    signature = {"signature_version": "v4"} if settings.ignore_aws_configuration else {}
    client = (shared or session(settings)).client(
        "bedrock",
        endpoint_url=settings.bedrock_endpoint_url,
        config=_retrying(settings, attempts=3, read_timeout=15, **signature),
    )
    return only_from_aws(client)


@_configured()
def creating_client(settings: Settings, shared: boto3.Session | None = None) -> "BedrockClient":
    """A Bedrock client for Create: one HTTP attempt, short timeouts, signature version 4.

    A hidden retry could be sent after the lease is over, and another signature type may not expire;
    so neither is left to defaults.
    """
    client = (shared or session(settings)).client(
        "bedrock",
        endpoint_url=settings.bedrock_endpoint_url,
        config=_config(
            settings,
            signature_version="v4",
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=20,
        ),
    )
    return only_from_aws(client)


@_configured()
def runtime_client(settings: Settings, shared: boto3.Session | None = None) -> "BedrockRuntimeClient":
    """A client for on-demand calls: one HTTP attempt each, so that every call that is sent is known and counted."""
    signature = {"signature_version": "v4"} if settings.ignore_aws_configuration else {}
    client = (shared or session(settings)).client(
        "bedrock-runtime",
        endpoint_url=settings.bedrock_runtime_endpoint_url,
        config=_config(
            settings,
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            read_timeout=settings.call_timeout_s,
            max_pool_connections=settings.on_demand_concurrency,
            **signature,
        ),
    )
    return only_from_aws(client)


@_configured()
def session(settings: Settings) -> boto3.Session:
    """boto3's session: the credentials and the region of the settings.

    Clients that share one look credentials up once, and are made in a third of the time.
    """
    core = botocore.session.Session(
        session_vars=_no_variables() if settings.ignore_aws_configuration else None
    )
    core.register_component("data_loader", _service_models())
    if settings.access_key_id and settings.secret_access_key:
        core.set_credentials(
            settings.access_key_id.get_secret_value(),
            settings.secret_access_key.get_secret_value(),
            settings.session_token.get_secret_value() if settings.session_token else None,
        )
    return boto3.Session(botocore_session=core, region_name=settings.region)


@cache
def _service_models() -> Loader:
    """AWS's service models, read once in a process: each session would read them again, in half a second of a core."""
    return create_loader()


def _no_variables() -> dict[str, Any]:
    """boto3's own settings, none of which has a variable, and no file to be read from."""
    known = botocore.session.Session.SESSION_VARIABLES
    unread = {name: (option, None, default, convert) for name, (option, _, default, convert) in known.items()}
    for name in ("config_file", "credentials_file"):
        unread[name] = (None, None, os.devnull, None)
    return unread


def _retrying(
    settings: Settings, *, attempts: int | None = None, read_timeout: int = 60, **more: Any
) -> Config:
    most = settings.max_attempts if attempts is None else min(settings.max_attempts, attempts)
    return _config(
        settings,
        retries={"mode": settings.retry_mode, "total_max_attempts": most},
        connect_timeout=5,
        read_timeout=read_timeout,
        max_pool_connections=16,
        **more,
    )


def _config(settings: Settings, **options: Any) -> Config:
    return Config(**(_BY_VALUE if settings.ignore_aws_configuration else {}), **options)
