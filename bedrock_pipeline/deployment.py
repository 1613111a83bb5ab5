"""A deployment: the ledger and the clients of one bucket, role, region and database.

What belongs here: making them from the settings; every step of the work takes the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bedrock_pipeline.aws import clients
from bedrock_pipeline.aws.bucket_rules import with_bucket_rules
from bedrock_pipeline.aws.inference_profiles import InferenceProfiles
from bedrock_pipeline.aws.jobs import BedrockJobs
from bedrock_pipeline.aws.objects import S3Objects
from bedrock_pipeline.aws.responses import only_from_s3
from bedrock_pipeline.aws.runtime import BedrockRuntime
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.ledger.database import Connect
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.system import SYSTEM, System, threads

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Bedrock:
    """Bedrock in one region."""

    jobs: BedrockJobs
    runtime: BedrockRuntime


@dataclass(frozen=True)
class Deployment:
    """One deployment's settings, ledger, objects, jobs and on-demand calls; and the system that they run on.

    Attributes:
        jobs: in the settings' region; see `jobs_in`.
        runtime: in the settings' region; see `runtime_in`.
        elsewhere: makes the clients of another region, where jobs of earlier settings may be; None: there are none.
    """

    settings: Settings
    ledger: Ledger
    objects: S3Objects
    jobs: BedrockJobs
    runtime: BedrockRuntime
    system: System = SYSTEM
    elsewhere: Callable[[str], Bedrock] | None = None

    def jobs_in(self, region: str) -> BedrockJobs:
        """The jobs of a region."""
        return self.jobs if region == self.settings.region else self._elsewhere(region).jobs

    def runtime_in(self, region: str) -> BedrockRuntime:
        """On-demand calls in a region."""
        return self.runtime if region == self.settings.region else self._elsewhere(region).runtime

    def reaches(self, account: str | None) -> bool:
        """Whether the settings are of this account; None: it is not known, so it is tried."""
        return account is None or self.settings.account in (None, account)

    def close(self) -> None:
        """Close the connections to Postgres."""
        self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _elsewhere(self, region: str) -> Bedrock:
        if self.elsewhere is None:
            raise LookupError(f"This deployment was made for {self.settings.region} alone, not for {region}.")
        return self.elsewhere(region)


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
    shared = clients.session(settings)
    here = _bedrock(settings, system, shared)
    client = only_from_s3(with_bucket_rules(s3, settings)) if s3 else clients.s3_client(settings, shared)
    return Deployment(
        settings=settings,
        ledger=Ledger(
            settings.database_dsn.get_secret_value(),
            max_connections=max_connections,
            system=system,
            connect=connect,
        ),
        objects=S3Objects(client, use_threads=system.executor is threads),
        jobs=here.jobs,
        runtime=here.runtime,
        system=system,
        elsewhere=cache(lambda region: _bedrock(clients.in_region(settings, region), system)),
    )


def _bedrock(settings: Settings, system: System, shared: "boto3.Session | None" = None) -> Bedrock:
    shared = shared or clients.session(settings)
    reading = clients.reading_client(settings, shared)
    return Bedrock(
        BedrockJobs(clients.creating_client(settings, shared), reading, system.monotonic),
        BedrockRuntime(clients.runtime_client(settings, shared), InferenceProfiles(reading)),
    )
