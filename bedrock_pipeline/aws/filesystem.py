"""S3 as pyarrow reads it, for results that are read lazily.

What belongs here: one function. Writing goes through `objects.py`.
"""

from urllib.parse import urlsplit

import pyarrow.fs as pa_fs

from bedrock_pipeline.settings import Settings


def arrow_filesystem(settings: Settings) -> pa_fs.S3FileSystem:
    """A file system over the deployment's S3; paths are `bucket/key`, without `s3://`."""
    endpoint = urlsplit(settings.s3_endpoint_url or "")
    keys = settings.access_key_id, settings.secret_access_key
    return pa_fs.S3FileSystem(
        region=settings.region,
        access_key=keys[0].get_secret_value() if keys[0] else None,
        secret_key=keys[1].get_secret_value() if keys[1] else None,
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or "https",
    )
