"""A deployment in an account of moto's, with the emulator, Postgres and Dagster beside it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import requests
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._daemon.types import DaemonHeartbeat
from moto.iam.responses import IamResponse
from moto.s3.responses import S3Response
from moto.servicequotas.responses import ServiceQuotasResponse

from bedrock_pipeline.deployment import open_deployment
from bedrock_pipeline.doctor.dagster import DagsterFacts
from bedrock_pipeline.doctor.examination import Examination
from bedrock_pipeline.doctor.examine import examine
from bedrock_pipeline.doctor.finding import Finding
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.local import Endpoints
from bedrock_pipeline.orchestration.instance_facts import facts_of
from bedrock_pipeline.pipeline import Pipeline
from bedrock_pipeline.settings import Settings
from bedrock_pipeline.system import SYSTEM, System
from bedrock_pipeline_tests.doctor import moto_account
from bedrock_pipeline_tests.doctor.moto_account import PROFILE, REGION, ROLE, Account

#: Dagster as `deploy/dagster.yaml` has it, but for the storage.
QUEUE: dict[str, Any] = {
    "run_monitoring": {"enabled": True},
    "concurrency": {"runs": {"max_concurrent_runs": 10}},
}


@dataclass
class World:
    """A deployment that is in order, until a test breaks something of it.

    Attributes:
        changes: environment variables that differ; None takes one away.
        pipeline: what is examined.
        late_s: by how much this machine's clock is late.
        dagster: of the instance's configuration.
        beats_ago_s: seconds since the daemons' last heartbeat; None: there was none.
        facts: of Dagster's that differ from what the instance says: its storage would take long to make in Postgres.
    """

    account: Account
    emulator: Control
    bedrock: Any
    dsn: str
    environment: dict[str, str]
    folder: Path
    changes: dict[str, str | None] = field(default_factory=dict)
    pipeline: dict[str, Any] = field(default_factory=dict)
    late_s: float = 0.0
    dagster: dict[str, Any] = field(default_factory=lambda: dict(QUEUE))
    beats_ago_s: float | None = 1.0
    stopped_sensors: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=lambda: {"storage": "PostgresRunStorage"})
    timeout_s: float = 60.0

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Set the environment of the deployment."""
        for name, value in (self.environment | self.changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    def examined(self, *, dagster: bool = True) -> dict[str, list[Finding]]:
        """The findings, by the name of the check; of Dagster, whose instance takes long to make, only where it is wanted."""
        named: dict[str, Any] = {"name": "reviews", "model_id": PROFILE, "prompt": "{{ text }}"}
        pipeline = Pipeline.model_validate(named | self.pipeline)
        with open_deployment(Settings.resolve(), system=self.system) as deployment:
            read = self.read_dagster if dagster else None
            examined = Examination(deployment, pipeline, read)
            with moto_account.checked():
                findings = examine(examined, timeout_s=self.timeout_s)
        found: dict[str, list[Finding]] = {}
        for one in findings:
            found.setdefault(one.check, []).append(one)
        return found

    def read_dagster(self) -> DagsterFacts:
        with self.instance() as instance:
            return replace(facts_of(instance, SYSTEM.now().timestamp()), **self.facts)

    @property
    def system(self) -> System:
        return System(now=lambda: SYSTEM.now() - timedelta(seconds=self.late_s))

    def instance(self) -> dg.DagsterInstance:
        instance = dg.DagsterInstance.local_temp(str(self.folder), overrides=self.dagster)
        if self.beats_ago_s is not None:
            at = SYSTEM.now().timestamp() - self.beats_ago_s
            for name in instance.get_required_daemon_types():
                instance.add_daemon_heartbeat(DaemonHeartbeat(at, name, "one", []))
        for name in self.stopped_sensors:
            instance.add_instigator_state(
                InstigatorState(_origin(name), InstigatorType.SENSOR, InstigatorStatus.STOPPED)
            )
        return instance


def _origin(sensor: str) -> RemoteInstigatorOrigin:
    location = RegisteredCodeLocationOrigin("pipelines")
    return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), sensor)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_account.served() as url:
        yield url


@pytest.fixture(scope="module")
def clients(moto_url: str) -> dict[str, Any]:
    return moto_account.administrator(moto_url)


@pytest.fixture
def world(
    stack_endpoints: Endpoints,
    postgres_dsn: str,
    moto_url: str,
    clients: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    endpoints = stack_endpoints
    environment = {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": endpoints.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoints.secret_access_key,
        "AWS_REGION": REGION,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ENDPOINT_URL_BEDROCK": endpoints.bedrock_endpoint_url,
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": endpoints.bedrock_endpoint_url,
        "BEDROCK_PIPELINE_DATABASE_DSN": postgres_dsn,
        "BUCKET": moto_account.BUCKET,
        "ROLE_ARN": ROLE,
    }
    requests.post(f"{moto_url}/moto-api/reset", timeout=60).raise_for_status()
    account = Account(clients, endpoints)
    listed = moto_account.quotas_of(account)
    monkeypatch.setattr(IamResponse, "simulate_principal_policy", moto_account.simulate, raising=False)
    monkeypatch.setattr(S3Response, "head_bucket", moto_account.head_bucket)
    for name in ("list_service_quotas", "list_aws_default_service_quotas"):
        monkeypatch.setattr(ServiceQuotasResponse, name, listed, raising=False)
    emulator = Control(endpoints.bedrock_endpoint_url, endpoints.keys)
    bedrock = boto3.client(
        "bedrock",
        endpoint_url=endpoints.bedrock_endpoint_url,
        aws_access_key_id=endpoints.access_key_id,
        aws_secret_access_key=endpoints.secret_access_key,
        region_name=REGION,
    )
    made = World(account, emulator, bedrock, postgres_dsn, environment, tmp_path)
    yield made
    emulator.clear_faults()
