"""Where the running parts of the embedded default are.

What belongs here: the endpoints as an object, as environment variables, and found again by other processes.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from bedrock_pipeline.local.home import is_locked, load_secrets, write_private

_FILE = "endpoints.json"


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
    def s3_endpoint_url(self) -> str:
        """The S3 server."""
        return f"http://127.0.0.1:{self.s3_port}"

    @property
    def bedrock_endpoint_url(self) -> str:
        """The emulator, for both Bedrock services."""
        return f"http://127.0.0.1:{self.bedrock_port}"

    def dsn(self, database: str | None = None) -> str:
        """A libpq connection string."""
        return (
            f"host={self.postgres_host} port={self.postgres_port} user={self.postgres_user} "
            f"password={self.postgres_password} dbname={database or self.database}"
        )


def environment(endpoints: Endpoints) -> dict[str, str]:
    """The variables with which any program finds this stack, ours and others'."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoints.s3_endpoint_url,
        "AWS_ENDPOINT_URL_BEDROCK": endpoints.bedrock_endpoint_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": endpoints.bedrock_endpoint_url,
        "AWS_ACCESS_KEY_ID": endpoints.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoints.secret_access_key,
        "AWS_REGION": endpoints.region,
        "AWS_DEFAULT_REGION": endpoints.region,
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


def file_uri(endpoints: Endpoints, s3_uri: str) -> str:
    """The file:// URI of an object or folder in the embedded S3; it outlives the servers."""
    return "file://" + quote(str(endpoints.s3_root / s3_uri.removeprefix("s3://")))


def write_endpoints(endpoints: Endpoints) -> None:
    """Tell other processes; the secrets stand in their own file."""
    values = {name: value for name, value in asdict(endpoints).items() if name not in _SECRET}
    write_private(endpoints.home / _FILE, json.dumps(values, default=str))


def forget_endpoints(home: Path) -> None:
    """The stack has ended."""
    (home / _FILE).unlink(missing_ok=True)


def read_endpoints(home: Path) -> Endpoints | None:
    """The stack that runs at this home; None where none does."""
    path = home / _FILE
    if not (is_locked(home) and path.exists()):
        return None
    values = json.loads(path.read_text())
    values.update(
        {name: load_secrets(home)[name] for name in _SECRET}, home=home, s3_root=Path(values["s3_root"])
    )
    return Endpoints(**values)


_SECRET = ("access_key_id", "secret_access_key", "postgres_password")
