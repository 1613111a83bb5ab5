"""A deployment: the ledger and the clients of one bucket, role, region and database.

What belongs here: making them from the settings; every step of the work takes the result.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bedrock_pipeline.aws.clients import creating_client, reading_client, runtime_client, s3_client
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import Connect
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.system import SYSTEM, System, threads

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Deployment:
    """One deployment's settings, ledger, objects, jobs and on-demand calls; and the system that they run on."""

    settings: Settings
    ledger: Ledger
    objects: S3Objects
    jobs: BedrockJobs
    runtime: BedrockRuntime
    system: System = SYSTEM

    def close(self) -> None:
        """Close the connections to Postgres."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_deployment(
    settings: Settings,
    *,
    s3: "S3Client | None" = None,
    max_connections: int = 2,
    system: System = SYSTEM,
    connect: Connect | None = None,
) -> Deployment:
    """Make a deployment; connections are opened at first use.

    Args:
        settings: the deployment's settings.
        s3: an S3 client of the caller's; None makes one.
        max_connections: connections to Postgres at once.
        system: ids, randomness, time and threads.
        connect: makes the only connection to Postgres, in place of a pool.
    """
    return Deployment(
        settings=settings,
        ledger=Ledger(
            settings.database_dsn.get_secret_value(),
            max_connections=max_connections,
            system=system,
            connect=connect,
        ),
        objects=S3Objects(s3 or s3_client(settings), use_threads=system.executor is threads),
        jobs=BedrockJobs(creating_client(settings), reading_client(settings), system.monotonic),
        runtime=BedrockRuntime(runtime_client(settings)),
        system=system,
    )
