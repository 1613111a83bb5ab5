"""Other ways to Postgres than straight over TCP: PgBouncer in transaction mode, and a Unix socket."""

import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from bedrock_pipeline.deployment import Deployment, open_deployment
from bedrock_pipeline.ledger import Ledger
from bedrock_pipeline.local import Endpoints, postgres
from bedrock_pipeline.local.postgres import start_postgres
from bedrock_pipeline.local.process import Child, free_port
from bedrock_pipeline.queue import BedrockQueue, BedrockQueueConfig
from bedrock_pipeline_tests.faults.children import exit_code, start_child
from bedrock_pipeline_tests.faults.invariants import dataset, settled
from bedrock_pipeline_tests.faults.worker import start
from bedrock_pipeline_tests.queue.test_flush import records
from bedrock_pipeline_tests.queue.test_queue import config, task

#: Fewer than there are clients, so that one session serves several.
_SESSIONS = 3


@pytest.fixture
def pooled_dsn(empty_dsn: str, tmp_path: Path) -> Iterator[str]:
    """An empty database behind PgBouncer in transaction mode."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("NO PGBOUNCER HERE: whether a pooler works is not tested (apt-get install pgbouncer)")
    direct, port = conninfo_to_dict(empty_dsn), free_port()
    server = " ".join(f"{name}={direct[name]}" for name in ("host", "port", "dbname", "user", "password"))
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
            pooled = {server}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = {_SESSIONS}
            """
        )
        nobody = postgres._unprivileged()  # PgBouncer does not run as root either
        shutil.chown(folder, *nobody)
        child = Child("pgbouncer", [program, str(settings)], tmp_path, {}, user=nobody)
        dsn = f"host=127.0.0.1 port={port} dbname=pooled user=anybody sslmode=disable"
        try:
            child.wait_until(lambda: postgres._answers(dsn))
            yield dsn
        finally:
            child.end()


def test_a_dataset_and_a_queue_behind_pgbouncer(
    deployment: Deployment,
    stack_endpoints: Endpoints,
    pooled_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEDROCK_PIPELINE_DATABASE_DSN", pooled_dsn)
    changed = {"database_dsn": SecretStr(pooled_dsn), "consistency_window_s": 0}
    one = dataset(tmp_path)
    with open_deployment(deployment.settings.model_copy(update=changed)) as pooled:
        assert pooled.ledger.migrate()
        assert pooled.ledger.is_current()
        logs = [tmp_path / f"{number}.log" for number in range(2)]
        workers = [start(pooled.settings, one, "plain", first=True, death=None, log=log) for log in logs]
        assert [exit_code(worker) for worker in workers] == [0, 0], [log.read_text() for log in logs]
        settled(pooled, one, stack_endpoints.bedrock_endpoint_url)

        first = config(batch_size=10_000, max_batch_size=300)
        with BedrockQueue(first) as queue:
            queue.enqueue_many(task(number) for number in range(1000))
            flushes = [start_child(partial(_flush, first), tmp_path / f"flush-{n}.log") for n in range(4)]
            assert [exit_code(flush) for flush in flushes] == [0] * 4
            assert queue.get_queue_size() == 0
            assert records(pooled, queue) == sorted(f"task-{number}" for number in range(1000))
    _nothing_is_left_in_a_session(deployment, pooled_dsn)


def _flush(one: BedrockQueueConfig) -> None:
    with BedrockQueue(one) as queue:
        queue.flush()


def _nothing_is_left_in_a_session(deployment: Deployment, pooled_dsn: str) -> None:
    """Each session of PgBouncer's is as Postgres made it."""
    with psycopg.connect(pooled_dsn, autocommit=True, prepare_threshold=None) as connection:
        row = connection.execute(
            """SELECT (SELECT count(*) FROM pg_prepared_statements),
                      (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = d.oid),
                      current_setting('statement_timeout'), current_setting('search_path')
               FROM pg_database d WHERE datname = current_database()"""
        ).fetchone()
    assert row == (0, 0, "0", '"$user", public')


def test_a_ledger_over_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="socket-") as folder:
        Path(folder).chmod(0o777)  # Postgres runs as another user
        monkeypatch.setitem(postgres._SETTINGS, "unix_socket_directories", folder)
        port = free_port()
        server = start_postgres(tmp_path / "home", port, "ledger", "a-password", ("ledger", "other"))
        try:
            dsn = f"host={folder} port={port} user=ledger password=a-password dbname=ledger"
            with Ledger(dsn) as ledger:
                assert ledger.migrate()
                assert ledger.is_current()
            for name, value in conninfo_to_dict(make_conninfo(dsn, dbname="other")).items():
                variable = {"dbname": "database"}.get(name, name)
                monkeypatch.setenv(f"PG{variable.upper()}", str(value))
            with Ledger() as ledger:
                assert ledger.migrate()
                assert ledger.datasets.ensure("p", "d").dataset == "d"
        finally:
            server.end()
