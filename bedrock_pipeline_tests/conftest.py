"""Fixtures for the tests of every package: a real Postgres, a real S3, the emulator.

Each pytest worker starts one embedded stack, at first use; each test gets a fresh database and a bucket of its own.
"""

import itertools
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import psycopg
import pytest
from botocore.model import OperationModel
from hypothesis import HealthCheck, settings
from psycopg import sql

from bedrock_pipeline.aws import clients
from bedrock_pipeline.aws.clients import s3_client
from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.emulator.control import Control
from bedrock_pipeline.ledger.migrations import migrate
from bedrock_pipeline.local import Endpoints, environment
from bedrock_pipeline.local.stack import Stack, StackConfig
from bedrock_pipeline.settings import Settings
from bedrock_pipeline_tests.deploy.policies import is_covered

# Shared machines are slow at times; what is tested is never how long an example takes.
settings.register_profile(
    "shared", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared")

_OURS = ("AWS_", "PG", "BEDROCK_PIPELINE_", "BUCKET", "ROLE_ARN", "DAGSTER_HOME")


def pytest_configure() -> None:
    """Signals as in the foreground.

    A shell's background job ignores SIGINT; Dagster gives SIGTERM what SIGINT has, and what is ignored stays so in programs that
    are started then.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of minutes come first, behind whatever shuffles: at the end one process would wait for the others."""
    items.sort(key=lambda item: not _takes_minutes(item))


def _takes_minutes(item: pytest.Item) -> bool:
    """It runs the daemon, or has a limit of its own above that of all."""
    limit = item.get_closest_marker("timeout")
    return item.get_closest_marker("end_to_end") is not None or (
        limit is not None and limit.args[0] > float(item.config.getini("timeout"))
    )


@pytest.fixture(autouse=True)
def no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can reach an account or a database of the person who runs it."""
    for name in [name for name in os.environ if name.startswith(_OURS) and name != "AWS_CA_BUNDLE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


#: What tests call themselves, through the package's clients, to prepare a bucket or look at it.
_OF_TESTS = {"CreateBucket"}


@pytest.fixture(autouse=True)
def calls_that_a_policy_allows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every call of AWS in this process is one that `deploy/iam` allows; `deploy/test_policies.py` looks at resources too."""
    called, made = set[tuple[str, str]](), clients.session

    def note(model: OperationModel, **_: object) -> None:
        called.add((model.service_model.service_name, model.name))

    def session(here: Settings) -> boto3.Session:
        found = made(here)
        found.events.register("before-parameter-build", note)
        return found

    monkeypatch.setattr(clients, "session", session)
    yield
    denied = {call for call in called if call[1] not in _OF_TESTS and not is_covered(*call)}
    assert not denied, f"no policy in deploy/iam allows {denied}"


@pytest.fixture(scope="session")
def stack_endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    home = tmp_path_factory.mktemp("stack")
    with Stack(StackConfig(home, emulator=("--speed", "2000"))) as stack:
        yield stack.endpoints


@pytest.fixture(scope="session")
def migrated_template(stack_endpoints: Endpoints) -> Iterator[str]:
    """Name of a database with the ledger's tables, to be copied: migrating takes a dozen times as long."""
    with own_database(stack_endpoints) as name:
        migrate(stack_endpoints.dsn(name))
        yield name


@pytest.fixture
def empty_dsn(stack_endpoints: Endpoints) -> Iterator[str]:
    """A database without a table."""
    with own_database(stack_endpoints) as name:
        yield stack_endpoints.dsn(name)


@pytest.fixture
def postgres_dsn(empty_ledger_dsn: str) -> str:
    """A database with a ledger of this test's own; in `ledger/` there are neighbours in it."""
    return empty_ledger_dsn


@pytest.fixture
def empty_ledger_dsn(stack_endpoints: Endpoints, migrated_template: str) -> Iterator[str]:
    """A database with an empty ledger, a deployment of its own."""
    with own_database(stack_endpoints, template=migrated_template) as name:
        dsn = stack_endpoints.dsn(name)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("UPDATE bedrock_pipeline.deployment SET deployment_id = gen_random_uuid()")
        yield dsn


@contextmanager
def own_database(endpoints: Endpoints, template: str = "template1") -> Iterator[str]:
    """The name of a database that is there as long as the context."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(endpoints.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


_BUCKETS = (f"test-{os.getpid()}-{number}" for number in itertools.count())


@pytest.fixture
def control(stack_endpoints: Endpoints) -> Iterator[Control]:
    """The shared emulator's controls; its faults end with the test."""
    control = Control(stack_endpoints.bedrock_endpoint_url, stack_endpoints.keys)
    yield control
    control.clear_faults()


@pytest.fixture
def deployment(
    stack_endpoints: Endpoints, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    """A deployment of this test's own: an empty, migrated ledger and an empty bucket; the emulator is shared."""
    bucket = next(_BUCKETS)
    for name, value in environment(stack_endpoints).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BEDROCK_PIPELINE_BUCKET", bucket)
    monkeypatch.setenv("BEDROCK_PIPELINE_DATABASE_DSN", postgres_dsn)
    monkeypatch.setenv("BEDROCK_PIPELINE_ON_DEMAND_CALLS_PER_S", "1000")  # nothing here waits for a quota
    here = Settings.resolve()
    s3_client(here).create_bucket(Bucket=bucket)
    with open_deployment(here) as opened:
        yield opened


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty work folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
