"""The values for Dagster's Helm chart: fields that the chart has, and pods that Kubernetes and the programs accept.

No cluster and no chart can be had here. The fields are those of the chart's schema (`helm/dagster/schema` of
dagster-io/dagster, release 1.13), as far as these values use them.
"""

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml

from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.deploy.test_images import DEPLOY, DOCKERFILE, OTHER_VARIABLES, PROGRAMS

VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
[CODE] = VALUES["dagster-user-deployments"]["deployments"]
DAEMON, WEBSERVER = VALUES["dagsterDaemon"], VALUES["dagsterWebserver"]
LAUNCHER = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
RUN = LAUNCHER["runK8sConfig"]
_POD = {
    *(
        "image",
        "podSecurityContext",
        "securityContext",
        "resources",
        "readinessProbe",
        "livenessProbe",
        "startupProbe",
    ),
    *(
        "env",
        "envConfigMaps",
        "envSecrets",
        "labels",
        "annotations",
        "nodeSelector",
        "affinity",
        "tolerations",
    ),
    *("volumes", "volumeMounts", "schedulerName"),
}
#: The fields of the chart, by where they are; it rejects others in most places.
FIELDS: dict[str, set[str]] = {
    "": {
        *("global", "generatePostgresqlPasswordSecret", "postgresql", "serviceAccount", "telemetry"),
        *("dagster-user-deployments", "dagsterDaemon", "dagsterWebserver", "runLauncher"),
    },
    "global": {"postgresqlSecretName", "dagsterHome", "serviceAccountName"},
    "postgresql": {
        *("enabled", "image", "postgresqlHost", "postgresqlUsername", "postgresqlPassword"),
        *("postgresqlDatabase", "postgresqlParams", "postgresqlScheme", "service"),
    },
    "dagster-user-deployments": {"enabled", "enableSubchart", "imagePullSecrets", "deployments"},
    "dagster-user-deployments.deployments.0": {
        *_POD,
        *(
            "name",
            "dagsterApiGrpcArgs",
            "codeServerArgs",
            "includeConfigInLaunchedRuns",
            "port",
            "replicaCount",
        ),
        *("initContainers", "sidecarContainers", "deploymentNamespace", "deploymentStrategy"),
    },
    "dagsterDaemon": {
        *_POD,
        *("enabled", "runCoordinator", "heartbeatTolerance", "runMonitoring", "runRetries"),
        *("sensors", "schedules", "deploymentLabels"),
    },
    "dagsterDaemon.runCoordinator.config.queuedRunCoordinator": {
        *("maxConcurrentRuns", "tagConcurrencyLimits", "dequeueIntervalSeconds", "dequeueNumWorkers"),
        "dequeueUseThreads",
    },
    "dagsterDaemon.sensors": {"numWorkers", "numSubmitWorkers", "useThreads"},
    "dagsterWebserver": {
        *_POD,
        *("replicaCount", "nameOverride", "service", "workspace", "enableReadOnly", "pathPrefix", "logLevel"),
        *("deploymentLabels", "dbStatementTimeout", "dbPoolRecycle"),
    },
    "runLauncher": {"type", "config"},
    "runLauncher.config.k8sRunLauncher": {
        *(
            "image",
            "imagePullPolicy",
            "jobNamespace",
            "loadInclusterConfig",
            "kubeconfigFile",
            "envConfigMaps",
        ),
        *("envSecrets", "envVars", "volumeMounts", "volumes", "labels", "failPodOnRunFailure", "resources"),
        *("schedulerName", "securityContext", "runK8sConfig"),
    },
    "runLauncher.config.k8sRunLauncher.runK8sConfig": {
        *("containerConfig", "podSpecConfig", "podTemplateSpecMetadata", "jobSpecConfig", "jobMetadata"),
    },
}


@pytest.mark.parametrize("place", FIELDS)
def test_each_field_is_one_that_the_chart_has(place: str) -> None:
    found: Any = VALUES
    for step in filter(None, place.split(".")):
        found = found[int(step)] if step.isdigit() else found[step]
    assert found.keys() <= FIELDS[place]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """What runs, by name, with its own resources."""
    [migrate] = CODE["initContainers"]
    yield from (("code", CODE), ("migrate", migrate), ("daemon", DAEMON), ("webserver", WEBSERVER))
    yield "run", RUN["containerConfig"]


@pytest.mark.parametrize(("name", "container"), list(containers()), ids=[name for name, _ in containers()])
def test_each_container_has_bounds_and_no_rights(name: str, container: dict[str, Any]) -> None:
    """Memory is reserved as far as it is limited to: what is killed for memory begins again, and again."""
    resources = container["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "cpu" not in resources["limits"], "a throttled program misses its health checks"
    assert _mib(resources["requests"]["memory"]) <= _mib(resources["limits"]["memory"]), name
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def _mib(text: str) -> int:
    return int(text.removesuffix("Mi")) if text.endswith("Mi") else 1024 * int(text.removesuffix("Gi"))


def test_every_pod_runs_as_the_user_of_the_image() -> None:
    pods = [one["podSecurityContext"] for one in (CODE, DAEMON, WEBSERVER)]
    for pod in (*pods, RUN["podSpecConfig"]["securityContext"]):
        assert pod == {"runAsNonRoot": True, "runAsUser": 10001}
    assert "USER 10001" in DOCKERFILE
    assert VALUES["global"]["dagsterHome"] in DOCKERFILE


def test_everything_is_watched_and_ends_in_time() -> None:
    for one in (CODE, DAEMON, WEBSERVER):
        assert one["livenessProbe"]["timeoutSeconds"] >= 10, "Dagster's own checks take seconds to start"
    port = WEBSERVER["service"]["port"]
    assert port > 1024, "a user without rights listens there"
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert WEBSERVER[probe]["httpGet"] == {"path": "/server_info", "port": port}
        assert probe == "startupProbe" or CODE[probe]["failureThreshold"] * CODE[probe]["periodSeconds"] >= 60
    name, *words = DAEMON["livenessProbe"]["exec"]["command"]
    program = PROGRAMS[name]
    assert isinstance(program, click.Group)
    assert program.get_command(click.Context(program), words[0])
    assert RUN["podSpecConfig"]["terminationGracePeriodSeconds"] >= 300
    assert DAEMON["runMonitoring"]["enabled"], "a run whose pod was killed is requested again"


def test_every_variable_is_read_by_something_and_no_secret_is_in_the_file() -> None:
    known = {variable for name in Settings.model_fields for variable in Settings.variables(name)}
    [migrate] = CODE["initContainers"]
    for env in (CODE["env"], migrate["env"]):
        assert {one["name"] for one in env} <= known | OTHER_VARIABLES
        [password] = [one for one in env if one["name"] == "PGPASSWORD"]
        assert password["valueFrom"]["secretKeyRef"]["name"] == VALUES["global"]["postgresqlSecretName"]
        given = {one["name"]: one.get("value") for one in env}
        assert given["PGHOST"] == VALUES["postgresql"]["postgresqlHost"]
        assert given["PGUSER"] == VALUES["postgresql"]["postgresqlUsername"]
    assert "postgresqlPassword" not in json.dumps(VALUES)
    assert not VALUES["generatePostgresqlPasswordSecret"]


def test_one_image_is_everywhere() -> None:
    images = [CODE["image"], DAEMON["image"], WEBSERVER["image"]]
    assert images == [images[0]] * 3
    [migrate] = CODE["initContainers"]
    assert migrate["image"] == f"{images[0]['repository']}:{images[0]['tag']}"
    serve = ["code-server", "start", *CODE["codeServerArgs"]]
    program = PROGRAMS["dagster"]
    while isinstance(program, click.Group):
        found = program.get_command(click.Context(program), serve.pop(0))
        assert found is not None
        program = found
    options = {flag for one in program.params for flag in one.opts}
    assert {word for word in serve if word.startswith("-")} <= options
