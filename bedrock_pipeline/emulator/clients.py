"""boto3 clients that talk to this machine, whatever the environment says.

What belongs here: a session by value: endpoints, keys and region are given, and neither a variable nor a configuration
file leads it elsewhere.
"""

import os
from collections.abc import Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

_OPTIONS = Config(
    use_fips_endpoint=False,
    use_dualstack_endpoint=False,
    proxies={},
    response_checksum_validation="when_required",
    s3={"addressing_style": "path"},
    max_pool_connections=50,
)
#: By service: no bearer token of the environment takes the place of the keys.
_SIGNATURES = {"s3": "s3v4"}


class _Session(botocore.session.Session):
    """Fills in what a client is not given."""

    def __init__(self, endpoints: Mapping[str, str]) -> None:
        known = botocore.session.Session.SESSION_VARIABLES
        unread: dict[str, Any] = {
            name: (option, None, default, convert) for name, (option, _, default, convert) in known.items()
        }
        for name in ("config_file", "credentials_file"):
            unread[name] = (None, None, os.devnull, None)
        super().__init__(session_vars=unread)
        self._endpoints = endpoints

    def create_client(self, service_name: str, *args: Any, **given: Any) -> Any:
        """A client of the service at its endpoint."""
        if service_name in self._endpoints:
            given["endpoint_url"] = given.get("endpoint_url") or self._endpoints[service_name]
            options = _OPTIONS.merge(Config(signature_version=_SIGNATURES.get(service_name, "v4")))
            given["config"] = options.merge(given["config"]) if given.get("config") else options
        return super().create_client(service_name, *args, **given)


def session_by_value(keys: tuple[str, str], region: str, endpoints: Mapping[str, str]) -> boto3.Session:
    """A boto3 session for these endpoints.

    Args:
        keys: access key and its secret.
        region: of requests and signatures.
        endpoints: URL by service; a service that is left out is AWS's own.
    """
    core = _Session(endpoints)
    core.set_credentials(*keys)
    return boto3.Session(botocore_session=core, region_name=region)
