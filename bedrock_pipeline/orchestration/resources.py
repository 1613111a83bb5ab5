"""The resource with a deployment's connections: its configuration in Dagster, and how long they stay open."""

import atexit
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field, PrivateAttr

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.errors import ConfigurationError
from bedrock_pipeline.orchestration.names import DEPLOYMENT
from bedrock_pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: The process, which a fork of it is not, the settings, and the S3 resource's configuration.
_Key = tuple[int, Settings, str]


@dataclass
class _Shared:
    """What is open for everything in this process that has the same settings."""

    deployment: Deployment
    runs: int = 0  # that use it now
    resident: bool = False  # whether a sensor or schedule has used it, which comes back every few seconds


_LOCK = threading.Lock()
_OPEN: dict[_Key, _Shared] = {}


def _check_not_redirected(run_config: Mapping[str, Any]) -> None:
    """Whoever fills in the launchpad must not send prompts to another bucket, or jobs to another ledger."""
    given = ((run_config.get("resources") or {}).get(DEPLOYMENT) or {}).get("config") or {}
    if named := sorted(name for name, value in given.items() if value):
        raise ConfigurationError(
            f"This run was launched with values of its own for {', '.join(named)} of resource {DEPLOYMENT}.",
            "Leave them out; they are set where the code location runs (docs/reference/settings.md).",
        )


def _of(name: str) -> str:
    return f"{Settings.model_fields[name].description}; empty means {', '.join(Settings.variables(name))}"


class DeploymentResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """S3, Bedrock and Postgres of one deployment.

    Each field that is left empty gets its value as everywhere else (`Settings.resolve`): from the environment, or,
    without any AWS setting there, from the embedded stack that runs at `BEDROCK_PIPELINE_HOME`.

    All that is open is shared by everything in the process that has the same settings. What runs use is closed when
    the last of them ends. What sensors and schedules use stays open until the process ends, so that a tick does not
    connect again; connections to Postgres that are unused for a minute are closed in between.
    """

    s3: dg.ResourceDependency[S3Resource]
    bucket: str = Field(default="", description=_of("bucket"))
    role_arn: str = Field(default="", description=_of("role_arn"))
    region: str = Field(default="", description=_of("region"))
    input_prefix: str = Field(default="", description=_of("input_prefix"))
    output_prefix: str = Field(default="", description=_of("output_prefix"))
    work_prefix: str = Field(default="", description=_of("work_prefix"))
    results_prefix: str = Field(default="", description=_of("results_prefix"))
    database_dsn: str = Field(default="", description=_of("database_dsn"))

    _in_run: bool = PrivateAttr(default=False)
    _used: _Key | None = PrivateAttr(default=None)

    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            NotConfiguredError: nothing is set and no embedded stack runs.
            InvalidSettingError: a value cannot be used.
        """
        names = type(self).model_fields.keys() - {"s3"}
        return Settings.resolve({name: getattr(self, name) or None for name in names})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """The resource for one run or one tick; nothing is connected before it is opened.

        Raises:
            ConfigurationError: the run was launched with values of its own for it.
        """
        if context.run is not None:
            _check_not_redirected(context.run.run_config)
        self._in_run = context.run is not None
        try:
            yield self
        finally:
            if self._used:
                _end_use(self._used)

    @contextmanager
    def open(self) -> Iterator[Deployment]:
        """Connections to everything."""
        settings = self.settings()
        key = os.getpid(), settings, self.s3.model_dump_json()
        with _LOCK:
            shared = _OPEN.get(key)
            if shared is None:
                shared = _OPEN[key] = _Shared(open_deployment(settings, s3=self._s3_client(settings)))
            if not self._in_run:
                shared.resident = True
            elif self._used is None:
                self._used = key
                shared.runs += 1
        yield shared.deployment

    def _s3_client(self, settings: Settings) -> "S3Client | None":
        """The S3 resource's, with what the settings name and it does not.

        None, which is the deployment's own, for the embedded stack: the resource cannot be kept from obeying
        variables.
        """
        if settings.ignore_aws_configuration:
            return None
        keys = settings.access_key_id, settings.secret_access_key, settings.session_token
        named = {
            "endpoint_url": settings.s3_endpoint_url,
            "region_name": settings.region,
            "aws_access_key_id": keys[0] and keys[0].get_secret_value(),
            "aws_secret_access_key": keys[1] and keys[1].get_secret_value(),
            "aws_session_token": keys[2] and keys[2].get_secret_value(),
        }
        unnamed = {name: value for name, value in named.items() if getattr(self.s3, name) is None}
        client: S3Client = self.s3.model_copy(update=unnamed).get_client()
        return client


def _end_use(key: _Key) -> None:
    """A run has ended."""
    with _LOCK:
        shared = _OPEN[key]
        shared.runs -= 1
        if shared.runs or shared.resident:
            return
        del _OPEN[key]
    shared.deployment.close()


@atexit.register
def _close_all() -> None:
    with _LOCK:
        while _OPEN:
            _OPEN.popitem()[1].deployment.close()
