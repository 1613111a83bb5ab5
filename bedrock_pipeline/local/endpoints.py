"""Where the running parts of the embedded stack are."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from bedrock_pipeline.local.home import is_closed, is_locked, load_secrets, write_private

_FILE = "endpoints.json"
#: How Postgres is reached here; each of these would otherwise be taken from a variable of libpq's.
_LOOPBACK = {
    "host": "127.0.0.1",
    "hostaddr": "127.0.0.1",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "gssencmode": "disable",
    "channel_binding": "disable",
    "require_auth": "scram-sha-256",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "client_encoding": "UTF8",
    "options": "'-c timezone=UTC'",  # as the server has it; an empty text would count as none
}


@dataclass(frozen=True)
class Endpoints:
    """Addresses and credentials of a running stack.

    Attributes:
        s3_root: folder in which a bucket is a folder and an object a file.
    """

    home: Path
    postgres_port: int
    s3_port: int
    bedrock_port: int
    s3_root: Path
    access_key_id: str
    secret_access_key: str = field(repr=False)
    postgres_password: str = field(repr=False)
    postgres_host: str = "127.0.0.1"
    postgres_user: str = "bedrock_pipeline"
    database: str = "bedrock_pipeline"
    dagster_database: str = "dagster"
    region: str = "us-east-1"
    bucket: str = "bedrock-pipeline"
    role_arn: str = "arn:aws:iam::123456789012:role/bedrock-batch"

    @property
    def keys(self) -> tuple[str, str]:
        """The key pair of this home, for S3, for Bedrock and for the emulator's own routes."""
        return self.access_key_id, self.secret_access_key

    @property
    def s3_endpoint_url(self) -> str:
        """The S3 server."""
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def bedrock_endpoint_url(self) -> str:
        """The emulator, for both Bedrock services."""
        return f"http://127.0.0.1:{self.bedrock_port}"

    def dsn(self, database: str | None = None) -> str:
        """A libpq connection string."""
        return loopback_dsn(
            self.postgres_port, self.postgres_user, self.postgres_password, database or self.database
        )

    def settings(self) -> dict[str, object]:
        """The settings that say where everything is, by name: this stack and nothing else."""
        return {
            "bucket": self.bucket,
            "output_bucket": "",
            "role_arn": self.role_arn,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": "",
            "s3_endpoint_url": self.s3_endpoint_url,
            "bedrock_endpoint_url": self.bedrock_endpoint_url,
            "bedrock_runtime_endpoint_url": self.bedrock_endpoint_url,
            "ignore_aws_configuration": True,
            "database_dsn": self.dsn(),
        }


def loopback_dsn(port: int, user: str, password: str, database: str) -> str:
    """A libpq connection string that leaves nothing to a PG* variable."""
    said = {"port": port, "user": user, "password": password, "dbname": database, **_LOOPBACK}
    return " ".join(f"{name}={value}" for name, value in said.items())


def environment(endpoints: Endpoints) -> dict[str, str]:
    """The variables with which any program finds this stack, ours and others'."""
    ours = {f"BEDROCK_PIPELINE_{name.upper()}": str(value) for name, value in endpoints.settings().items()}
    return {
        **ours,
        "AWS_ENDPOINT_URL_S3": endpoints.s3_endpoint_url,
        "AWS_ENDPOINT_URL_BEDROCK": endpoints.bedrock_endpoint_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": endpoints.bedrock_endpoint_url,
        "AWS_ACCESS_KEY_ID": endpoints.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoints.secret_access_key,
        "AWS_REGION": endpoints.region,
        "AWS_DEFAULT_REGION": endpoints.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # rclone sends the checksum of the whole object with a part of it, which clients would take for damage.
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        "BUCKET": endpoints.bucket,
        "ROLE_ARN": endpoints.role_arn,
        "PGHOST": endpoints.postgres_host,
        "PGPORT": str(endpoints.postgres_port),
        "PGUSER": endpoints.postgres_user,
        "PGPASSWORD": endpoints.postgres_password,
        "PGDATABASE": endpoints.database,
    }


def not_led_elsewhere(outside: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that could lead AWS's SDKs or libpq to another place."""
    return {name: value for name, value in outside.items() if not _leads_elsewhere(name)}


def own_variables(given: Mapping[str, str], inside: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file that say nothing else than the environment `inside` about where this stack is."""
    ours = ("BEDROCK_PIPELINE_", "DAGSTER_")
    return {
        name: value
        for name, value in given.items()
        if name not in inside and not name.startswith(ours) and not _leads_elsewhere(name)
    }


def _leads_elsewhere(name: str) -> bool:
    return name.startswith(("AWS_", "PG")) and name != "AWS_CA_BUNDLE"


def environment_of_child(endpoints: Endpoints, outside: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that is to use this stack, whatever the environment around says."""
    before = outside.get("no_proxy") or outside.get("NO_PROXY")
    directly = ",".join(filter(None, (before, "127.0.0.1,localhost")))
    proxies = {"no_proxy": directly, "NO_PROXY": directly}
    return {**not_led_elsewhere(outside), **proxies, **environment(endpoints)}


def file_uri(endpoints: Endpoints, s3_uri: str) -> str:
    """The file:// URI of an object or folder in the embedded S3; it outlives the servers."""
    return "file://" + quote(str(endpoints.s3_root / s3_uri.removeprefix("s3://")))


def write_endpoints(endpoints: Endpoints) -> None:
    """Publish them for other processes; the secrets stand in their own file."""
    values = {name: value for name, value in asdict(endpoints).items() if name not in _SECRET}
    write_private(endpoints.home / _FILE, json.dumps(values, default=str))


def forget_endpoints(home: Path) -> None:
    """The stack has ended."""
    (home / _FILE).unlink(missing_ok=True)


def read_endpoints(home: Path) -> Endpoints | None:
    """The stack that runs at this home; None where none does."""
    path = home / _FILE
    if not (is_closed(home) and is_locked(home) and path.exists()):
        return None
    values = json.loads(path.read_text())
    values.update(
        {name: load_secrets(home)[name] for name in _SECRET}, home=home, s3_root=Path(values["s3_root"])
    )
    return Endpoints(**values)


_SECRET = ("access_key_id", "secret_access_key", "postgres_password")
