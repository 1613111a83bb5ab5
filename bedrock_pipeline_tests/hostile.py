"""An environment that leads everything elsewhere: each variable that AWS's SDKs, libpq and we obey."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bedrock_pipeline.settings import PLACES

_CONFIG = """\
[default]
region = eu-central-1
endpoint_url = {url}
services = elsewhere
[profile elsewhere]
endpoint_url = {url}
[services elsewhere]
s3 =
  endpoint_url = {url}
bedrock =
  endpoint_url = {url}
bedrock_runtime =
  endpoint_url = {url}
"""
_SERVICE = "[elsewhere]\nhost=127.0.0.1\nport={port}\ndbname=elsewhere\nuser=nobody\n"


@contextmanager
def hostile_environment(folder: Path) -> Iterator[dict[str, str]]:
    """Its variables; the port that they name stays bound and rejects connections while the block lasts."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield _variables(folder, closed.getsockname()[1])


def _variables(folder: Path, port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    (folder / "aws_config").write_text(_CONFIG.format(url=url))
    (folder / "aws_credentials").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = x\n")
    (folder / "pg_service.conf").write_text(_SERVICE.format(port=port))
    dsn = f"host=127.0.0.1 port={port} dbname=elsewhere user=nobody"
    by_name = {name: url for name in PLACES if name.endswith("_url")} | {"database_dsn": dsn}
    ours = {f"BEDROCK_PIPELINE_{name.upper()}": by_name.get(name, "elsewhere") for name in PLACES}
    return {
        **ours,
        "BEDROCK_PIPELINE_IGNORE_AWS_CONFIGURATION": "false",
        "BUCKET": "elsewhere",
        "ROLE_ARN": "arn:aws:iam::999999999999:role/elsewhere",
        "DAGSTER_HOME": str(folder / "elsewhere"),
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ENDPOINT_URL_BEDROCK": url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
        "AWS_PROFILE": "a-profile-that-is-not-there",
        "AWS_DEFAULT_PROFILE": "elsewhere",
        "AWS_CONFIG_FILE": str(folder / "aws_config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "aws_credentials"),
        "AWS_ACCESS_KEY_ID": "elsewhere",
        "AWS_SECRET_ACCESS_KEY": "elsewhere",
        "AWS_SESSION_TOKEN": "elsewhere",
        "AWS_BEARER_TOKEN_BEDROCK": "elsewhere",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",
        "PGHOST": "127.0.0.1",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "nobody",
        "PGPASSWORD": "elsewhere",
        "PGDATABASE": "elsewhere",
        "PGSERVICE": "elsewhere",
        "PGSERVICEFILE": str(folder / "pg_service.conf"),
        "PGSSLMODE": "verify-full",
        "PGSSLNEGOTIATION": "direct",
        "PGGSSENCMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "none",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c search_path=elsewhere",
    }
