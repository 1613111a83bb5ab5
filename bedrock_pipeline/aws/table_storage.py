"""boto3's credentials for the readers and writers of table formats, which have clients of S3 of their own.

They are resolved when a table is opened: those of an assumed role or of SSO must last until it is read. Delta tables are
written under the key of the settings; PyIceberg has no property for a key, so its files get what their bucket does.
"""

from urllib.parse import urlsplit

from bedrock_pipeline.aws.clients import session
from bedrock_pipeline.settings import Settings


def delta_options(settings: Settings, location: str) -> dict[str, str]:
    """Storage options of deltalake for a location; none if it is not in S3."""
    if not location.startswith("s3://"):
        return {}
    endpoint = settings.s3_endpoint_url or _china(settings.region)
    given = {
        **_credentials(settings, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        **_encryption(settings),
        "AWS_REGION": settings.region,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true" if endpoint.startswith("http://") else "",
    }
    return {name: value for name, value in given.items() if value}


def _encryption(settings: Settings) -> dict[str, str]:
    """The key under which deltalake writes, as `S3ConfigKey` of its object_store names it."""
    if not settings.kms_key_id:
        return {}
    return {
        "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
        "AWS_SSE_KMS_KEY_ID": settings.kms_key_id,
        "AWS_SSE_BUCKET_KEY_ENABLED": str(settings.bucket_key).lower(),
    }


def _china(region: str) -> str:
    """The endpoint of S3 in China, whose domain object_store does not know; empty elsewhere."""
    return f"https://s3.{region}.amazonaws.com.cn" if region.startswith("cn-") else ""


def serves_checkpoints(settings: Settings, location: str) -> bool:
    """Whether Delta's checkpoints can be read at a location: the embedded S3 does not serve the ends of objects."""
    host = urlsplit(settings.s3_endpoint_url or "").hostname
    return not location.startswith("s3://") or host not in ("127.0.0.1", "localhost", "::1")


def iceberg_properties(settings: Settings) -> dict[str, str]:
    """Properties of PyIceberg's file IO."""
    given = {
        **_credentials(settings, "s3.access-key-id", "s3.secret-access-key", "s3.session-token"),
        "s3.region": settings.region,
        "s3.endpoint": settings.s3_endpoint_url or "",
    }
    return {name: value for name, value in given.items() if value}


def _credentials(settings: Settings, key: str, secret: str, token: str) -> dict[str, str]:
    found = session(settings).get_credentials()
    if found is None:
        return {}
    frozen = found.get_frozen_credentials()
    return {key: frozen.access_key or "", secret: frozen.secret_key or "", token: frozen.token or ""}
