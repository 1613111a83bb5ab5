"""An environment that leads everything elsewhere: each variable that AWS's SDKs, libpq and we obey."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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


class Recorder:
    """Servers that somebody's production could be: they take every connection, and keep its first bytes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        recorder = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(1)
                with suppress(OSError):
                    recorder.heard.append(self.request.recv(200))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def recorded_environment(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, Recorder]]]:
    """The variables with a server behind each kind of them: Postgres, S3, Bedrock and a proxy."""
    with ExitStack() as ends:
        servers = {name: Recorder() for name in ("postgres", "s3", "bedrock", "proxy")}
        for server in servers.values():
            ends.callback(server.close)
        urls = {name: f"http://127.0.0.1:{server.port}" for name, server in servers.items()}
        variables = _variables(folder, servers["postgres"].port)
        for name in variables:
            if name.endswith("_URL") or "_ENDPOINT_URL" in name:
                variables[name] = urls[
                    "bedrock" if "BEDROCK_RUNTIME" in name or "BEDROCK_E" in name else "s3"
                ]
        variables["BEDROCK_PIPELINE_S3_ENDPOINT_URL"] = urls["s3"]
        variables["AWS_ENDPOINT_URL_BEDROCK"] = urls["bedrock"]
        variables["DATABASE_URL"] = f"postgresql://nobody:elsewhere@127.0.0.1:{servers['postgres'].port}/x"
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            variables[name] = urls["proxy"]
        yield variables, servers


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
        "PGSERVICE": "a-service-that-is-not-there",
        "PGSERVICEFILE": str(folder / "pg_service.conf"),
        "PGSSLMODE": "verify-full",
        "PGSSLMINPROTOCOLVERSION": "none",
        "PGTZ": "Nowhere/Nothing",
        "PGSSLNEGOTIATION": "direct",
        "PGGSSENCMODE": "require",
        "PGCHANNELBINDING": "require",
        "PGREQUIREAUTH": "none",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c search_path=elsewhere",
    }
