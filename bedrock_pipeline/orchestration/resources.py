"""Resources: the connections of a deployment.

What belongs here: Dagster's configuration of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster_aws.s3 import S3Resource

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.local import settings_here
from bedrock_pipeline.settings import Settings

_OPENING = threading.Lock()
_OPEN: dict[Settings, Deployment] = {}


class DeploymentResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # it yields itself
    """S3, Bedrock and Postgres of one deployment.

    Each field that is left empty comes from the environment (`Settings.from_environment`); without any AWS
    setting there, the embedded default that runs at `BEDROCK_PIPELINE_HOME` is used.
    """

    s3: dg.ResourceDependency[S3Resource]
    bucket: str = ""
    role_arn: str = ""
    region: str = ""
    input_prefix: str = ""
    output_prefix: str = ""
    work_prefix: str = ""
    results_prefix: str = ""
    database_dsn: str = ""

    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            NotConfiguredError: nothing is set and no embedded default runs.
        """
        given = {
            name: value
            for name in type(self).model_fields
            if name != "s3" and isinstance(value := getattr(self, name), str) and value
        }
        if {"bucket", "role_arn"} <= given.keys():
            return Settings.model_validate(given)
        return settings_here().model_copy(update=given)

    @contextmanager
    def open(self) -> Iterator[Deployment]:
        """Connections to everything; they stay open in this process, since a sensor comes back every few seconds."""
        settings = self.settings()  # first: it may point the environment at the embedded default
        with _OPENING:
            if settings not in _OPEN:
                _OPEN[settings] = open_deployment(settings, s3=self.s3.get_client())
        yield _OPEN[settings]
